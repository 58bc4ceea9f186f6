"""CIFAR batches ready for the model: ours against torchvision's per-image way, in turns.

    python tests/benchmarks/loader_cifar.py <folder that holds cifar-10-batches-py> [rounds]

Both give shuffled batches of 256 normalised float images after a random crop with padding 4 and a
flip, on one thread: ours through the real data module's loader and views, torchvision's through
CIFAR10, RandomCrop, RandomHorizontalFlip, ToTensor, Normalize and a DataLoader.
"""

import json
import statistics
import sys
import time

import torch
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from vit.batch import LoaderContext
from vit.data import CIFAR10
from vit.data.transforms import Augmentation

BATCH, IMAGES = 256, 10_240  # images a round from torchvision; ours shows 45,000


def ours(data: CIFAR10) -> float:
    """Images a second."""
    loader, seen = data.loader("train"), 0
    started = time.process_time()
    for batch in loader:
        shown = data.show(batch, LoaderContext(), training=True)
        seen += len(shown.images)
    return seen / (time.process_time() - started)


def theirs(root: str) -> float:
    """Images a second."""
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


def main(root: str, rounds: int) -> None:
    """Print the medians and the ratio of paired rounds."""
    torch.set_num_threads(1)
    data = CIFAR10(root, batch_size=BATCH, augmentation=Augmentation(padding=4, flip=True))
    pairs = [(ours(data), theirs(root)) for _ in range(rounds + 1)][1:]
    ratios = sorted(a / b for a, b in pairs)
    said = (
        f"ours {statistics.median(a for a, _ in pairs):,.0f} images/s, torchvision "
        f"{statistics.median(b for _, b in pairs):,.0f}, ratio {statistics.median(ratios):.1f} "
        f"({ratios[0]:.1f} to {ratios[-1]:.1f} over {rounds} rounds; CPU time)"
    )
    claim = "CIFAR batches, cropped, flipped and normalised, at least 15 times torchvision's "
    print(said)
    print(json.dumps({"claim": f"{claim}per-image way", "measured": said}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5)
