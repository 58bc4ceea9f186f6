"""Images per second on one core from JPEG files to a batch that is ready for the device.

    python tests/benchmarks/decode.py FOLDER [ROUNDS]

FOLDER holds pictures, a folder a class. Ours from the files, from shards of short side 288 and from
shards of raw pixels, against torchvision's ImageFolder with Pillow and its
first transforms, and against timm's training transform: random-resized crop to 224 px and flip.
Rounds are interleaved and timed in CPU seconds of one thread; the ratio is taken in each round.
Ours emits uint8, which the device normalises; theirs are float and normalised already, as their
users feed them.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch
from timm.data import create_transform
from torchvision import transforms
from torchvision.datasets import ImageFolder as Torchvision

from vit.data.crops import Cut
from vit.data.files import Files, Folder, Source
from vit.data.sampling import BatchIndices
from vit.data.shards import Shards
from vit.prepare.shards import encode_image, write_shard
from vit.published import decode

BATCH, SIDE, AREA = 33, 224, (0.08, 1.0)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def ours(source: Source) -> Callable[[int, list[int]], torch.Tensor]:
    """Our files, as a worker handles them, and the flip as the device makes it."""
    count = len(source)
    files = Files(source, torch.arange(count), torch.zeros(count).long(), [Cut(SIDE, AREA, "crop")])

    def batch(epoch: int, indices: list[int]) -> torch.Tensor:
        images = files[BatchIndices(epoch, indices)].images
        images[::2] = images[::2].flip(-1)
        return images

    return batch


def theirs(root: Path, transform: Callable) -> Callable[[int, list[int]], torch.Tensor]:
    """torchvision's folder with some transform."""
    files = Torchvision(str(root), transform)
    return lambda epoch, indices: torch.stack([files[i][0] for i in indices])


def shards(root: Path, names: list[str], form: str, folder: Path) -> Shards:
    """The same pictures as one shard of short side 288."""
    files = Folder(root, names)
    samples = {
        i: (*encode_image(decode.decode(files.read(i)), form, 288), 0) for i in range(len(files))
    }
    write_shard(folder / f"{form}.tar", "train", samples)
    return Shards([folder / f"{form}.tar"])


def rounds(root: Path, count: int, folder: Path) -> dict[str, list[float]]:
    """Images per CPU second of each, round by round."""
    torch.set_num_threads(1)
    first = Torchvision(str(root))
    names = [Path(path).relative_to(root).as_posix() for path, _ in first.samples]
    usual = transforms.Compose([
        transforms.RandomResizedCrop(SIDE, AREA), transforms.RandomHorizontalFlip(),
        transforms.ToTensor(), transforms.Normalize(MEAN, STD),
    ])  # fmt: skip
    timm = create_transform(SIDE, is_training=True, color_jitter=None, interpolation="bilinear")
    makers = {
        "torchvision": theirs(root, usual),
        "timm": theirs(root, timm),
        "ours": ours(Folder(root, names)),
        "ours, Pillow alone": ours(Folder(root, names)),
        "shards, 288 px": ours(shards(root, names, "jpeg", folder)),
        "shards, raw": ours(shards(root, names, "raw", folder)),
    }
    speeds: dict[str, list[float]] = {name: [] for name in makers}
    for epoch in range(count + 1):
        for name, make in makers.items():
            slow = patch.object(decode, "fast", lambda: None)
            with slow if "Pillow" in name else patch.object(decode, "fast", decode.fast):
                start = time.process_time()
                for at in range(0, len(names), BATCH):
                    make(epoch, list(range(at, min(at + BATCH, len(names)))))
                speeds[name].append(len(names) / (time.process_time() - start))
    return {name: found[1:] for name, found in speeds.items()}  # the first warms up


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        found = rounds(Path(sys.argv[1]), int((*sys.argv, "9")[2]), Path(place))
    if decode.fast() is None:
        print("simplejpeg is not installed: pip install -e '.[fast]'")
    told = []
    for name, speeds in found.items():
        ratios = sorted(a / b for a, b in zip(speeds, found["torchvision"], strict=True))
        told.append(
            f"{name} {statistics.median(speeds):,.0f} images/s, {statistics.median(ratios):.2f} of "
            f"torchvision's ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )
    print("\n".join(told))
    claim = (
        "JPEG files to batches ready for the device, random-resized crop to 224 px and flip, one "
        "core: at least 1.8 times torchvision's ImageFolder (1.3 with Pillow alone), 3.5 times "
        "from shards of short side 288, 7 times from raw shards"
    )
    print(json.dumps({"claim": claim, "measured": "; ".join(told) + f"; {len(ratios)} rounds"}))
