"""Is it working? What frozen features are worth, beside raw pixels and an untrained encoder."""

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from vit.batch import DataSpec
from vit.callbacks.run import Run, callback_of
from vit.callbacks.step_logging import epoch_of
from vit.evaluate.base import FrozenFeatures, Result, Task
from vit.evaluate.features import frozen_features, raw_pixels
from vit.evaluate.knn import knn
from vit.evaluate.rankme import rankme
from vit.evaluate.ridge import ridge
from vit.module import ViTModule


class Probe(Callback):
    """Log probe/knn, probe/linear and probe/rank, with the controls, and print one line.

    Without labels, or with several an image, only the rank. Nearest neighbours and a ridge
    classifier learn from training images and are scored on validation; the test split stays closed.
    Weights and random numbers of the run are not touched.

    Args:
        every: validations between two looks; null: one look, when the fit ends.
        images: of each split at most, evenly spread; null: whole splits, without the control of
            raw pixels, which would be gigabytes (the verb evaluate has it).
        k: neighbours that vote.
        temperature: a neighbour's vote is exp(similarity / temperature).
    """

    def __init__(
        self,
        every: int | None = 1,
        images: int | None = 5000,
        k: int = 20,
        temperature: float = 0.07,
    ) -> None:
        if every is not None and every < 1:
            raise ValueError(f"Probe: every must be at least 1, or null for the end, got {every}")
        if images is not None and images < 2:
            raise ValueError(
                f"Probe: images must be at least 2, or null for whole splits, got {images}"
            )
        if k < 1 or temperature <= 0:
            raise ValueError(
                f"Probe: k must be at least 1 and temperature above 0, got {k} and {temperature}"
            )
        self.every = every
        self.images = images
        self.k = k
        self.temperature = temperature
        self.count = 0  # validations so far
        self.step = -1  # of the last validation
        self.controls: dict[str, float] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Look once a step, even if Lightning repeats a validation after a resume."""
        step = trainer.global_step
        outside = trainer.state.fn != "fit" or trainer.sanity_checking
        if self.every is None or outside or step == self.step:
            return
        self.step, self.count = step, self.count + 1
        if (self.count - 1) % self.every == 0 or step >= pl_module.total_steps:
            self.look(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Look where one look was asked for."""
        if self.every is None:
            self.look(trainer, pl_module)

    def look(self, trainer: Trainer, module: ViTModule) -> None:
        """Measure, record and print; every rank must call it."""
        run, step = callback_of(trainer, Run), trainer.global_step
        features = self.features(trainer, module, module.eval_objective.kept_encoder)
        metrics = {"probe/rank": rankme(features["val"].features)}
        task = task_of(features, module.spec, module.seed)
        if task is not None:
            results = {"probe/knn": self.knn(task), "probe/linear": ridge(task, shots=())}
            for name, result in results.items():
                metrics[name] = result.metrics["accuracy"]
                result.protocol |= self.identity(trainer, features["val"])
                run.protocol_ids[name] = result.id
            self.controls = self.controls or self.measure_controls(trainer, module)
            metrics |= self.controls
        run.metrics |= metrics
        run.files.record(metrics, step, epoch_of(trainer, module))
        if trainer.is_global_zero:
            print(summary_line(step, metrics, width=features["val"].features.shape[1]))

    def measure_controls(self, trainer: Trainer, module: ViTModule) -> dict[str, float]:
        """The accuracy of kNN where nothing was trained: an untrained encoder, and raw pixels."""
        untrained = self.features(trainer, module, module.untrained_encoder())
        sources = {"probe/knn_random": untrained}
        if self.images is not None:
            context = module.loader_context()
            sources["probe/knn_pixels"] = {
                split: raw_pixels(trainer.datamodule, split, context, self.images)
                for split in ("train", "val")
            }
        tasks = {k: task_of(splits, module.spec, module.seed) for k, splits in sources.items()}
        return {name: self.knn(task).metrics["accuracy"] for name, task in tasks.items()}

    def features(
        self, trainer: Trainer, module: ViTModule, encoder: torch.nn.Module
    ) -> dict[str, FrozenFeatures]:
        """Both splits on the CPU: every rank has all of them."""
        splits = {}
        for split in ("train", "val"):
            rows = frozen_features(
                encoder, trainer.datamodule, split, module.loader_context(), most=self.images
            )
            pooled = {name: values.cpu() for name, values in rows.pooled.items()}
            splits[split] = FrozenFeatures(pooled, rows.labels.cpu())
        return splits

    def knn(self, task: Task) -> Result:
        """The protocol with this probe's settings."""
        return knn(task, self.k, self.temperature)

    def identity(self, trainer: Trainer, queries: FrozenFeatures) -> dict[str, Any]:
        """The images and how they are shown, which belong to a protocol's id."""
        data = trainer.datamodule
        images = {} if self.images is None else {"images": self.images}
        return {
            "split": "val",
            "data": type(data).__name__,
            "split_hash": data.split_hash("val"),
            "pooling": next(iter(queries.pooled)),
            "image_size": data.spec.image_size,
            "resize": "bilinear, antialiased",
            **images,
        }

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, for a run that goes on."""
        return {"count": self.count, "step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.count, self.step = state_dict["count"], state_dict["step"]


def task_of(splits: dict[str, FrozenFeatures], spec: DataSpec, seed: int) -> Task | None:
    """What labels allow to ask; None without one label an image in both splits.

    Nothing is chosen; unlabelled images neither teach nor ask.
    """
    if not spec.classes or spec.multi_label:
        return None
    bank, queries = (splits[split].labelled() for split in ("train", "val"))
    if not len(bank.labels) or not len(queries.labels):
        return None
    return Task(bank, queries[:0], queries, len(spec.classes), seed)


def summary_line(step: int, metrics: dict[str, float], width: int) -> str:
    """The figures and what they mean, for people."""
    rank = f"effective rank {metrics['probe/rank']:.1f} of {width}"
    if "probe/knn" not in metrics:
        return f"probe, step {step:,}: {rank}"
    trained, untrained = metrics["probe/knn"], metrics["probe/knn_random"]
    pixels = metrics.get("probe/knn_pixels")
    if trained <= untrained:
        verdict = "not above the untrained encoder"
    elif pixels is None or trained <= pixels:
        verdict = "above the untrained encoder"
    else:
        verdict = "above untrained and raw pixels"
    controls = f"untrained {100 * untrained:.1f}"
    controls += "" if pixels is None else f", raw pixels {100 * pixels:.1f}"
    return (
        f"probe, step {step:,}: kNN {100 * trained:.1f} % ({controls}), "
        f"linear {100 * metrics['probe/linear']:.1f} %, {rank}: {verdict}"
    )
