"""The user's own pictures: classes as folders, a table, or a heap without labels.

Splits are the person's where there are any; else stratified folds, drawn once (seed 0): the same
for every run and every arm. A group never straddles splits.
"""

import warnings
from collections import Counter
from functools import cache
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from vit.batch import DataSpec
from vit.data.base import Split
from vit.data.file_images import FileImages
from vit.data.files import Files, Folder
from vit.data.listing import Listing, rarest, survey


class ImageFolder(FileImages):
    """A folder of pictures.

    Args:
        root: the folder: one folder per class; or train, val, test with one folder a class in each;
            or any pictures and a table; or pictures without classes.
        labels: CSV file with columns file (below root) and label (or labels, with semicolons
            between: several an image), optionally split (train, val, test) and group (what
            must not be torn apart); null: root/labels.csv if there.
        classes: use only these classes, by name; null: all.
        keep_splits: false: folders of splits and the table's column count for nothing.
        folds: where nobody said what is tested, it is one of so many equal parts.
        fold: which one, from 0.
        val_fraction: of what is not tested, becomes validation where nobody said what.
        unlabelled: also train on pictures without a label; for objectives that need none.
        loading: sizes, crops, what to do with unreadable files, few labels: see FileImages.
    """

    apply_exif_and_alpha = True
    redraws = True

    def __init__(
        self,
        root: str = "data/my_pictures",
        labels: str | None = None,
        classes: list[str] | None = None,
        keep_splits: bool = True,
        folds: int = 5,
        fold: int = 0,
        val_fraction: float = 0.1,
        unlabelled: bool = False,
        **loading: Any,
    ) -> None:
        super().__init__(**loading)
        if folds < 2 or not 0 <= fold < folds:
            raise ValueError(
                f"ImageFolder: folds must be at least 2 and fold from 0 to folds - 1, got {folds} "
                f"and {fold}"
            )
        if not 0 < val_fraction <= 0.5:
            raise ValueError(f"ImageFolder: val_fraction must be in (0, 0.5], got {val_fraction}")
        self.root = Path(root).resolve()
        self.table = Path(labels).resolve() if labels else None
        self.parts = (keep_splits, folds, fold, val_fraction)
        self.unlabelled = unlabelled
        self.chosen = tuple(classes) if classes is not None else None
        listing = chosen_listing(self.root, self.table, self.chosen)
        self.redraws = not (keep_splits and {"val", "test"} <= set(listing.splits))
        self.check_val_draw()
        self.notes = (*listing.notes, *imbalance(listing), *self.unused(listing))
        if listing.several and self.labels_per_class is not None:
            raise ValueError("ImageFolder: labels_per_class needs one label an image")
        counts = {split: len(places) for split, places in self.split_indices().items()}
        self.spec = DataSpec(
            classes=listing.classes,
            image_size=(self.image_size,) * 2,
            channels=3,
            mean=(0.5,) * 3,
            std=(0.5,) * 3,
            multi_label=bool(listing.several),
            counts=counts,
        )

    def unused(self, listing: Listing) -> list[str]:
        """Pictures and classes that somebody may miss."""
        places, labels = self.split_indices(), listing.sets
        left = sum(not held for held in labels) if listing.classes else 0
        left -= sum(not labels[i] for members in places.values() for i in members)
        lines = []
        if left > 0:
            lines.append(
                f"{left} pictures without a label are not used (data.unlabelled: true trains "
                "self-supervised objectives on them; those that need few labels see them anyway)"
            )
        for split in ("val", "test"):
            present = {x for i in places[split] for x in labels[i]}
            absent = [name for i, name in enumerate(listing.classes) if i not in present]
            if absent and present:
                lines.append(f"no {split} picture of: {', '.join(absent[:10])}")
        return lines

    def files(self) -> tuple[Folder, list[int]]:
        """Every file of the folder that belongs to a chosen class, and those without."""
        return open_folder(self.root, self.table, self.chosen)

    def open(self, split: Split) -> Files:
        """The samples of a split, with all labels where there are several."""
        dataset = super().open(split)
        several = chosen_listing(self.root, self.table, self.chosen).several
        if several:
            dataset.accepted = torch.zeros(len(dataset), len(self.spec.classes), dtype=torch.bool)
            for row, place in enumerate(dataset.places.tolist()):
                dataset.accepted[row, list(several[place])] = True
        return dataset

    def split_hash(self, split: Split) -> str:
        """Twelve hexadecimal digits that change with the split's files, labels or their order."""
        several = chosen_listing(self.root, self.table, self.chosen).several
        if not several:
            return super().split_hash(split)
        kept = [several[place] for place in self.split_indices()[split]]
        return sha256(f"{super().split_hash(split)} {kept}".encode()).hexdigest()[:12]

    def split_indices(self) -> dict[str, list[int]]:
        """Numbers into the listing."""
        places = draw_splits(self.root, self.table, self.chosen, *self.parts, self.val_draw)
        labels = chosen_listing(self.root, self.table, self.chosen).labels
        labelled = [i for i in places["train"] if labels[i] >= 0]
        if not labelled:
            return places  # a heap without labels
        train = self.few(labelled, labels)
        rest = [i for i in places["train"] if labels[i] < 0] if self.unlabelled else []
        return places | {"train": train + rest}

    def groups(self, split: Split) -> list[str] | None:
        """The group of each picture, by the table; one without a group is a group by itself."""
        groups = chosen_listing(self.root, self.table, self.chosen).groups
        places = self.split_indices()[split]
        return [groups[i] or f"alone {i}" for i in places] if groups else None


@cache
def chosen_listing(root: Path, table: Path | None, classes: tuple[str, ...] | None) -> Listing:
    """The listing, without classes that are not chosen."""
    listing = survey(root, table)
    if classes is None:
        return listing
    unknown = sorted(set(classes) - set(listing.classes))
    if unknown:
        raise ValueError(
            f"data.classes: no class {unknown[0]!r} below {root}; "
            f"known: {', '.join(listing.classes[:10])}"
        )
    kept = [i for i, name in enumerate(listing.classes) if name in set(classes)]
    new = {old: i for i, old in enumerate(kept)}
    sets = [tuple(new[x] for x in labels if x in new) for labels in listing.sets]
    places = [i for i, labels in enumerate(listing.sets) if sets[i] or not labels]
    sets = [sets[i] for i in places]
    return Listing(
        names=[listing.names[i] for i in places],
        labels=rarest(sets),
        classes=tuple(listing.classes[i] for i in kept),
        splits=[listing.splits[i] for i in places],
        groups=[listing.groups[i] for i in places] if listing.groups else [],
        notes=listing.notes,
        several=sets if listing.several else [],
    )


@cache
def open_folder(
    root: Path, table: Path | None, classes: tuple[str, ...] | None
) -> tuple[Folder, list[int]]:
    """The chosen files, ready to be read, and their labels."""
    listing = chosen_listing(root, table, classes)
    return Folder(root, listing.names), listing.labels


@cache
def draw_splits(
    root: Path,
    table: Path | None,
    classes: tuple[str, ...] | None,
    keep: bool,
    folds: int,
    fold: int,
    val_fraction: float,
    val_draw: int = 0,
) -> dict[str, list[int]]:
    """What is trained on, chosen on, tested on: numbers into the listing.

    Where a person gave train and val but no test, val is what is tested, and validation is carved
    from train: nothing is chosen on what is reported.

    Raises:
        ValueError: a class has no training image, or a group straddles the person's own splits.
    """
    listing = chosen_listing(root, table, classes)
    given = listing.splits if keep else [""] * len(listing.splits)
    splits = {s: [i for i, x in enumerate(given) if x == s] for s in ("train", "val", "test")}
    free = [i for i, split in enumerate(given) if not split]
    if splits["val"] and not splits["test"]:
        splits["test"], splits["val"] = splits["val"], []
    check_groups(root, listing, splits)
    train, val, test = splits["train"] + free, splits["val"], splits["test"]
    # without a class there is nothing to be tested on, unless nothing has one
    labelled = [i for i in train if listing.labels[i] >= 0] or train
    if not test:
        test = draw_fold(root, listing, labelled, folds, fold)
        labelled = sorted(set(labelled) - set(test))
    if not val:
        most = max(Counter(listing.labels[i] for i in labelled).values(), default=0)
        # at most so many parts as the largest class has pictures
        count = max(round(min(1 / val_fraction, most)), 2)
        order, part = divmod(val_draw, count)  # all parts of one order, then those of the next
        val = draw_fold(root, listing, labelled, count, part, order)
    held_out = {listing.groups[i] for i in test + val if listing.groups} - {""}
    train = [
        i
        for i in sorted(set(train) - set(test) - set(val))
        # of an animal that is evaluated, its unlabelled pictures are not learned from either
        if listing.labels[i] >= 0 or not held_out or listing.groups[i] not in held_out
    ]
    check_groups(root, listing, {"train": train, "val": val, "test": test})
    missing = set(range(len(listing.classes))) - {x for i in train for x in listing.sets[i]}
    if missing:
        name = listing.classes[min(missing)]
        raise ValueError(
            f"data.root: class {name} has no training image left; add some below {root}"
        )
    return {"train": train, "val": sorted(val), "test": sorted(test)}


def draw_fold(
    root: Path, listing: Listing, places: list[int], folds: int, fold: int, order: int = 0
) -> list[int]:
    """One of so many equal parts, in one of many orders: classes as evenly as groups allow.

    Raises:
        ValueError: there are too few pictures, or groups of them.
    """
    from sklearn.model_selection import (  # slow to load
        GroupKFold,
        KFold,
        StratifiedGroupKFold,
        StratifiedKFold,
    )

    labels = [listing.labels[i] for i in places]
    groups = [listing.groups[i] or f"alone {i}" for i in places] if listing.groups else None
    units, what = (set(groups), "groups") if groups else (set(places), "pictures")
    if len(units) < folds:
        raise ValueError(
            f"data.root: {len(units)} {what} of {root} do not make {folds} parts; add some, say "
            "what is tested and validated (folders, a column split), or take fewer data.folds"
        )
    most = max(Counter(labels).values(), default=0)
    even = listing.classes and most >= folds  # else no class can be in every part
    if groups:
        kind = StratifiedGroupKFold if even else GroupKFold
    else:
        kind = StratifiedKFold if even else KFold
    splitter = kind(folds, shuffle=True, random_state=order)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes smaller than the folds: `imbalance` notes them
        _, members = next(islice(splitter.split(places, labels, groups), fold, None))
    return [places[i] for i in members]


def check_groups(root: Path, listing: Listing, splits: dict[str, list[int]]) -> None:
    """Refuse a group whose pictures a person put into several splits."""
    where: dict[str, str] = {}
    for split, places in splits.items():
        for place in places if listing.groups else ():
            group = listing.groups[place]
            if group and where.setdefault(group, split) != split:
                raise ValueError(
                    f"data.root: group {group} of {root} is in {where[group]} and in {split}; give "
                    "all its pictures the same split, or none"
                )


def imbalance(listing: Listing) -> list[str]:
    """Notes on what accuracy would hide: no classes, or classes that differ in size."""
    counts = Counter(label for labels in listing.sets for label in labels)
    if not counts:
        return ["no classes: for self-supervised objectives only"]
    (most, many), (least, few) = counts.most_common()[0], counts.most_common()[-1]
    if many < 3 * few:
        return []
    note = f"classes differ in size: {listing.classes[most]} {many}, {listing.classes[least]} {few}"
    if listing.several:
        return [note]
    fraction = 100 * many / counts.total()
    return [f"{note}; always saying {listing.classes[most]} scores {fraction:.0f} %"]
