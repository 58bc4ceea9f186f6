"""Do pre-training and test share images? Exact copies by hash, near ones by small pictures.

N and M images.
"""

import hashlib
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vit.data.base import Images, Split
from vit.data.file_images import FileImages
from vit.data.sampling import BatchIndices

SIDE = 8  # of the small picture, in pixels
NEAR = 0.99  # correlation of two small pictures that look alike; ours, said in the report
ROWS = 256
MOST = 100_000  # images that are looked at; beyond it files are told apart by their names alone


class Prints(NamedTuple):
    """What is compared.

    Args:
        hashes: of each image's pixels.
        small: N 64, standardised grey pictures.
    """

    hashes: list[str]
    small: Tensor


class Overlap(NamedTuple):
    """How many test images were seen before.

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


def prints(data: Images, split: Split, by_name: bool = False) -> Prints:
    """Of a whole split, unaugmented."""
    dataset = data.open(split)
    if by_name:
        names = [dataset.source.name(place) for place in dataset.places.tolist()]
        return Prints(names, torch.zeros(0, SIDE**2))
    hashes, small = [], []
    for start in range(0, len(dataset), ROWS):
        numbers = list(range(start, min(start + ROWS, len(dataset))))
        images = dataset[BatchIndices(None, numbers)].images
        hashes += [hashlib.sha1(image.numpy().tobytes()).hexdigest() for image in images]
        grey = images.float().mean(1, keepdim=True)
        small.append(F.adaptive_avg_pool2d(grey, SIDE).flatten(1))
    rows = torch.cat(small)
    rows = rows - rows.mean(1, keepdim=True)
    return Prints(hashes, F.normalize(rows, dim=1))


def overlap(seen: Images, tested: Images) -> Overlap:
    """Of a pre-training's training split with a task's test split."""
    by_name = named_only(seen, tested)
    before, after = prints(seen, "train", by_name), prints(tested, "test", by_name)
    known = set(before.hashes)
    same = torch.tensor([h in known for h in after.hashes])
    if by_name:
        return Overlap(int(same.sum()), None, len(after.hashes), shared(seen, tested))
    nearest = torch.cat([(rows @ before.small.T).amax(1) for rows in after.small.split(ROWS)])
    near = int(((nearest > NEAR) & ~same).sum())
    return Overlap(int(same.sum()), near, len(after.hashes), shared(seen, tested))


def shared(seen: Images, tested: Images) -> tuple[str, ...]:
    """Names of classes that both carry."""
    known = set(seen.spec.classes)
    return tuple(name for name in tested.spec.classes if name in known)


def named_only(*sets: Images) -> bool:
    """Are these files, and too many to read before each study?"""
    files = all(isinstance(data, FileImages) for data in sets)
    return files and any(sum(data.spec.counts.values()) > MOST for data in sets)


def labels_shared(seen: Images, task: Images) -> str:
    """Why a labelled pre-training would know the task's labels; empty where it does not."""
    by_name = named_only(seen, task)
    known = set(prints(seen, "train", by_name).hashes)
    whole = type(task).__new__(type(task))
    whole.__dict__ = task.__dict__ | {"labels_per_class": None}
    for split in ("train", "val", "test"):
        count = sum(h in known for h in prints(whole, split, by_name).hashes)
        if count:
            return f"{count} images of the task's {split} split are in it"
    if set(task.spec.classes) <= set(seen.spec.classes):
        return "it has all the task's classes"
    return ""
