"""correct.csv: which test images a model gets right, for tests that pair models image by image."""

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from vit.callbacks.run import Run, callback_of
from vit.callbacks.run_log import RunLog
from vit.callbacks.tables import write_rows
from vit.collectives import gather_rows
from vit.evaluate.accuracy_interval import accuracy_interval, smallest_difference
from vit.metrics import Answers
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
        outputs: Answers | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep what the batch gave."""
        if outputs is not None and outputs.right is not None:
            self.parts.append((outputs.index, outputs.right))

    def on_test_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Gather the ranks' images and write them; the summary holds the file's hash, and how sure
        the accuracy is.
        """
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
            **sureness(int(right[order].sum()), len(order)),
            "correct_sha256": sha256,
            "splits": {"test": data.split_hash("test")},
            "content": {"test": data.content("test")},
        }


def sureness(right: int, images: int) -> dict[str, float]:
    """What the summary says of how sure the test accuracy is; empty without an image."""
    if not images:
        return {}
    low, high = accuracy_interval(right, images)
    return {
        "test/images": images,
        "test/accuracy_low": low,
        "test/accuracy_high": high,
        "test/accuracy_detectable": smallest_difference(right, images),
    }
