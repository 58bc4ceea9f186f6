"""CIFAR batches ready for the model: ours against torchvision's per-image way, in turns.

    python tests/benchmarks/loader_cifar.py CIFAR [--rounds 5]

CIFAR is the folder that holds cifar-10-batches-py. Both give shuffled batches of 256 normalised
float images after a random crop with padding 4 and a flip, on one thread: ours through the real
data module's loader and views, torchvision's through CIFAR10, RandomCrop, RandomHorizontalFlip,
ToTensor, Normalize and a DataLoader.
"""

import argparse
import json
import statistics
import time

import torch
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from vit.batch import LoaderContext
from vit.data import CIFAR10
from vit.data.transforms import Augmentation

SOURCES = (
    "src/vit/batch.py", "src/vit/randomness.py", "src/vit/data/base.py", "src/vit/data/cifar.py",
    "src/vit/data/in_memory.py", "src/vit/data/normalisation.py", "src/vit/data/sampling.py",
    "src/vit/data/transforms.py", "src/vit/data/multi_crop.py",
)  # fmt: skip
CLAIM = """CIFAR batches, cropped, flipped and normalised, at least 15 times torchvision's \
per-image way"""
BATCH, IMAGES = 256, 10_240  # images a round from torchvision; ours shows 45,000


def our_speed(data: CIFAR10) -> float:
    """Images a second through our loader and views."""
    loader, seen = data.loader("train"), 0
    started = time.process_time()
    for batch in loader:
        shown = data.show(batch, LoaderContext(), training=True)
        seen += len(shown.images)
    return seen / (time.process_time() - started)


def their_speed(root: str) -> float:
    """Images a second through torchvision's transforms and torch's loader."""
    steps = transforms.Compose([
        transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(),
        transforms.ToTensor(), transforms.Normalize(CIFAR10.mean, CIFAR10.std),
    ])  # fmt: skip
    loader, seen = DataLoader(datasets.CIFAR10(root, transform=steps), BATCH, shuffle=True), 0
    started = time.process_time()
    for images, _ in loader:
        seen += len(images)
        if seen >= IMAGES:
            break
    return seen / (time.process_time() - started)


def main(argv: list[str] | None = None) -> None:
    """Print the medians and the ratio of paired rounds, and one line for the table."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("cifar", help="folder that holds cifar-10-batches-py")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    augmentation = Augmentation(padding=4, flip=True)
    data = CIFAR10(options.cifar, batch_size=BATCH, augmentation=augmentation)
    pairs = [(our_speed(data), their_speed(options.cifar)) for _ in range(options.rounds + 1)]
    pairs = pairs[1:]  # the first warms up
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    measured = (
        f"ours {ours:,.0f} images/s, torchvision {theirs:,.0f}, ratio "
        f"{statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f}); "
        f"{options.rounds} rounds"
    )
    print(json.dumps({"claim": CLAIM, "measured": measured}))


if __name__ == "__main__":
    main()
