"""Is it working? Features judged after validations, beside raw pixels and an untrained encoder."""

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from vit.callbacks.run import Run, epoch_of
from vit.evaluate.base import FrozenFeatures, Task
from vit.evaluate.features import frozen_features, raw_pixels
from vit.evaluate.knn import knn
from vit.evaluate.rankme import rankme
from vit.evaluate.ridge import ridge
from vit.module import ViTModule
from vit.randomness import step_seed


class Probe(Callback):
    """Log probe/knn, probe/linear and probe/rank, with the controls, and print one line.

    Without labels, or with several an image, only the rank. Nearest neighbours and a ridge
    classifier learn from training images and are judged on validation; the test split stays closed.
    Weights and random numbers of the run are not touched.

    Args:
        every: validations between two looks.
        images: of each split at most, evenly spread.
    """

    def __init__(self, every: int = 1, images: int = 5000) -> None:
        if every < 1 or images < 2:
            raise ValueError(f"Probe: every and images want more, got {every} and {images}")
        self.every, self.images, self.count, self.step = every, images, 0, -1
        self.controls: dict[str, float] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Once a step, even if Lightning repeats a validation after a resume."""
        step = trainer.global_step
        if trainer.state.fn != "fit" or trainer.sanity_checking or step == self.step:
            return
        self.step, self.count = step, self.count + 1
        if (self.count - 1) % self.every and step < pl_module.total_steps:
            return
        has_labels = bool(pl_module.spec.classes) and not pl_module.spec.multi_label
        if has_labels and not self.controls:
            self.controls = self.measure_controls(trainer, pl_module)
        found = {split: self.features(trainer, pl_module, pl_module.eval_objective.encoder, split)
                 for split in ("train", "val")}  # fmt: skip
        width = found["val"].features.shape[1]
        metrics = {"probe/rank": rankme(found["val"].features)}
        if has_labels:
            task = self.task(pl_module, found["train"], found["val"])
            metrics["probe/knn"] = knn(task).metrics["accuracy"]
            metrics["probe/linear"] = ridge(task, shots=()).metrics["accuracy"]
            metrics |= self.controls
        run = next(c for c in trainer.callbacks if isinstance(c, Run))
        run.metrics |= metrics
        run.files.record(metrics, step, epoch_of(trainer, pl_module))
        if trainer.is_global_zero:
            print(line(step, metrics, width))

    def measure_controls(self, trainer: Trainer, module: ViTModule) -> dict[str, float]:
        """What costs no training, by the same two measures' first."""
        with torch.random.fork_rng():
            torch.manual_seed(step_seed(module.seed, "untrained encoder"))
            untrained = module.random_encoder().to(module.device)
        both = ("train", "val")
        plain = [self.features(trainer, module, untrained, split) for split in both]
        context = module.loader_context()
        raw = [raw_pixels(trainer.datamodule, split, context, self.images) for split in both]
        return {
            "probe/knn_random": knn(self.task(module, *plain)).metrics["accuracy"],
            "probe/knn_pixels": knn(self.task(module, *raw)).metrics["accuracy"],
        }

    def features(
        self, trainer: Trainer, module: ViTModule, encoder: torch.nn.Module, split: str
    ) -> FrozenFeatures:
        """On the CPU: every rank has all of them."""
        rows = frozen_features(
            encoder, trainer.datamodule, split, module.loader_context(), most=self.images
        )
        return FrozenFeatures({k: v.cpu() for k, v in rows.pooled.items()}, rows.labels.cpu())

    def task(self, module: ViTModule, bank: FrozenFeatures, queries: FrozenFeatures) -> Task:
        """Nothing is chosen; unlabelled images neither teach nor ask."""
        bank, queries = (part[part.labels >= 0] for part in (bank, queries))
        return Task(bank, queries[:0], queries, len(module.spec.classes), module.seed)

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, for a run that goes on."""
        return {"count": self.count, "step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse."""
        self.count, self.step = state_dict["count"], state_dict["step"]


def line(step: int, metrics: dict[str, float], width: int) -> str:
    """For people."""
    rank = f"effective rank {metrics['probe/rank']:.1f} of {width}"
    if "probe/knn" not in metrics:
        return f"probe, step {step:,}: {rank}"
    own, plain, raw = (100 * metrics[f"probe/knn{x}"] for x in ("", "_random", "_pixels"))
    verdict = (
        "not above the untrained encoder"
        if own <= plain
        else ("above the untrained encoder" if own <= raw else "above untrained and raw pixels")
    )
    return (
        f"probe, step {step:,}: kNN {own:.1f} % (untrained {plain:.1f}, raw pixels {raw:.1f}), "
        f"linear {100 * metrics['probe/linear']:.1f} %, {rank}: {verdict}"
    )
