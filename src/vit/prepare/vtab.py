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
from vit.published.tasks import ORIGIN, TASKS, Task
from vit.whole_files import replacing, write_text

PARTS = ("train800", "val200", "test")
ENDINGS = {JPEG: ".jpg", b"\x89P": ".png", b"GI": ".gif", b"BM": ".bmp"}


def prepare(name: str, raw: Raw, root: Path, tell: Callable[[str, int, int], None]) -> Path:
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
        keys, split = members(raw, task, part)
        lines, target = [], folder / "images" / part
        found = target.iterdir() if target.is_dir() else ()
        there = {path.stem: path.name for path in found if path.suffix != ".part"}
        for number, key in enumerate(keys):
            file = there.get(f"{number:06d}") or written(target, number, raw.image(split, key))
            lines.append(f"images/{part}/{file} {raw.label(split, key)}")
            tell(part, number + 1, len(keys))
        write_text(folder / f"{part}.txt", "\n".join(lines) + "\n")
    both = [(folder / f"{part}.txt").read_text() for part in PARTS[:2]]
    write_text(folder / "train800val200.txt", "".join(both))
    about = {"origin": "published files, no pixel changed", "task": name, "order": "md5 of keys"}
    write_text(folder / ORIGIN, json.dumps(about, indent=1) + "\n")
    return folder


def members(raw: Raw, task: Task, part: str) -> tuple[list[Key], str]:
    """Keys of one part in the published order, and the published split that they are from."""
    words, count = {
        "train800": (task.train, 800), "val200": (task.val, 200), "test": (task.test, task.tested),
    }[part]  # fmt: skip
    split = split_of(words)
    keys = part_of(ordered(raw, split), words)
    if len(keys) != count:
        raise ValueError(
            f"{type(raw).__name__}: {part} should be {count:,} images ({words}), there are "
            f"{len(keys):,}; the raw files below {raw.root} are not complete"
        )
    return keys, split


@cache
def ordered(raw: Raw, split: str) -> list[Key]:
    """Sorted once, though several parts are cut from it."""
    return published_order(raw.keys(split), split)


def written(folder: Path, number: int, data: bytes) -> str:
    """The name of an image's file, which is there whole or not at all."""
    suffix = ENDINGS.get(data[:2], ".img")
    path = folder / f"{number:06d}{suffix}"
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path, flush=False) as file:  # thousands, and what is missing is made again
        file.write(data)
    return path.name
