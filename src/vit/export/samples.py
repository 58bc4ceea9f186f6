"""Pictures of a data set as files, to verify and to calibrate on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vit.data.base import Images
from vit.data.files import Files
from vit.data.in_memory import InMemory
from vit.published.decode import RAW, SUFFIXES


@dataclass(frozen=True)
class Samples:
    """Some pictures of a split.

    Args:
        files: of the pictures, as they were encoded; pixels in memory become PNG files.
        labels: of each; -1 where it has none.
    """

    files: list[Path]
    labels: list[int]


def samples_of(data: Images, split: str, most: int, folder: Path) -> Samples:
    """At most so many pictures of a split, evenly spread, written into a folder.

    Args:
        data: the data set.
        split: train, val or test.
        most: pictures.
        folder: where they are written.
    """
    dataset = data.open(split)
    places = [round(n) for n in np.linspace(0, len(dataset) - 1, min(most, len(dataset)))]
    folder.mkdir(parents=True, exist_ok=True)
    files, labels = [], []
    for place in places:
        path = folder / f"{split}{place}"
        if written_sample(dataset, place, path):
            files.append(path)
            labels.append(int(dataset.labels[place]))
    return Samples(files, labels)


def written_sample(dataset: Files | InMemory, place: int, path: Path) -> bool:
    """Write one picture; False where it is none that others read (raw pixels of shards)."""
    if isinstance(dataset, InMemory):
        pixels = dataset.images[place].cpu().permute(1, 2, 0).numpy()
        Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(path, "PNG")
        return True
    content = dataset.source.read(int(dataset.places[place]))
    if content.startswith(RAW):
        return False
    path.write_bytes(content)
    return True


def pictures_below(folder: Path, most: int) -> list[Path]:
    """At most so many picture files below a folder, evenly spread.

    Raises:
        ValueError: there is none.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(f"export: --calibration: no picture below {folder}")
    places = np.linspace(0, len(files) - 1, min(most, len(files)))
    return [files[round(n)] for n in places]
