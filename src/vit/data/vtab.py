"""VTAB-1k: 19 tasks of 1,000 training images each."""

import json
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from vit.batch import DataSpec
from vit.data.base import Split
from vit.data.file_images import FileImages
from vit.data.files import Folder, below
from vit.data.splits import hold_out
from vit.data.transforms import Augmentation
from vit.published.raw import reading
from vit.published.tasks import ORIGIN, TASKS, task_called

RAW = "published files"
BIT = 384 / 448  # arXiv:1912.11370, section 3.3


class VTAB(FileImages):
    """One task out of its prepared folder.

    Args:
        task: by any name in use: cifar, cifar_100, clevr_count, ...
        root: folder of the tasks' folders: those that `python train.py prepare` writes, or a copy
            of the one in use elsewhere, whose images were re-encoded (its figures say so).
        train: train800 while something is chosen on the 200 validation images, train800val200
            for the one final run; validation is then part of the training.
        protocol: plain: images squeezed, nothing else, as VTAB's own code; bit: a random part and
            mirroring where the task allows them, as BiT and the ViT paper (there at 384 px).
        loading: sizes, crops, unreadable files, few labels: see FileImages.
    """

    redraws = True  # val_draw 0: the published 200; else as many others of the 1,000

    def __init__(
        self,
        task: str,
        root: str = "data/vtab-1k",
        train: Literal["train800", "train800val200"] = "train800",
        protocol: Literal["plain", "bit"] = "plain",
        **loading: Any,
    ) -> None:
        about = TASKS[task_called(task)]
        if protocol == "bit":
            if loading.get("augmentation") is not None:
                raise ValueError(
                    "VTAB: protocol bit says what is augmented; leave augmentation out"
                )
            crop_ratio = BIT if about.may_crop else None
            loading["augmentation"] = Augmentation(flip=about.may_flip, crop_ratio=crop_ratio)
        super().__init__(**loading)
        self.task, self.train = task_called(task), train
        self.root = Path(root).resolve()
        counts = {"train": 800 if train == "train800" else 1000}
        self.origin = origin(self.root / self.task)
        self.notes = () if self.origin == RAW else (f"{self.task}: {self.origin}",)
        if train != "train800":
            self.notes += ("validation is trained on: choose nothing by it",)
        few = self.labels_per_class
        self.spec = DataSpec(
            classes=tuple(map(str, range(about.classes))),
            image_size=(self.image_size,) * 2,
            channels=3,
            mean=(0.5,) * 3,
            std=(0.5,) * 3,
            counts=counts | {"val": 200, "test": about.tested},
        )
        if few or (self.root / self.task).is_dir():
            counts = {split: len(places) for split, places in self.split_indices().items()}
            self.spec.counts.update(counts)

    def files(self) -> tuple[Folder, list[int]]:
        """Training and validation images, then those of the test."""
        source, labels, _ = read_lists(self.root / self.task)
        return source, labels

    def split_indices(self) -> dict[str, list[int]]:
        """Numbers into train800, val200 and test, one after the other."""
        _, labels, ends = read_lists(self.root / self.task)
        train, val, test = range(ends[0]), range(*ends[:2]), range(*ends[1:])
        if self.val_draw:
            train, val = hold_out(tuple(labels[: ends[1]]), len(val), self.val_draw)
        whole = train if self.train == "train800" else range(ends[1])
        return {"train": self.few(list(whole), labels), "val": list(val), "test": list(test)}

    def split_hash(self, split: Split) -> str:
        """Re-encoded images are not the published ones, though they are called the same."""
        digest = super().split_hash(split)
        if self.origin == RAW:
            return digest
        return sha256(f"{digest} {self.origin}".encode()).hexdigest()[:12]


@cache
def read_lists(folder: Path) -> tuple[Folder, list[int], tuple[int, int, int]]:
    """Images of a prepared folder, their labels, and where each part ends.

    Raises:
        FileNotFoundError: it is not prepared.
        ValueError: a list is not what the task's lists are.
    """
    names, labels, ends, task = [], [], [], TASKS[folder.name]
    for part, count in (("train800", 800), ("val200", 200), ("test", task.tested)):
        path = folder / f"{part}.txt"
        if not path.is_file():
            raise FileNotFoundError(
                f"VTAB: {path} is not there; python train.py prepare --vtab {folder.name} makes it"
            )
        rows = rows_in(path)
        part_labels = [label for _, label in rows]
        other = folder.name == "caltech101" and part == "test"  # copies differ: 6,084 or 6,085
        if (len(rows) != count and not other) or not set(part_labels) <= set(range(task.classes)):
            raise ValueError(
                f"VTAB: {path} needs {count:,} lines with labels below {task.classes}, has "
                f"{len(rows):,} with labels to {max(part_labels, default=0)}; get it again"
            )
        names += [name for name, _ in rows]
        labels += part_labels
        ends.append(len(labels))
    return Folder(folder, names), labels, tuple(ends)


def rows_in(path: Path) -> list[tuple[str, int]]:
    """Name and label of each line of a list.

    Raises:
        ValueError: a line is none, or leads out of the task's folder.
    """
    rows = []
    try:
        lines = path.read_text("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"VTAB: {path} is not UTF-8 ({error.reason}); get it again") from error
    for number, line in enumerate(lines, 1):
        name, _, label = line.rpartition(" ")
        where = f"VTAB: {path}, line {number}"
        if line and not (name and label.isascii() and label.isdigit() and len(label) < 10):
            raise ValueError(f"{where}: {line[:60]!r} is no name and number; get it again")
        if line:
            rows.append((below(name, where), int(label)))
    return rows


def origin(folder: Path) -> str:
    """How the folder came to be: made here from the published files, or prepared elsewhere."""
    file = folder / ORIGIN
    if file.is_file():
        with reading(file):
            if dict(json.loads(file.read_text())).get("task") == folder.name:
                return RAW
    return "prepared elsewhere, images re-encoded" if folder.is_dir() else RAW
