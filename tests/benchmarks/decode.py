"""Images per second on one core from JPEG files to a batch that is ready for the device.

    python tests/benchmarks/decode.py PICTURES [--rounds 9]

PICTURES holds photographs, a folder a class. Ours from the files, from shards of short side 288 and
from shards of raw pixels, against torchvision's ImageFolder with Pillow and its
first transforms, and against timm's training transform: random-resized crop to 224 px and flip.
Rounds are interleaved and timed in CPU seconds of one thread; the ratio is taken in each round.
Ours emits uint8, which the device normalises; theirs are float and normalised already, as their
users feed them.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch
from timm.data import create_transform
from torchvision import transforms
from torchvision.datasets import ImageFolder

from vit.data.crops import Cut
from vit.data.files import Files, Folder, Source
from vit.data.sampling import BatchIndices
from vit.data.shards import Shards
from vit.prepare.shards import encode_image, write_shard
from vit.published import decode

SOURCES = (
    "src/vit/data/crops.py", "src/vit/data/files.py", "src/vit/data/sampling.py",
    "src/vit/data/shards.py", "src/vit/data/random_crop.py", "src/vit/prepare/shards.py",
    "src/vit/published/decode.py", "src/vit/randomness.py",
)  # fmt: skip
CLAIM = """JPEG files to batches ready for the device, random-resized crop to 224 px and flip, one \
core: at least 1.8 times torchvision's ImageFolder (1.3 with Pillow alone), 3.5 times from shards \
of short side 288, 7 times from raw shards"""
BATCH, SIDE, AREA = 33, 224, (0.08, 1.0)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PILLOW = "ours, Pillow alone"

MakeBatch = Callable[[int, list[int]], torch.Tensor]  # of an epoch and numbers of images


def our_batches(source: Source) -> MakeBatch:
    """Our files, as a worker handles them, and the flip as the device makes it."""
    count = len(source)
    files = Files(source, torch.arange(count), torch.zeros(count).long(), [Cut(SIDE, AREA, "crop")])

    def batch(epoch: int, indices: list[int]) -> torch.Tensor:
        images = files[BatchIndices(epoch, indices)].images
        images[::2] = images[::2].flip(-1)
        return images

    return batch


def their_batches(root: Path, transform: Callable) -> MakeBatch:
    """torchvision's folder with some transform."""
    files = ImageFolder(str(root), transform)
    return lambda epoch, indices: torch.stack([files[i][0] for i in indices])


def one_shard(files: Folder, form: str, scratch: Path) -> Shards:
    """The same pictures as one shard of short side 288."""
    samples = {
        i: (*encode_image(decode.decode(files.read(i)), form, 288), 0) for i in range(len(files))
    }
    write_shard(scratch / f"{form}.tar", "train", samples)
    return Shards([scratch / f"{form}.tar"])


def makers_of(root: Path, files: Folder, scratch: Path) -> dict[str, MakeBatch]:
    """Every way to a batch, by its name."""
    usual = transforms.Compose([
        transforms.RandomResizedCrop(SIDE, AREA), transforms.RandomHorizontalFlip(),
        transforms.ToTensor(), transforms.Normalize(MEAN, STD),
    ])  # fmt: skip
    timm = create_transform(SIDE, is_training=True, color_jitter=None, interpolation="bilinear")
    return {
        "torchvision": their_batches(root, usual),
        "timm": their_batches(root, timm),
        "ours": our_batches(files),
        PILLOW: our_batches(files),
        "shards, 288 px": our_batches(one_shard(files, "jpeg", scratch)),
        "shards, raw": our_batches(one_shard(files, "raw", scratch)),
    }


def speed(make: MakeBatch, epoch: int, count: int) -> float:
    """Images per CPU second over one pass."""
    start = time.process_time()
    for first in range(0, count, BATCH):
        make(epoch, list(range(first, min(first + BATCH, count))))
    return count / (time.process_time() - start)


def measure(root: Path, rounds: int, scratch: Path) -> dict[str, list[float]]:
    """Images per CPU second of each way, round by round."""
    names = [Path(path).relative_to(root).as_posix() for path, _ in ImageFolder(str(root)).samples]
    makers = makers_of(root, Folder(root, names), scratch)
    speeds: dict[str, list[float]] = {name: [] for name in makers}
    for epoch in range(rounds + 1):
        for name, make in makers.items():
            decoder = (lambda: None) if name == PILLOW else decode.fast
            with patch.object(decode, "fast", decoder):
                speeds[name].append(speed(make, epoch, len(names)))
    return {name: values[1:] for name, values in speeds.items()}  # the first warms up


def main(argv: list[str] | None = None) -> None:
    """Print each way's speed and ratio, and one line for the table."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("pictures", type=Path, help="folder of photographs, a folder a class")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    if decode.fast() is None:
        print("simplejpeg is not installed: pip install -e '.[fast]'")
    with tempfile.TemporaryDirectory() as scratch:
        speeds = measure(options.pictures, options.rounds, Path(scratch))
    base = speeds.pop("torchvision")
    texts = [f"torchvision {statistics.median(base):,.0f} images/s"]
    for name, values in speeds.items():
        ratios = sorted(a / b for a, b in zip(values, base, strict=True))
        texts.append(
            f"{name} {statistics.median(values):,.0f} images/s, {statistics.median(ratios):.2f} of "
            f"torchvision's ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )
    print("\n".join(texts))
    measured = f"{'; '.join(texts)}; {options.rounds} rounds"
    print(json.dumps({"claim": CLAIM, "measured": measured}))


if __name__ == "__main__":
    main()
