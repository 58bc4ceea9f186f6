"""What every published data set offers before it becomes a task: keys, labels, bytes.

A split is called as published (train, validation, test), a key is what its order is made of.
"""

import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from vit.data.download import fetch_all
from vit.data.vtab.order import Key


class Raw(ABC):
    """A data set as its publishers' archives unpack.

    Args:
        root: folder that they were unpacked in.
    """

    wanted: ClassVar[str]  # which files, below root, and where people get them
    archives: ClassVar[tuple[tuple[str, str], ...]] = ()  # address and md5 of what can be fetched
    home: ClassVar[str] = ""  # folder below root that they are unpacked into
    there: ClassVar[tuple[str, ...]] = ()  # what lies there once they are

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self) -> None:
        """Download and unpack what can be downloaded and is not there."""
        folder = self.root / self.home
        names = {url.rpartition("/")[2] for url, _ in self.archives} - set(self.there)
        begun = any((folder / name).is_file() for name in names)
        if self.archives and (begun or not all((folder / part).exists() for part in self.there)):
            fetch_all(self.archives, folder)

    @abstractmethod
    def keys(self, split: str) -> Sequence[Key]:
        """Every example of a split, in any order."""

    @abstractmethod
    def label(self, split: str, key: Key) -> int:
        """The class of one example."""

    @abstractmethod
    def image(self, split: str, key: Key) -> bytes:
        """The published file, or lossless PNG where pixels were published as an array."""

    def need(self, *names: str) -> Path:
        """The first of these that is there.

        Raises:
            FileNotFoundError: none is; says what to get and where to put it.
        """
        for name in names:
            if (self.root / name).exists():
                return self.root / name
        raise FileNotFoundError(f"{self.root / names[0]} is not there; {self.wanted}")


def png(pixels: np.ndarray) -> bytes:
    """H W or H W 3, uint8, losslessly."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
