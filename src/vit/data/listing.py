"""What lies in a folder of pictures: files, classes, and which split the person put them into."""

import csv
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .gif .bmp .webp .tif .tiff .ppm .pgm .jp2 .avif".split()
)
UNREADABLE = frozenset(".heic .heif .raw .cr2 .cr3 .nef .arw .dng .svg .psd .mp4 .mov".split())
NOT_CLASSES = ("__MACOSX", "lost+found")  # and whatever begins with a dot
UNLABELLED = ("unlabelled", "unlabeled")  # a folder of this name is no class
SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test",)}
LABELS = "labels.csv"
BETWEEN = ";"  # several labels of an image


@dataclass
class Listing:
    """Files of a folder, in a fixed order.

    Args:
        names: paths below the root, with forward slashes.
        labels: numbers of classes; -1 unlabelled; of several labels the rarest.
        classes: their names.
        splits: what the person said: train, val, test, or nothing.
        groups: images that belong together (one patient, one animal); empty: each by itself.
        notes: what a person should know, in lines.
        several: all labels of each picture, where there may be several; else empty.
    """

    names: list[str]
    labels: list[int]
    classes: tuple[str, ...]
    splits: list[str]
    groups: list[str] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    several: list[tuple[int, ...]] = field(default_factory=list)

    @property
    def sets(self) -> list[tuple[int, ...]]:
        """All labels of each picture, whether there may be several or not."""
        return self.several or [(label,) if label >= 0 else () for label in self.labels]


@cache
def survey(root: Path, table: Path | None = None) -> Listing:
    """Look at a folder once.

    One of: a table `labels.csv`; folders train, val, test with a folder a class in each; a folder
    a class; pictures without classes.

    Args:
        root: the folder.
        table: the table, where it has another name or place.

    Raises:
        FileNotFoundError: there is no such folder, or no picture in it.
        ValueError: the classes or the table contradict themselves.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"data.root: {root} is no folder")
    table = table or (root / LABELS if (root / LABELS).is_file() else None)
    if table:
        return read_table(root, table)
    other: Counter[str] = Counter()
    names = sorted(walk(root, root, other))
    notes = tuple(
        f"{count} {suffix} files are not read; convert them to JPEG or PNG"
        for suffix, count in sorted(other.items())
    )
    if not names:
        more = f" ({'; '.join(notes)})" if notes else ""
        raise FileNotFoundError(f"data.root: no picture below {root}{more}")
    tops = {name.split("/")[0] for name in names if "/" in name}
    said = {top: split for split, words in SPLITS.items() for top in tops if top.lower() in words}
    if "train" in said.values():
        return by_split(root, names, said, notes)
    return by_class(names, [""] * len(names), [name.split("/")[:-1] for name in names], notes)


def walk(root: Path, folder: Path, other: Counter[str]) -> Iterator[str]:
    """Pictures below a folder, links followed; counts what looks like one and is not read."""
    for entry in os.scandir(folder):
        if entry.name.startswith(".") or entry.name in NOT_CLASSES:
            continue
        if entry.is_dir():
            yield from walk(root, Path(entry.path), other)
        elif (suffix := Path(entry.name).suffix.lower()) in SUFFIXES:
            yield Path(entry.path).relative_to(root).as_posix()
        elif suffix in UNREADABLE:
            other[suffix] += 1


def by_split(root: Path, names: list[str], said: dict[str, str], notes: tuple[str, ...]) -> Listing:
    """Folders train, val and test, or some of them; the classes are those of train."""
    stray = sorted({name.split("/")[0] for name in names} - set(said) - set(UNLABELLED))
    if stray:
        raise ValueError(
            f"data.root: {root} holds {', '.join(stray[:5])} beside {', '.join(sorted(said))}; "
            "keep either folders of splits or folders of classes"
        )
    splits = [said.get(name.split("/")[0], "") for name in names]
    folders = [
        [] if not split else name.split("/")[1:-1]
        for name, split in zip(names, splits, strict=True)
    ]
    return by_class(names, splits, folders, notes)


def by_class(
    names: list[str], splits: list[str], folders: list[list[str]], notes: tuple[str, ...]
) -> Listing:
    """The first folder of each picture is its class; those of the training split count."""
    taught = {
        path[0] for path, split in zip(folders, splits, strict=True)
        if path and split in ("", "train") and path[0].lower() not in UNLABELLED
    }  # fmt: skip
    number = {name: i for i, name in enumerate(sorted(taught))}
    labels = []
    for name, path, split in zip(names, folders, splits, strict=True):
        known = path and path[0].lower() not in UNLABELLED
        if known and path[0] not in number:
            raise ValueError(
                f"data.root: class {path[0]} is in {split} only ({name}); it wants training images"
            )
        labels.append(number[path[0]] if known else -1)
    return Listing(names, labels, tuple(sorted(taught)), splits, notes=notes)


def read_table(root: Path, table: Path) -> Listing:
    """A CSV file with columns file and label or labels, and split and group where wanted."""
    with table.open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    if not rows or "file" not in rows[0]:
        found = ", ".join(rows[0]) if rows else "nothing"
        raise ValueError(f"{table}: wants columns file and label (or labels), holds {found}")
    if {"label", "labels"} <= set(rows[0]):
        raise ValueError(f"{table}: holds columns label and labels; keep one")
    words = {word: split for split, known in SPLITS.items() for word in known}
    rows = [{k: (v or "").strip() for k, v in row.items() if k} for row in rows]
    for number, row in enumerate(rows, 2):
        if not (root / row["file"]).is_file():
            raise FileNotFoundError(f"{table}, line {number}: {root / row['file']} is not there")
        if row.get("split") and row["split"].lower() not in words:
            raise ValueError(
                f"{table}, line {number}: split {row['split']!r}; known: {', '.join(words)}"
            )
    name, count = Counter(row["file"] for row in rows).most_common()[0]
    if count > 1:
        raise ValueError(f"{table}: {name} stands there {count} times; each file once")
    given = [labels_in(row) for row in rows]
    classes = tuple(sorted({name for names in given for name in names}))
    number = {name: i for i, name in enumerate(classes)}
    sets = [tuple(number[name] for name in names) for names in given]
    return Listing(
        names=[Path(row["file"]).as_posix() for row in rows],
        labels=rarest(sets),
        classes=classes,
        splits=[words.get(row.get("split", "").lower(), "") for row in rows],
        groups=[row["group"] for row in rows] if "group" in rows[0] else [],
        several=sets if "labels" in rows[0] else [],
    )


def rarest(sets: list[tuple[int, ...]]) -> list[int]:
    """Of each picture's labels the one that fewest pictures have: splits are drawn by it."""
    common = Counter(label for labels in sets for label in labels)
    return [min(labels, key=lambda x: (common[x], x)) if labels else -1 for labels in sets]


def labels_in(row: dict[str, str]) -> list[str]:
    """Of one picture: its label, or its labels between semicolons, each once."""
    if "labels" not in row:
        return [row["label"]] if row.get("label") else []
    return sorted({name.strip() for name in row["labels"].split(BETWEEN)} - {""})
