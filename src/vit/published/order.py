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


def split_of(words: str) -> str:
    """`train[:800]` is a part of `train`."""
    return words.partition("[")[0]


def part_of(order: list[Key], words: str) -> list[Key]:
    """The slice that words like `train[:800]`, `train[99%:]` and `test` name.

    Raises:
        ValueError: they name none.
    """
    inside = re.fullmatch(r"\w+(?:\[(\d*)(%?):(\d*)(%?)\])?", words)
    if inside is None:
        raise ValueError(f"slice: {words!r} is not of the form train[:800] or train[90%:]")
    first, first_fraction, last, last_fraction = inside.groups()
    start = bound(first, first_fraction, len(order)) if first else 0
    end = bound(last, last_fraction, len(order)) if last else len(order)
    return order[start:end]


def bound(number: str, share: str, count: int) -> int:
    """One end of a slice; percents are rounded as the library does."""
    return round(int(number) * count / 100) if share else min(int(number), count)
