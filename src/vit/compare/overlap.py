"""Which images two splits share: exact copies by hash, near ones by how they look.

N and M images.
"""

import copy
import hashlib
from collections.abc import Collection, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from vit.compare.near_duplicates import Looks, looks_of, which_look_alike
from vit.data.base import Images, Split
from vit.data.file_images import FileImages

MOST = 100_000  # images that are looked at; above it files go by their names alone
CHANCE = 0.01  # of a split's images may look like another's by chance: see near_duplicates.py


class Known(NamedTuple):
    """What the images of a split are known by.

    Args:
        key: equal for equal splits.
        hashes: N, of each image's pixels, or its name.
        looks: of each image; None where only names are compared.
    """

    key: tuple
    hashes: list[str]
    looks: Looks | None


class Overlap(NamedTuple):
    """How many test images a pre-training saw.

    Args:
        same: whose pixels are equal to those of a pre-training image; None: its images are not
            here.
        near: others that look like one; None where only names or hashes were compared.
        tested: test images.
        classes: names that both sets carry.
    """

    same: int | None
    near: int | None
    tested: int
    classes: tuple[str, ...]


KNOWN: dict[tuple, Known] = {}  # each split is read once in a study
ALIKE: dict[tuple, Tensor] = {}


def known(data: Images, split: Split, by_name: bool = False, most: int | None = None) -> Known:
    """What a split is known by, unaugmented.

    Args:
        data: its images.
        split: which of them.
        by_name: read no file.
        most: look at so many images, evenly spread; None: at all.
    """
    if by_name:
        return Known((), data.names(split) or [], None)
    about = split, data.split_hash(split), data.content(split)
    key = (type(data), *about, data.image_size, most)
    if key not in KNOWN:
        KNOWN[key] = Known(key, *read(data, split, most))
    return KNOWN[key]


def read(data: Images, split: Split, most: int | None) -> tuple[list[str], Looks]:
    """Hashes and looks of images; one that cannot be read is none."""
    hashes, parts = [], []
    for batch in data.evaluation_loader(split, most=most):
        images = batch.images[batch.valid]
        hashes += [hashlib.sha1(image.numpy().tobytes()).hexdigest() for image in images]
        parts.append(looks_of(images))
    return hashes, Looks(*map(torch.cat, zip(*parts, strict=True)))


def shared_images(before: Known, after: Known) -> tuple[Tensor, Tensor]:
    """Which of M images are copies of one of N, and which others look like one; bool."""
    hashes = set(before.hashes)
    same = torch.tensor([h in hashes for h in after.hashes], dtype=torch.bool)
    if before.looks is None or after.looks is None:
        return same, torch.zeros_like(same)
    key = (before.key, after.key)
    if key not in ALIKE:
        ALIKE[key] = which_look_alike(before.looks, after.looks)
    return same, ALIKE[key] & ~same


def overlap(seen: Images, tested: Images) -> Overlap:
    """The images of a task's test split that a pre-training's training split holds too."""
    by_name = named_only(seen, tested)
    same, near = shared_images(known(seen, "train", by_name), known(tested, "test", by_name))
    classes = classes_in_both(seen.spec.classes, tested.spec.classes)
    return Overlap(int(same.sum()), None if by_name else int(near.sum()), len(same), classes)


def classes_in_both(seen: Iterable[str], tested: Iterable[str]) -> tuple[str, ...]:
    """The tested classes that both sets carry, whatever the case and what joins their words."""
    names = {plain_name(name) for name in seen}
    return tuple(name for name in tested if plain_name(name) in names)


def plain_name(name: str) -> str:
    """A class name without case, spaces, underscores and hyphens."""
    return "".join(letter for letter in name.casefold() if letter not in " _-")


def named_only(*sets: Images) -> bool:
    """Are these files, and too many to read before each study?"""
    files = all(isinstance(data, FileImages) for data in sets)
    return files and any(sum(data.spec.counts.values()) > MOST for data in sets)


def labels_shared(seen: Images, task: Images, declared: Collection[str] = ()) -> str:
    """Why a labelled pre-training would know the task's labels; empty: it does not.

    Args:
        seen: what it learns from.
        task: of which no split may be in it, whole.
        declared: names of classes that mean other things in the two sets.
    """
    by_name, whole = named_only(seen, task), with_all_labels(task)
    before = known(seen, "train", by_name)
    for split in ("train", "val", "test"):
        same, near = shared_images(before, known(whole, split, by_name))
        if same.any():
            return f"{int(same.sum())} images of the task's {split} split are in it"
        if near.sum() > CHANCE * len(near):
            return (
                f"{int(near.sum())} of {len(near)} images of the task's {split} split look like "
                "images in it (re-encoded, moved, mirrored or resized)"
            )
    return same_classes(seen.spec.classes, task.spec.classes, declared)


def same_classes(seen: Iterable[str], task: Iterable[str], declared: Collection[str]) -> str:
    """Why class names tell that labels were known; empty: none is in both."""
    allowed = {plain_name(name) for name in declared}
    names = [name for name in classes_in_both(seen, task) if plain_name(name) not in allowed]
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (
        f"it has the task's classes {', '.join(names[:3])}{more} (where a name means other things "
        "in the two sets, shared_classes says so)"
    )


def with_all_labels(task: Images) -> Images:
    """The same data, its training split whole: other draws learn from the rest of it."""
    whole = copy.copy(task)
    whole.labels_per_class, whole._contents = None, {}
    return whole
