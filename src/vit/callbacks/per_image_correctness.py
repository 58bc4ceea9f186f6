"""correct.csv: which test images a model gets right, for tests that pair models image by image."""

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from vit.callbacks.run import Run, callback_of
from vit.callbacks.run_log import RunLog
from vit.callbacks.tables import write_rows
from vit.collectives import gather_rows
from vit.module import ViTModule


class PerImageCorrectness(Callback):
    """Collect a test's batches from all ranks and write one row per image, in the split's order.

    Args:
        files: the run's logger, which knows the folder.
    """

    def __init__(self, files: RunLog) -> None:
        self.files = files
        self.parts: list[tuple[torch.Tensor, torch.Tensor]] = []

    def on_test_start(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Nothing is carried over from a test that was interrupted."""
        self.parts = []

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: ViTModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep what the batch gave."""
        if outputs is not None:
            self.parts.append(outputs)

    def on_test_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Gather the ranks' images and write them; the summary holds the file's hash."""
        if not self.parts:
            return
        index, right = (
            gather_rows(torch.cat(part)).cpu() for part in zip(*self.parts, strict=True)
        )
        self.parts = []
        if not trainer.is_global_zero:
            return
        order = [row for row in index.argsort().tolist() if index[row] >= 0]
        rows = ([int(index[row]), f"{float(right[row]):g}"] for row in order)
        sha256 = write_rows(self.files.folder / "correct.csv", ["index", "accuracy"], rows)
        data = trainer.datamodule
        callback_of(trainer, Run).plan.extra |= {
            "correct_sha256": sha256,
            "splits": {"test": data.split_hash("test")},
            "content": {"test": data.content("test")},
        }
