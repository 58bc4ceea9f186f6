"""Write any data set as tar shards: the files as they are, smaller JPEG, or plain pixels.

Smaller files are not comparable pixel by pixel with the originals; `dataset.json` says what was
done, and so does every figure made from them. Archives are ustar with fixed times: the same data
gives the same bytes, and a shard that is there is whole.
"""

import io
import json
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from vit.data.base import Images
from vit.data.file_images import FileImages
from vit.data.in_memory import InMemory
from vit.data.shard_description import ABOUT, SPLITS, Form, read_about
from vit.data.shard_index import build_index
from vit.published.decode import JPEG, decode, packed
from vit.whole_files import replacing, write_text

QUALITY = 90


def write_shards(
    data: Images,
    folder: Path,
    form: Form,
    short_side: int,
    per_shard: int,
    tell: Callable[[str, int, int], None],
) -> Path:
    """Write every split; what is there already is kept, so an interrupted call goes on.

    Args:
        data: prepared.
        folder: of the shards.
        form: as_is: the files' own bytes; jpeg: short side and quality 90; raw: short side, uint8.
        short_side: pixels; smaller images stay as they are.
        per_shard: samples.
        tell: called with the split, samples done, samples in all.

    Raises:
        ValueError: the folder holds shards that were written otherwise.
    """
    if data.spec.multi_label:
        raise ValueError(
            "prepare: shards hold one label an image, this data has several; train on the folder"
        )
    about = description(data, form, short_side, per_shard)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / ABOUT
    known = read_about(folder) if file.is_file() and any(folder.glob("*.tar")) else about
    if known | {"counts": None} != about | {"counts": None}:
        raise ValueError(
            f"prepare: {folder} holds shards that were written otherwise; choose another folder"
        )
    write_about(file, about)
    for split in SPLITS:
        one = sample_reader(data, split, form, short_side)
        count = len(data.split_indices()[split])
        for start in range(0, count, per_shard):
            path = folder / f"{split}-{start // per_shard:06d}.tar"
            end = min(start + per_shard, count)
            if not path.is_file():
                write_shard(path, split, {number: one(number) for number in range(start, end)})
            tell(split, end, count)
    written = {
        split: sum(len(build_index(path).names) for path in folder.glob(f"{split}-*.tar"))
        for split in SPLITS
    }
    write_about(file, about | {"counts": written})
    return folder


def description(data: Images, form: Form, short_side: int, per_shard: int) -> dict[str, Any]:
    """What dataset.json says of how the shards are written, as JSON gives it back."""
    exif_and_alpha = form == "as_is" and getattr(data, "apply_exif_and_alpha", False)
    about = {
        "data": type(data).__name__,
        "form": form,
        "short_side": None if form == "as_is" else short_side,
        "quality": QUALITY if form == "jpeg" else None,
        "per_shard": per_shard,
        "classes": list(data.spec.classes),
        "mean": data.spec.mean,
        "std": data.spec.std,
        "apply_exif_and_alpha": exif_and_alpha,
        "splits": {split: data.split_hash(split) for split in SPLITS},
    }
    return json.loads(json.dumps(about))


def write_about(file: Path, about: dict[str, Any]) -> None:
    """Write dataset.json, the old one or the new one at any instant."""
    write_text(file, json.dumps(about, indent=1) + "\n")


def sample_reader(
    data: Images, split: str, form: Form, short_side: int
) -> Callable[[int], tuple[str, bytes, int] | None]:
    """A function of a sample's number: its kind, bytes and label; None: left out."""
    dataset = data.open(split)
    if isinstance(dataset, InMemory):
        kind = "raw" if form == "raw" else "png"
        images, labels = dataset.images, dataset.labels
        return lambda i: (*encode_image(images[i], kind, short_side), int(labels[i]))
    assert isinstance(data, FileImages)

    def one(number: int) -> tuple[str, bytes, int] | None:
        place, label = int(dataset.places[number]), int(dataset.labels[number])
        content = dataset.source.read(place)
        try:
            image = decode(content, data.apply_exif_and_alpha)
        except ValueError as error:
            name = dataset.source.name(place)
            if data.on_error == "skip":
                print(f"data: skipped {name}: {error}", file=sys.stderr)
                return None
            raise ValueError(f"{name} {error}; prepare --check lists all such files") from error
        if form == "as_is":
            kind = "jpg" if content[:2] == JPEG else Image.open(io.BytesIO(content)).format.lower()
            return kind, content, label
        return (*encode_image(image, form, short_side), label)

    return one


def encode_image(image: Tensor, form: str, short_side: int) -> tuple[str, bytes]:
    """Kind and bytes of an image, shrunk to its short side."""
    height, width = image.shape[1:]
    scale = short_side / min(height, width)
    if scale < 1:
        size = [max(round(side * scale), 1) for side in (height, width)]
        image = F.interpolate(image[None], size, mode="bicubic", antialias=True)[0]
    if form == "raw":
        return "raw", packed(image)
    pixels = image.permute(1, 2, 0).contiguous().numpy()
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(
        stream, "JPEG" if form == "jpeg" else "PNG", quality=QUALITY
    )
    return ("jpg" if form == "jpeg" else "png"), stream.getvalue()


def write_shard(path: Path, split: str, samples: dict[int, tuple[str, bytes, int] | None]) -> None:
    """Write one archive, there whole or not at all; members are named by split and number."""
    with (
        replacing(path) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for number, sample in samples.items():
            if sample is None:
                continue
            kind, content, label = sample
            parts = [(kind, content)] + ([("cls", str(label).encode())] if label >= 0 else [])
            for suffix, body in sorted(parts):
                info = tarfile.TarInfo(f"{split}-{number:08d}.{suffix}")
                info.size = len(body)
                tar.addfile(info, io.BytesIO(body))
