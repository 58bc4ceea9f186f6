"""predictions.csv: what the model says of each image."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from vit.callbacks.run_log import RunLog
from vit.callbacks.tables import write_rows
from vit.collectives import gather_rows
from vit.module import ViTModule


class Predictions(Callback):
    """Collect a predict run's batches from all ranks and write them in the split's order.

    Args:
        files: the run's logger, which knows the folder.
    """

    def __init__(self, files: RunLog) -> None:
        self.files = files
        self.parts: list[tuple[torch.Tensor, ...]] = []

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: ViTModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep what the batch gave."""
        self.parts.append(outputs)

    def on_predict_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Gather the ranks' images and write them."""
        index, labels, chances = (
            gather_rows(torch.cat(part)).cpu() for part in zip(*self.parts, strict=True)
        )
        if trainer.is_global_zero:
            path = self.files.folder / "predictions.csv"
            files = trainer.datamodule.names("test")
            classes = pl_module.spec.classes
            write_predictions(path, classes, index, labels, chances, files)
        self.parts = []


def write_predictions(
    path: Path,
    classes: tuple[str, ...],
    index: torch.Tensor,
    labels: torch.Tensor,
    chances: torch.Tensor,
    files: list[str] | None = None,
) -> None:
    """One row per image: number, label, prediction, confidence, a probability for each class.

    Of several labels (M L instead of M), those of an image stand between semicolons, and all with a
    probability above one half are predicted. Where samples are files, the first column names them.
    """
    rows = []
    for row in index.argsort().tolist():
        if index[row] < 0:
            continue
        label, chance = labels[row], chances[row]
        best = chance > 0.5 if label.ndim else chance.argmax()
        rows.append(
            [
                *([files[int(index[row])]] if files else []),
                int(index[row]),
                class_names(classes, label),
                class_names(classes, best),
                f"{chance.max():.6f}",
                *(f"{p:.6f}" for p in chance.tolist()),
            ]
        )
    header = ["index", "label", "prediction", "confidence", *(f"p_{c}" for c in classes)]
    write_rows(path, ["file", *header] if files else header, rows)


def class_names(classes: tuple[str, ...], label: torch.Tensor) -> str:
    """The class of a number (-1: none), or those of L yes and no."""
    if label.ndim:
        return ";".join(name for name, holds in zip(classes, label.tolist(), strict=True) if holds)
    return classes[label] if label >= 0 else ""
