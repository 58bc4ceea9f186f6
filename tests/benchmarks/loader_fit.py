"""Does training wait for its images? `fit` on the real loader against `fit` on one cached batch.

    python tests/benchmarks/loader_fit.py PICTURES [--rounds 5] [--batch 16] [--steps 7]

PICTURES holds photographs, a folder a class, at least ten in each. ViT-Ti/16 at 224 px, one compute
thread, one worker: needs two idle cores, as it reads the clock. Rounds are interleaved; the first
steps of each fit are not counted.
"""

import argparse
import json
import statistics
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

SOURCES = (
    "src/vit/data/base.py", "src/vit/data/crops.py", "src/vit/data/file_images.py",
    "src/vit/data/files.py", "src/vit/data/image_folder.py", "src/vit/data/sampling.py",
    "src/vit/data/transforms.py", "src/vit/data/multi_crop.py", "src/vit/lightning_workarounds.py",
    "src/vit/models/block.py", "src/vit/models/vit.py", "src/vit/module.py",
    "src/vit/objectives/supervised.py", "src/vit/published/decode.py",
)  # fmt: skip
CLAIM = """fit on image files, one worker, against fit on one cached batch, ViT-Ti/16 at 224 px: \
at least 0.95"""
WARMUP = 2


class CachedBatch(ImageFolder):
    """The same batch again and again, already in memory."""

    steps = 0

    def train_dataloader(self) -> DataLoader:
        """Read once."""
        batch = next(iter(super().train_dataloader()))
        return DataLoader([batch] * self.steps, batch_size=None)


class Clock(Callback):
    """When each step ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        """Note it."""
        self.times.append(time.perf_counter())


def speed(kind: type[ImageFolder], options: argparse.Namespace) -> float:
    """Images per second of one fit."""
    data = kind(
        options.pictures, batch_size=options.batch, workers=1, keep_splits=False, folds=10,
        val_fraction=0.1, augmentation=Augmentation(crop_area=(0.08, 1.0), flip=True),
    )  # fmt: skip
    clock, steps = Clock(), WARMUP + options.steps
    data.steps = steps
    module = ViTModule(
        Supervised, lambda spec: ViT(spec, size="Ti/16"), torch.optim.SGD, spec=data.spec
    )
    Trainer(
        max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
        callbacks=[clock],
    ).fit(module, data)  # fmt: skip
    return options.batch * options.steps / (clock.times[-1] - clock.times[WARMUP - 1])


def main(argv: list[str] | None = None) -> None:
    """Print the medians and the ratio of paired rounds, and one line for the table."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("pictures", help="folder of photographs, a folder a class")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=7, help="steps of each fit that count")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    workarounds.quieten()
    pairs = [
        (speed(ImageFolder, options), speed(CachedBatch, options)) for _ in range(options.rounds)
    ]
    ratios = sorted(real / cached for real, cached in pairs)
    real, cached = (statistics.median(column) for column in zip(*pairs, strict=True))
    measured = (
        f"real loader {real:.1f}, cached batch {cached:.1f} images/s, ratio "
        f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}); "
        f"{options.rounds} rounds"
    )
    print(json.dumps({"claim": CLAIM, "measured": measured}))


if __name__ == "__main__":
    main()
