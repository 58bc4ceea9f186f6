"""Data that outgrew its folder: WebDataset shards, our own or public ones."""

import re
from functools import cache
from pathlib import Path
from typing import Any

from vit.batch import DataSpec
from vit.data.file_images import FileImages
from vit.data.shards import Shards
from vit.data.splits import carve
from vit.data.to_shards import ABOUT, SPLITS, read_about


class ShardImages(FileImages):
    """Images out of tar shards, on a local or a network disk.

    Args:
        root: their folder.
        train: names below root: with * or with {0000..1023}.
        val: the same; null: carved from train, stratified, drawn once.
        test: the same.
        classes: file with a class name a line; null: those of dataset.json, else numbers.
        val_share: what is carved where there is no val.
        cache: folder for the index, which is built once; null: root/index.
        loading: sizes, crops, unreadable files, few labels: see FileImages.
    """

    def __init__(
        self,
        root: str,
        train: str = "train-*.tar",
        val: str | None = "val-*.tar",
        test: str = "test-*.tar",
        classes: str | None = None,
        val_share: float = 0.01,
        cache: str | None = None,
        **loading: Any,
    ) -> None:
        super().__init__(**loading)
        self.root, self.val_share = Path(root).resolve(), val_share
        self.patterns = (train, val, test)
        self.cache = Path(cache).resolve() if cache else self.root / "index"
        about = {}
        if (self.root / ABOUT).is_file():
            about = read_about(self.root)
            self.own = about["own"]
            complete(self.root, about.get("counts"), self.patterns, self.cache)
            if about["form"] != "as_is":
                what = "pixels" if about["form"] == "raw" else f"JPEG {about['quality']}"
                self.notes = (f"short side {about['short_side']}, {what}: not the original pixels",)
        counts = {split: len(places) for split, places in self.split_indices().items()}
        names = about.get("classes")
        if classes:
            names = Path(classes).read_text().splitlines()
        labels = self.files()[1]
        names = [str(i) for i in range(max(labels, default=-1) + 1)] if names is None else names
        if max(labels, default=-1) >= len(names):
            raise ValueError(f"data.classes: {len(names)} names, labels go to {max(labels)}")
        mean, std = (tuple(about.get(key, (0.5,) * 3)) for key in ("mean", "std"))
        size = (self.image_size,) * 2
        three = len(mean) == 3
        self.spec = DataSpec(
            tuple(names), size, 3, mean if three else mean * 3, std if three else std * 3,
            counts=counts,
        )  # fmt: skip

    def files(self) -> tuple[Shards, list[int]]:
        """All samples of all splits."""
        source, labels, _ = opened(self.root, self.patterns, self.cache)
        return source, labels

    def split_indices(self) -> dict[str, list[int]]:
        """Numbers into the shards, one split after the other."""
        _, labels, ends = opened(self.root, self.patterns, self.cache)
        train, val, test = list(range(ends[0])), list(range(*ends[:2])), list(range(*ends[1:]))
        if self.patterns[1] is None:
            train, val = carved(self.root, self.patterns, self.cache, self.val_share)
        return {"train": self.few(train, labels), "val": val, "test": test}


@cache
def opened(
    root: Path, patterns: tuple[str | None, ...], cache: Path
) -> tuple[Shards, list[int], tuple[int, ...]]:
    """The archives of all splits, their labels, and where each split ends."""
    found = [matching(root, pattern) if pattern else [] for pattern in patterns]
    source = Shards([path for paths in found for path in paths], cache)
    ends, archives = [], 0
    for paths in found:
        archives += len(paths)
        ends.append(int(source.ends[archives - 1]) if archives else 0)
    return source, source.labels.tolist(), tuple(ends)


@cache
def carved(
    root: Path, patterns: tuple[str | None, ...], cache: Path, share: float
) -> tuple[list[int], list[int]]:
    """Training and validation out of the training shards."""
    _, labels, ends = opened(root, patterns, cache)
    return carve(labels[: ends[0]], share)


def matching(root: Path, pattern: str) -> list[Path]:
    """The archives that a pattern names, sorted.

    Raises:
        FileNotFoundError: there is none, or one of a numbered row is missing.
    """
    row = re.fullmatch(r"(.*)\{(\d+)\.\.(\d+)\}(.*)", pattern)
    if row is None:
        found = sorted(root.glob(pattern))
    else:
        before, first, last, after = row.groups()
        numbers = range(int(first), int(last) + 1)
        found = [root / f"{before}{number:0{len(first)}d}{after}" for number in numbers]
    missing = [path for path in found if not path.is_file()]
    if missing or not found:
        raise FileNotFoundError(f"data: {missing[0] if missing else root / pattern} is not there")
    return found


def complete(
    root: Path, counts: dict[str, int] | None, patterns: tuple[str | None, ...], cache: Path
) -> None:
    """Our own shards say how many samples there are, and each sample of which split it is.

    Raises:
        ValueError: an archive is missing, foreign, or in the wrong place; or they are not finished.
    """
    if counts is None:
        raise ValueError(f"data: {root} is not finished; start prepare --to shards again")
    source, _, ends = opened(root, patterns, cache)
    for split, pattern, first, last in zip(SPLITS, patterns, (0, *ends), ends, strict=False):
        if pattern is None:
            continue
        if last - first != counts[split]:
            raise ValueError(
                f"data: {split} has {last - first:,} samples below {root}, {ABOUT} says "
                f"{counts[split]:,}; an archive is missing, or too many"
            )
        for number in (0, *source.ends[:-1].tolist()):
            name = source.name(number).split("/")[-1]
            if first <= number < last and not name.startswith(f"{split}-"):
                raise ValueError(f"data: {source.name(number)} is no sample of {split}")
