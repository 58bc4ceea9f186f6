"""Digests of splits and of their images; and other data's labels, counted as a head counts them.

B batch, L classes, N images.
"""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b, sha256
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vit.batch import Batch
from vit.data.files import Files
from vit.data.in_memory import InMemory

LOOKED_AT = 1024  # pictures of a split whose bytes count, evenly spread: two swapped folders show


def image_hashes(dataset: Dataset, every: int = 1) -> Tensor:
    """64-bit hashes of a split's images, N: equal for equal ones, whichever data set they are in.

    In memory pixels are hashed, as the source has them; of a file its size and first 4 KB. An
    image in memory never equals one in a file; one that cannot be read has no hash.

    Args:
        dataset: a whole split.
        every: hash one image in so many.
    """
    numbers = []
    for place in range(0, len(dataset), every):
        if content := start_of_image(dataset, place):
            digest = blake2b(content, digest_size=8).digest()
            numbers.append(int.from_bytes(digest, "little", signed=True))
    return torch.tensor(numbers, dtype=torch.int64)


def picture_keys(dataset: Dataset) -> list[str]:
    """What each image of a split is known by, whatever split it is in: a digest of all of it.

    In memory pixels are hashed, as the source has them; of a file every byte. A file that cannot
    be opened goes by its place.
    """
    return [
        blake2b(content, digest_size=16).hexdigest() if content else f"unread {place}"
        for place, content in enumerate(whole_images(dataset))
    ]


def whole_images(dataset: Dataset) -> Iterator[bytes]:
    """The pixels of each image in memory; of a file all of it; empty: it cannot be read."""
    if isinstance(dataset, InMemory):
        for image in dataset.images:
            yield image.cpu().numpy().tobytes()
        return
    for place in dataset.places.tolist():
        try:
            yield dataset.source.read(place)
        except (OSError, ValueError):
            yield b""


def start_of_image(dataset: Dataset, place: int) -> bytes:
    """The pixels of an image in memory; of a file its size and beginning; empty: unreadable."""
    if isinstance(dataset, InMemory):
        return dataset.images[place].cpu().numpy().tobytes()
    try:
        size, start = dataset.source.start(int(dataset.places[place]))
    except (OSError, ValueError):
        return b""
    return size.to_bytes(8, "little") + start


def content_of(dataset: Dataset, classes: tuple[str, ...], unopened: bool = False) -> str:
    """Sixteen hexadecimal digits that change with class names, any label, or the pictures.

    Of a split with more than 1,024 pictures so many are read, evenly spread over it.

    Args:
        dataset: a whole split with its labels.
        classes: their names.
        unopened: of pictures that are files only names and sizes count, and none is opened.
    """
    digest = sha256(repr(classes).encode())
    digest.update(dataset.labels.cpu().numpy().tobytes())
    if getattr(dataset, "accepted", None) is not None:
        digest.update(dataset.accepted.cpu().numpy().tobytes())
    for picture in sampled_pictures(dataset, unopened):
        digest.update(sha256(picture).digest())
    return digest.hexdigest()[:16]


def sampled_pictures(dataset: Dataset, unopened: bool = False) -> Iterator[bytes]:
    """Pixels or files (or their names and sizes) of some samples; of an unreadable one, nothing."""
    count = len(dataset)
    for number in range(min(count, LOOKED_AT)):
        place = number * count // min(count, LOOKED_AT)
        if isinstance(dataset, InMemory):
            yield dataset.images[place].cpu().numpy().tobytes()
        elif isinstance(dataset, Files):
            source, file = dataset.source, int(dataset.places[place])
            try:
                name = f"{source.name(file)} {source.size(file)}" if unopened else ""
                yield name.encode() or source.read(file)
            except (OSError, ValueError):
                yield b""


def contents_of(data: Any) -> dict[str, Any]:
    """What a data module (an Images) learns from, chooses on and is tested on, to be told apart.

    A training opens no file of its test split, so of that one names and sizes are held.
    """
    return {
        "classes": list(data.spec.classes),
        "content": {split: data.content(split) for split in ("train", "val")},
        "unopened": {"test": data.content("test", unopened=True)},
        "val": torch.tensor(data.split_indices()["val"]),
    }


def has_changed(before: dict[str, Any], data: Any, split: str) -> bool:
    """Is a split another one than when a training kept `contents_of`, as far as can be told?"""
    held = (("content", False), ("unopened", True))
    olds = {unopened: before.get(key, {}).get(split) for key, unopened in held}
    return any(old and old != data.content(split, key) for key, old in olds.items())


def refuse_changes(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Hold two states of a data module against each other; a split that is nowhere has no digest.

    Raises:
        ValueError: naming what differs.
    """
    digests = {
        split: (old, now[kind].get(split))
        for kind in ("content", "unopened")
        for split, old in before.get(kind, {}).items()
    }
    changed = [split for split, (old, new) in digests.items() if old and new and old != new]
    changed += ["class names"] if before["classes"] != now["classes"] else []
    if changed:
        raise ValueError(
            f"data: {', '.join(changed)} changed since the run began (files or labels were added, "
            "removed, renamed or replaced); put them back, or begin a new run"
        )


class Relabelling:
    """Labels of one data set as another one's classes are numbered.

    Args:
        given: class names of the data.
        known: the same names in the order in which a head was trained on them.
    """

    def __init__(self, given: tuple[str, ...], known: tuple[str, ...]) -> None:
        self.numbers = torch.tensor([known.index(name) for name in given])
        self.columns = torch.tensor([given.index(name) for name in known])

    def __call__(self, batch: Batch) -> Batch:
        """The same images, their labels renumbered."""
        numbers, columns = (x.to(batch.labels.device) for x in (self.numbers, self.columns))
        labels = torch.where(batch.labels < 0, -1, numbers[batch.labels.clamp(min=0)])
        accepted = None if batch.accepted is None else batch.accepted[:, columns]
        return replace(batch, labels=labels, accepted=accepted)


def relabelling(given: tuple[str, ...], known: tuple[str, ...], where: str) -> Relabelling | None:
    """How to count the data's labels for a head that knows these classes; None: as they are.

    Raises:
        ValueError: they are other classes.
    """
    if given == known:
        return None
    if sorted(given) != sorted(known) or len(set(given)) < len(given):
        unknown = [name for name in given if name not in known]
        absent = [name for name in known if name not in given]
        reasons = (
            [f"the data has {first_three(unknown)}, which it does not know"] if unknown else []
        )
        reasons += [f"the data lacks {first_three(absent)}"] if absent else []
        raise ValueError(f"data: {where} tells {len(known)} classes apart: {'; '.join(reasons)}")
    return Relabelling(given, known)


def first_three(names: list[str]) -> str:
    """The first three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
