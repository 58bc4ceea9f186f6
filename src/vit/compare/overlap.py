"""Do pre-training and test share images? Exact copies by hash, near ones by small pictures.

N and M images.
"""

import copy
import hashlib
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vit.data.base import Images, Split
from vit.data.file_images import FileImages
from vit.data.sampling import BatchIndices

SIDE = 8  # of the small picture, in pixels
NEAR = 0.99  # correlation of two small pictures that look alike; ours, and the report says so
ROWS = 256
MOST = 100_000  # images that are looked at; above it files go by their names alone


class Fingerprints(NamedTuple):
    """What images are known by.

    Args:
        hashes: of each image's pixels.
        small: N 64, standardised grey pictures.
    """

    hashes: list[str]
    small: Tensor


class Overlap(NamedTuple):
    """How many test images a pre-training saw.

    Args:
        same: whose pixels are equal to those of a pre-training image.
        near: others that correlate above NEAR with one; None where only names were compared.
        tested: test images.
        classes: names that both sets carry.
    """

    same: int
    near: int | None
    tested: int
    classes: tuple[str, ...]


def fingerprints(data: Images, split: Split, by_name: bool = False) -> Fingerprints:
    """The fingerprints of a whole split, unaugmented."""
    dataset = data.open(split)
    if by_name:
        names = [dataset.source.name(index) for index in dataset.places.tolist()]
        return Fingerprints(names, torch.zeros(0, SIDE**2))
    hashes, small = [], []
    for start in range(0, len(dataset), ROWS):
        numbers = list(range(start, min(start + ROWS, len(dataset))))
        images = dataset[BatchIndices(None, numbers)].images
        hashes += [hashlib.sha1(image.numpy().tobytes()).hexdigest() for image in images]
        grey = images.float().mean(1, keepdim=True)
        small.append(F.adaptive_avg_pool2d(grey, SIDE).flatten(1))
    rows = torch.cat(small)
    rows = rows - rows.mean(1, keepdim=True)
    return Fingerprints(hashes, F.normalize(rows, dim=1))


def overlap(seen: Images, tested: Images) -> Overlap:
    """The images of a task's test split that a pre-training's training split holds too."""
    by_name = named_only(seen, tested)
    before, after = fingerprints(seen, "train", by_name), fingerprints(tested, "test", by_name)
    hashes = set(before.hashes)
    same = torch.tensor([h in hashes for h in after.hashes])
    if by_name:
        return Overlap(int(same.sum()), None, len(after.hashes), classes_in_both(seen, tested))
    nearest = torch.cat([(rows @ before.small.T).amax(1) for rows in after.small.split(ROWS)])
    near = int(((nearest > NEAR) & ~same).sum())
    return Overlap(int(same.sum()), near, len(after.hashes), classes_in_both(seen, tested))


def classes_in_both(seen: Images, tested: Images) -> tuple[str, ...]:
    """The names of classes that both sets carry."""
    names = set(seen.spec.classes)
    return tuple(name for name in tested.spec.classes if name in names)


def named_only(*sets: Images) -> bool:
    """Are these files, and too many to read before each study?"""
    files = all(isinstance(data, FileImages) for data in sets)
    return files and any(sum(data.spec.counts.values()) > MOST for data in sets)


def labels_shared(seen: Images, task: Images) -> str:
    """Why a labelled pre-training would know the task's labels; empty: it does not."""
    by_name, whole = named_only(seen, task), with_all_labels(task)
    hashes = set(fingerprints(seen, "train", by_name).hashes)
    for split in ("train", "val", "test"):
        count = sum(h in hashes for h in fingerprints(whole, split, by_name).hashes)
        if count:
            return f"{count} images of the task's {split} split are in it"
    if set(task.spec.classes) <= set(seen.spec.classes):
        return "it has all the task's classes"
    return ""


def with_all_labels(task: Images) -> Images:
    """The same data, its training split whole: other draws learn from the rest of it."""
    whole = copy.copy(task)
    whole.labels_per_class = None
    return whole
