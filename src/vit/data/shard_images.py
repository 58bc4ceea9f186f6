"""Data that outgrew its folder: WebDataset shards, our own or public ones."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from vit.batch import DataSpec
from vit.data.file_images import FileImages
from vit.data.shard_description import ABOUT, SPLITS, read_about
from vit.data.shards import Shards
from vit.data.splits import carve

LOOK = "see data.root, data.train, data.val (null: none) and data.test"


class ShardImages(FileImages):
    """Images out of tar shards, on a local or a network disk.

    Args:
        root: their folder.
        train: names below root: with * or with {0000..1023}.
        val: the same; null: carved from train, stratified, drawn once.
        test: the same.
        classes: file with a class name a line; null: those of dataset.json, else numbers.
        val_fraction: what is carved where there is no val.
        cache: folder for the index, which is built once; null: root/index.
        loading: sizes, crops, unreadable files, few labels: see FileImages.
    """

    redraws = True

    def __init__(
        self,
        root: str,
        train: str = "train-*.tar",
        val: str | None = "val-*.tar",
        test: str = "test-*.tar",
        classes: str | None = None,
        val_fraction: float = 0.01,
        cache: str | None = None,
        **loading: Any,
    ) -> None:
        super().__init__(**loading)
        if not 0 < val_fraction < 1:
            raise ValueError(f"ShardImages: val_fraction must be in (0, 1), got {val_fraction}")
        self.redraws = val is None
        self.check_val_draw()
        self.root = Path(root).resolve()
        self.val_fraction = val_fraction
        self.patterns = (train, val, test)
        self.cache = Path(cache).resolve() if cache else self.root / "index"
        about = read_about(self.root) if (self.root / ABOUT).is_file() else {}
        if about:
            self.apply_exif_and_alpha = about["apply_exif_and_alpha"]
            check_complete(self.root, about.get("counts"), self.patterns, self.cache)
            if about["form"] != "as_is":
                what = "pixels" if about["form"] == "raw" else f"JPEG {about['quality']}"
                self.notes = (f"short side {about['short_side']}, {what}: not the original pixels",)
        counts = {split: len(places) for split, places in self.split_indices().items()}
        names, most = about.get("classes"), max(self.files()[1])
        if classes:
            names = read_class_names(Path(classes))
        names = [str(i) for i in range(most + 1)] if names is None else names
        if most >= len(names):
            raise ValueError(
                f"data.classes: {len(names)} names in {classes or self.root / ABOUT}, labels of "
                f"{self.root} go to {most}; give a name for each"
            )
        mean, std = (about.get(key, [0.5]) for key in ("mean", "std"))
        self.spec = DataSpec(
            classes=tuple(names),
            image_size=(self.image_size,) * 2,
            channels=3,
            mean=tuple(mean * (3 // len(mean))),
            std=tuple(std * (3 // len(std))),
            counts=counts,
        )

    def files(self) -> tuple[Shards, list[int]]:
        """All samples of all splits."""
        source, labels, _ = open_archives(self.root, self.patterns, self.cache)
        return source, labels

    def split_indices(self) -> dict[str, list[int]]:
        """Numbers into the shards, one split after the other."""
        _, labels, ends = open_archives(self.root, self.patterns, self.cache)
        train, val, test = list(range(ends[0])), list(range(*ends[:2])), list(range(*ends[1:]))
        if self.patterns[1] is None:
            draw = self.val_fraction, self.val_draw
            train, val = carved(self.root, self.patterns, self.cache, *draw)
        return {"train": self.few(train, labels), "val": val, "test": test}


@cache
def open_archives(
    root: Path, patterns: tuple[str | None, ...], cache: Path
) -> tuple[Shards, list[int], tuple[int, ...]]:
    """The archives of all splits, their labels, and where each split ends.

    Raises:
        ValueError: a split is empty, or has an archive of the training split.
    """
    archives = [[] if pattern is None else matching(root, pattern) for pattern in patterns]
    both = sorted({*archives[0]} & {*archives[1], *archives[2]})
    if both:
        raise ValueError(
            f"data: {both[0]} is trained on and evaluated on; name it by data.train, or by "
            "data.val or data.test"
        )
    source = Shards([path for paths in archives for path in paths], cache)
    ends, count = [], 0
    for split, pattern, paths in zip(SPLITS, patterns, archives, strict=True):
        count, begin = count + len(paths), sum(ends[-1:])
        ends.append(int(source.ends[count - 1]))
        if pattern is not None and ends[-1] == begin:
            raise ValueError(f"data.{split}: no sample in {root / pattern}; {LOOK}")
    return source, source.labels.tolist(), tuple(ends)


@cache
def carved(
    root: Path, patterns: tuple[str | None, ...], cache: Path, fraction: float, draw: int
) -> tuple[list[int], list[int]]:
    """Training and validation out of the training shards."""
    _, labels, ends = open_archives(root, patterns, cache)
    label, least = Counter(labels[: ends[0]]).most_common()[-1]
    if least < 2:
        raise ValueError(
            f"data.val: class {label} has one sample in {root / patterns[0]}, which cannot be both "
            "trained and validated on; name archives for validation"
        )
    return carve(labels[: ends[0]], fraction, draw)


def matching(root: Path, pattern: str) -> list[Path]:
    """The archives that a pattern names, sorted.

    Raises:
        FileNotFoundError: there is none, or one of a numbered row is missing.
        ValueError: the pattern is none.
    """
    row = re.fullmatch(r"(.*)\{(\d+)\.\.(\d+)\}(.*)", pattern)
    archives = []
    for path in numbered_archives(root, *row.groups()) if row else globbed(root, pattern):
        if not path.is_file():  # the first one that is missing ends a row, however long
            raise FileNotFoundError(f"data: {path} is not there, or no file; {LOOK}")
        archives.append(path)
    if not archives:
        raise FileNotFoundError(f"data: {root / pattern} is not there; {LOOK}")
    return archives


def numbered_archives(root: Path, before: str, first: str, last: str, after: str) -> Iterator[Path]:
    """The archives of a numbered row, with as many digits as the first."""
    for number in range(int(first), int(last) + 1):
        yield root / f"{before}{number:0{len(first)}d}{after}"


def globbed(root: Path, pattern: str) -> list[Path]:
    """The archives that a name with or without * stands for."""
    try:
        return sorted(root.glob(pattern))
    except (ValueError, NotImplementedError, IndexError) as error:
        raise ValueError(
            f"data: {pattern!r} names nothing below {root} ({error}); {LOOK}"
        ) from error


def read_class_names(file: Path) -> list[str]:
    """The names of classes in a text file, one a line."""
    try:
        return file.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"data.classes: {file} is not UTF-8; save it as UTF-8") from error
    except OSError as error:
        raise FileNotFoundError(
            f"data.classes: {file} cannot be read ({error.strerror}); give a file with a class "
            "name a line"
        ) from error


def check_complete(
    root: Path, counts: dict[str, int] | None, patterns: tuple[str | None, ...], cache: Path
) -> None:
    """Our own shards say how many samples there are, and each sample of which split it is.

    Raises:
        ValueError: an archive is missing, foreign, or in the wrong place; or they are not finished.
    """
    if counts is None:
        raise ValueError(f"data: {root} is not finished; start prepare --to shards again")
    source, _, ends = open_archives(root, patterns, cache)
    for split, pattern, first, last in zip(SPLITS, patterns, (0, *ends), ends, strict=False):
        if pattern is None:
            continue
        if last - first != counts[split]:
            raise ValueError(
                f"data: {split} has {last - first:,} samples below {root}, {ABOUT} says "
                f"{counts[split]:,}; an archive is missing, or too many"
            )
        for number in (0, *source.ends[:-1].tolist()):
            if not first <= number < last:
                continue
            if not source.name(number).split("/")[-1].startswith(f"{split}-"):
                raise ValueError(
                    f"data: {root}: {source.name(number)} is no sample of {split}; put each "
                    "archive back in its place"
                )
