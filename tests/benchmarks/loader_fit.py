"""Does training wait for its images? `fit` on the real loader against `fit` on one cached batch.

    python tests/benchmarks/loader_fit.py FOLDER [ROUNDS]

FOLDER holds pictures, a folder a class. ViT-Ti/16 at 224 px, one compute thread, one worker: wants
two idle cores. Rounds are interleaved; the first steps of each fit are not counted.
"""

import json
import statistics
import sys
import time
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader

from vit import lightning_workarounds as workarounds
from vit.data import ImageFolder
from vit.data.transforms import Augmentation
from vit.models import ViT
from vit.module import ViTModule
from vit.objectives.supervised import Supervised

BATCH, WARMUP, STEPS = 16, 2, 7


class Cached(ImageFolder):
    """The same batch again and again, already in memory."""

    def train_dataloader(self) -> DataLoader:
        """Read once."""
        batch = next(iter(super().train_dataloader()))
        return DataLoader([batch] * (WARMUP + STEPS), batch_size=None)


class Clock(Callback):
    """When each step ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        """Note it."""
        self.times.append(time.perf_counter())


def speed(kind: type[ImageFolder], root: str) -> float:
    """Images per second."""
    data = kind(root, batch_size=BATCH, workers=1, keep_splits=False, folds=10, val_fraction=0.1,
                augmentation=Augmentation(crop_area=(0.08, 1.0), flip=True))  # fmt: skip
    clock = Clock()
    module = ViTModule(Supervised, lambda spec: ViT(spec, size="Ti/16"), torch.optim.SGD,
                       spec=data.spec)  # fmt: skip
    Trainer(
        max_steps=WARMUP + STEPS, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
        callbacks=[clock],
    ).fit(module, data)  # fmt: skip
    return BATCH * STEPS / (clock.times[-1] - clock.times[WARMUP - 1])


if __name__ == "__main__":
    torch.set_num_threads(1)
    workarounds.quieten()
    root, rounds = sys.argv[1], int((*sys.argv, "5")[2])
    pairs = [(speed(ImageFolder, root), speed(Cached, root)) for _ in range(rounds)]
    ratios = sorted(real / cached for real, cached in pairs)
    real, cached = (statistics.median(column) for column in zip(*pairs, strict=True))
    told = (
        f"real loader {real:.1f}, cached batch {cached:.1f} images/s, ratio "
        f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}, {rounds} rounds)"
    )
    print(told)
    claim = (
        "fit on image files, one worker, against fit on one cached batch, ViT-Ti/16 at 224 px: at "
        "least 0.95"
    )
    print(json.dumps({"claim": claim, "measured": told}))
