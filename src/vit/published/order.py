"""The order in which TensorFlow Datasets stores examples, and its slices, without TensorFlow.

Examples are sorted by md5(split + key), so a slice such as train[:800] depends on the split's name
and the keys alone. Read in tensorflow/datasets 4.9.10, core/hashing.py and core/shuffle.py; checked
against the lists published with VPT (github.com/KMnP/vpt) and the order of CIFAR published with
UCSC-REAL/cifar-10-100n.
"""

import hashlib
import re
from collections.abc import Iterable

Key = str | int


def published_order(keys: Iterable[Key], split: str) -> list[Key]:
    """All examples of a split, as stored.

    Args:
        keys: what identifies an example: a file's name, a row's number.
        split: its published name: train, validation, test.
    """
    salt = hashlib.md5(split.encode())

    def place(key: Key) -> bytes:
        whole = salt.copy()
        whole.update(str(key).encode())
        return whole.digest()

    return sorted(keys, key=place)


def split_of(slice_name: str) -> str:
    """The split that a slice is cut from: `train` of `train[:800]`."""
    return slice_name.partition("[")[0]


def part_of(order: list[Key], slice_name: str) -> list[Key]:
    """The slice that a name like `train[:800]`, `train[99%:]` or `test` stands for.

    Raises:
        ValueError: it stands for none.
    """
    inside = re.fullmatch(r"\w+(?:\[(\d*)(%?):(\d*)(%?)\])?", slice_name)
    if inside is None:
        raise ValueError(
            f"slice: {slice_name!r} is not of the form train[:800] or train[90%:]; write it so"
        )
    first, first_percent, last, last_percent = inside.groups()
    start = bound(first, first_percent, len(order)) if first else 0
    end = bound(last, last_percent, len(order)) if last else len(order)
    return order[start:end]


def bound(number: str, percent: str, count: int) -> int:
    """One end of a slice; percents are rounded as the library does."""
    return round(int(number) * count / 100) if percent else min(int(number), count)
