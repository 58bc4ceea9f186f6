"""What lies in a folder of pictures: files, classes, and which split the person put them into."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from errno import ELOOP, ENOTDIR
from functools import cache, cached_property
from pathlib import Path

from vit.data.reading_progress import ReadingProgress
from vit.data.table import SPLIT_OF, labels_in, rows_of
from vit.published.decode import SUFFIXES

UNREADABLE = frozenset(".heic .heif .raw .cr2 .cr3 .nef .arw .dng .svg .psd .mp4 .mov".split())
NOT_CLASSES = ("__MACOSX", "lost+found")  # and whatever begins with a dot
UNLABELLED = ("unlabelled", "unlabeled")  # a folder of this name is no class
LABELS = "labels.csv"
NOT_UTF8 = re.compile("[\udc80-\udcff]")  # how Python shows bytes that are none


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

    @cached_property
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
    if table or os.path.lexists(root / LABELS):
        return read_table(root, table or root / LABELS)
    other: Counter[str] = Counter()
    names = sorted(ReadingProgress(f"looking through {root}").over(find_pictures(root, other)))
    notes = tuple(
        f"{count} {suffix} files are not read; convert them to JPEG or PNG"
        for suffix, count in sorted(other.items())
    )
    if not names:
        more = f" ({'; '.join(notes)})" if notes else ""
        raise FileNotFoundError(f"data.root: no picture below {root}{more}")
    tops = {name.split("/")[0] for name in names if "/" in name}
    splits = {top: SPLIT_OF[top.lower()] for top in sorted(tops) if top.lower() in SPLIT_OF}
    if "train" in splits.values():
        return folders_of_splits(root, names, splits, notes)
    if len(splits) > 1 and tops == set(splits):
        raise ValueError(
            f"data.root: {root} holds {', '.join(sorted(tops))} and no training picture; put some "
            f"into {root / 'train'}"
        )
    folders = [name.split("/")[:-1] for name in names]
    return folders_of_classes(names, [""] * len(names), folders, notes)


def find_pictures(root: Path, other: Counter[str]) -> Iterator[str]:
    """Pictures below a folder, links followed; counts into `other` what is like one and not read.

    Raises:
        ValueError: a link leads back, a name is no UTF-8, or a folder may not be read.
    """
    waiting: list[tuple[str, str, tuple[str, ...]]] = [(str(root), "", ())]
    while waiting:
        folder, before, crossed = waiting.pop()
        for entry in entries(folder):
            if NOT_UTF8.search(entry.name):
                raise ValueError(
                    f"data.root: a name in {folder} is not UTF-8 ({entry.name!a}); rename it"
                )
            kind, (_, dot, last) = kind_of(entry), entry.name.rpartition(".")
            suffix = dot + last.lower()
            if kind == "folder":
                links = followed(folder, entry, crossed) if entry.is_symlink() else crossed
                waiting.append((entry.path, f"{before}{entry.name}/", links))
            elif kind == "file" and suffix in SUFFIXES:
                yield before + entry.name
            elif suffix in UNREADABLE:
                other[suffix] += 1


def entries(folder: str) -> list[os.DirEntry]:
    """What lies in a folder, without what is hidden or no class."""
    try:
        with os.scandir(folder) as scan:
            return [e for e in scan if e.name[0] != "." and e.name not in NOT_CLASSES]
    except OSError as error:
        raise ValueError(unreadable(folder, error)) from error


def kind_of(entry: os.DirEntry) -> str:
    """A folder, a file, or neither: a pipe, a link that leads nowhere or to itself."""
    try:  # asks the disk about links only: of all else the folder's entry knows
        return "folder" if entry.is_dir() else "file" if entry.is_file() else ""
    except OSError as error:
        if error.errno in (ELOOP, ENOTDIR):
            return ""
        raise ValueError(unreadable(entry.path, error)) from error


def unreadable(path: str, error: OSError) -> str:
    """One line for what the system refuses."""
    return f"data.root: {path} cannot be read ({error.strerror}); allow it, or move it elsewhere"


def followed(folder: str, entry: os.DirEntry, crossed: tuple[str, ...]) -> tuple[str, ...]:
    """The folders that hold the links on the way to here, and this one.

    Raises:
        ValueError: a link leads back to where one of them lies in.
    """
    crossed, target = (*crossed, os.path.realpath(folder)), os.path.realpath(entry.path)
    if any(Path(place).is_relative_to(target) for place in crossed):
        raise ValueError(f"data.root: the link {entry.path} leads back to {target}; remove it")
    return crossed


def folders_of_splits(
    root: Path, names: list[str], given: dict[str, str], notes: tuple[str, ...]
) -> Listing:
    """Folders train, val and test, or some of them; the classes are those of train."""
    stray = sorted({name.split("/")[0] for name in names} - set(given) - set(UNLABELLED))
    if stray:
        raise ValueError(
            f"data.root: {root} holds {', '.join(stray[:5])} beside {', '.join(sorted(given))}; "
            "keep either folders of splits or folders of classes"
        )
    splits = [given.get(name.split("/")[0], "") for name in names]
    folders = [
        [] if not split else name.split("/")[1:-1]
        for name, split in zip(names, splits, strict=True)
    ]
    return folders_of_classes(names, splits, folders, notes)


def folders_of_classes(
    names: list[str], splits: list[str], folders: list[list[str]], notes: tuple[str, ...]
) -> Listing:
    """The first folder of each picture is its class; those of the training split count."""
    classes = {
        path[0]
        for path, split in zip(folders, splits, strict=True)
        if path and split in ("", "train") and path[0].lower() not in UNLABELLED
    }
    number = {name: i for i, name in enumerate(sorted(classes))}
    below = {path[1] for path in folders if len(path) > 1}
    if len(classes) == 1 and len(below) > 1 and not any(splits):
        (only,) = classes
        raise ValueError(
            f"data.root: all pictures lie in one folder, {only}, whose folders may be the classes "
            f"({', '.join(sorted(below)[:3])}): give --data.root .../{only}"
        )
    labels = []
    for name, path, split in zip(names, folders, splits, strict=True):
        labelled = path and path[0].lower() not in UNLABELLED
        if labelled and path[0] not in number:
            raise ValueError(
                f"data.root: class {path[0]} is in {split} only ({name}); it needs training images"
            )
        labels.append(number[path[0]] if labelled else -1)
    return Listing(names, labels, tuple(sorted(classes)), splits, notes=notes)


def read_table(root: Path, table: Path) -> Listing:
    """The files, labels, splits and groups that a table names; see `rows_of`."""
    rows = rows_of(root, table)
    given = [labels_in(row) for row in rows]
    classes = tuple(sorted({name for names in given for name in names}))
    number = {name: i for i, name in enumerate(classes)}
    sets = [tuple(number[name] for name in names) for names in given]
    return Listing(
        names=[row["file"] for row in rows],
        labels=rarest(sets),
        classes=classes,
        splits=[SPLIT_OF.get(row.get("split", "").lower(), "") for row in rows],
        groups=[row["group"] for row in rows] if "group" in rows[0] else [],
        several=sets if "labels" in rows[0] else [],
    )


def rarest(sets: list[tuple[int, ...]]) -> list[int]:
    """The label of each picture that fewest pictures have: splits are drawn by it."""
    common = Counter(label for labels in sets for label in labels)
    return [min(labels, key=lambda x: (common[x], x)) if labels else -1 for labels in sets]
