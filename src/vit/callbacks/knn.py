"""Nearest neighbours at the end of a pre-training, beside those of the untrained encoder."""

import torch
from lightning.pytorch import Callback, Trainer

from vit.callbacks.run import Run, epoch_of
from vit.evaluate.base import Task
from vit.evaluate.features import frozen_features
from vit.evaluate.knn import knn
from vit.models.base import Encoder
from vit.module import ViTModule
from vit.randomness import step_seed


class KNN(Callback):
    """Log knn/accuracy and knn/accuracy_random when a fit ends.

    The training split is the bank, validation the queries; the test split stays closed. Weights
    and random numbers of the run are not touched.

    Args:
        k: neighbours that vote.
        temperature: a neighbour's vote is exp(similarity / temperature).
    """

    def __init__(self, k: int = 20, temperature: float = 0.07) -> None:
        if k < 1 or temperature <= 0:
            raise ValueError(
                f"KNN: k must be at least 1 and temperature above 0, got {k} and {temperature}"
            )
        self.k, self.temperature = k, temperature

    def on_train_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Score the trained encoder and an untrained one."""
        if not pl_module.spec.classes:
            return
        if pl_module.spec.multi_label:
            print("KNN: not scored, images have several labels here")
            return
        with torch.random.fork_rng():
            torch.manual_seed(step_seed(pl_module.seed, "untrained encoder"))
            untrained = pl_module.random_encoder().to(pl_module.device)
        run = next(c for c in trainer.callbacks if isinstance(c, Run))
        metrics = {}
        encoders = {"accuracy": pl_module.eval_objective.encoder, "accuracy_random": untrained}
        for name, encoder in encoders.items():
            if (found := self.score(trainer, encoder, run)) is not None:
                metrics[f"knn/{name}"] = found
        if not metrics:
            print(
                "KNN: not scored, no image of the training or of the validation split has a label"
            )
        run.metrics |= metrics
        run.files.record(metrics, trainer.global_step, epoch_of(trainer, pl_module))

    def score(self, trainer: Trainer, encoder: Encoder, run: Run) -> float | None:
        """Accuracy on the validation split; None where there is nothing to ask or to answer."""
        module, data = trainer.lightning_module, trainer.datamodule
        context = module.loader_context()
        bank, queries = (
            frozen_features(encoder, data, split, context).labelled()
            for split in ("train", "val")
        )
        if not len(bank.labels) or not len(queries.labels):
            return None
        task = Task(bank, queries, queries, len(module.spec.classes))  # nothing is chosen
        result = knn(task, self.k, self.temperature)
        result.protocol |= {
            "split": "val",
            "data": type(data).__name__,
            "split_hash": data.split_hash("val"),
            "pooling": next(iter(queries.pooled)),
            "image_size": data.spec.image_size,
            "resize": "bilinear, antialiased",
        }
        run.protocol_ids["knn"] = result.id
        return result.metrics["accuracy"]
