"""What every published data set offers before it becomes a task: keys, labels, bytes.

A split is called as published (train, validation, test), a key is what its order is made of.
"""

import contextlib
import hashlib
import io
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from vit.published.download import fetch_all
from vit.published.order import Key


class Raw(ABC):
    """A data set as its publishers' archives unpack.

    Args:
        root: folder that they were unpacked in.
    """

    instructions: ClassVar[str]  # which files, below root, and where people get them
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
        raise FileNotFoundError(f"{self.root / names[0]} is not there; {self.instructions}")

    def pinned(self, *names: str) -> bytes:
        """What is in a published file, once its md5 is the published one.

        Raises:
            ValueError: it is another file.
        """
        path = self.need(*names)
        content = path.read_bytes()
        md5 = next(md5 for url, md5 in self.archives if url.rpartition("/")[2] == path.name)
        actual = hashlib.md5(content).hexdigest()
        if actual != md5:
            raise ValueError(
                f"{path} is damaged (md5 {actual}, published {md5}); {self.instructions}"
            )
        return content


@contextlib.contextmanager
def reading(path: Path, *more: type[Exception]) -> Iterator[None]:
    """Whatever a damaged or foreign file makes its reader stumble over, as one line."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        OverflowError,
        MemoryError,
        RecursionError,
        *more,
    ) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(
            f"{path} is damaged or not the published file ({reason}); get it again"
        ) from error


def read_below(folder: Path, name: Key) -> bytes:
    """The file of that name, which a list gave; lists lead nowhere else.

    Raises:
        ValueError: it would lie outside of the folder.
    """
    if Path(str(name)).is_absolute() or ".." in Path(str(name)).parts:
        raise ValueError(f"{folder}: a list names {name!r}, which leads out of it; do not trust it")
    return (folder / str(name)).read_bytes()


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of pixels H W or H W 3, uint8."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
