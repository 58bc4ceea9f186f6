"""A folder for each task, in the layout that published code reads, from the raw files.

Pixels stay as published: files are copied, arrays become PNG. The folder that other projects hand
around holds JPEG of quality 75 instead, also of data that was lossless; `origin` tells them apart.
"""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

from vit.published.decode import JPEG
from vit.published.order import Key, part_of, published_order, split_of
from vit.published.raw import Raw
from vit.published.tasks import ORIGIN, TASKS, VTABTask
from vit.whole_files import replacing, write_text

PARTS = ("train800", "val200", "test")
ENDINGS = {JPEG: ".jpg", b"\x89P": ".png", b"GI": ".gif", b"BM": ".bmp"}


def write_task(name: str, raw: Raw, root: Path, tell: Callable[[str, int, int], None]) -> Path:
    """Write one task; what is there already is kept, so an interrupted call goes on.

    Args:
        name: of TASKS.
        raw: the published data.
        root: folder of all tasks.
        tell: called with the part, images done, images in all.

    Raises:
        ValueError: the published data has not the images that it should have.
    """
    task, folder = TASKS[name], root / name
    raw.get()
    for part in PARTS:
        keys, split = keys_of_part(raw, task, part)
        lines, target = [], folder / "images" / part
        files = target.iterdir() if target.is_dir() else ()
        there = {path.stem: path.name for path in files if path.suffix != ".part"}
        for number, key in enumerate(keys):
            file = there.get(f"{number:06d}") or write_image(target, number, raw.image(split, key))
            lines.append(f"images/{part}/{file} {raw.label(split, key)}")
            tell(part, number + 1, len(keys))
        write_text(folder / f"{part}.txt", "\n".join(lines) + "\n")
    both = [(folder / f"{part}.txt").read_text() for part in PARTS[:2]]
    write_text(folder / "train800val200.txt", "".join(both))
    about = {"origin": "published files, no pixel changed", "task": name, "order": "md5 of keys"}
    write_text(folder / ORIGIN, json.dumps(about, indent=1) + "\n")
    return folder


def keys_of_part(raw: Raw, task: VTABTask, part: str) -> tuple[list[Key], str]:
    """Keys of one part in the published order, and the published split that they are from."""
    slice_name, count = {
        "train800": (task.train, 800),
        "val200": (task.val, 200),
        "test": (task.test, task.tested),
    }[part]
    split = split_of(slice_name)
    keys = part_of(ordered(raw, split), slice_name)
    if len(keys) != count:
        raise ValueError(
            f"{type(raw).__name__}: {part} should be {count:,} images ({slice_name}), there are "
            f"{len(keys):,}; the raw files below {raw.root} are not complete"
        )
    return keys, split


@cache
def ordered(raw: Raw, split: str) -> list[Key]:
    """All keys of a split in the published order; several parts are cut from it."""
    return published_order(raw.keys(split), split)


def write_image(folder: Path, number: int, data: bytes) -> str:
    """Write an image, whole or not at all; returns the name of its file."""
    suffix = ENDINGS.get(data[:2], ".img")
    path = folder / f"{number:06d}{suffix}"
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path, flush=False) as file:  # thousands, and what is missing is made again
        file.write(data)
    return path.name
