"""Images as files: one batch is read, decoded and cut in one worker, and leaves it as uint8.

B batch, S side of a view in pixels.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vit.batch import Batch, numbered
from vit.data.crops import Cut, shrinkable, shrunk
from vit.data.random_crop import Box
from vit.data.sampling import BatchIndices
from vit.published.decode import SHRINKS, Memory, decode, size_of
from vit.randomness import keys, uniform

START = 4096  # bytes of a file that tell it from others, with its size


class Source(ABC):
    """Where images lie: a folder, shards."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def name(self, number: int) -> str:
        """What messages call it, and hashes that do not depend on where the data lies."""

    @abstractmethod
    def read(self, number: int) -> bytes:
        """The whole file."""

    def size(self, number: int) -> int:
        """Bytes of a file that is not opened; 0 where nobody can say without."""
        return 0

    def start(self, number: int) -> tuple[int, bytes]:
        """The size of a file in bytes, and its first 4 KB."""
        data = self.read(number)
        return len(data), data[:START]


class Names:
    """Many strings in two arrays: worker processes share them instead of copying each."""

    def __init__(self, names: Iterable[str]) -> None:
        parts = [name.encode() for name in names]
        self.text = np.frombuffer(b"".join(parts), np.uint8)
        self.ends = np.cumsum([len(part) for part in parts], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, number: int) -> str:
        start = self.ends[number - 1] if number else 0
        return self.text[start : self.ends[number]].tobytes().decode()


def below(name: str, place: Path | str) -> str:
    """A name that stays below its folder; `place`: where it stands, for the message."""
    if name.startswith("/") or (".." in name and ".." in name.split("/")):
        raise ValueError(f"{place}: {name} leads out of its folder; name files below it")
    return name


class Folder(Source):
    """Files below a folder.

    Args:
        root: the folder.
        names: paths below it, with forward slashes.

    Raises:
        ValueError: a name leads out of it.
    """

    def __init__(self, root: Path, names: Iterable[str]) -> None:
        self.root, self.names = root, Names(below(name, root) for name in names)

    def __len__(self) -> int:
        return len(self.names)

    def name(self, number: int) -> str:
        """Its path below the root."""
        return self.names[number]

    def read(self, number: int) -> bytes:
        """The whole file."""
        return (self.root / self.names[number]).read_bytes()

    def size(self, number: int) -> int:
        """Bytes of the file, which is not opened."""
        return (self.root / self.names[number]).stat().st_size

    def start(self, number: int) -> tuple[int, bytes]:
        """The size of a file in bytes, and its first 4 KB; no more is read."""
        with (self.root / self.names[number]).open("rb", buffering=0) as file:
            return os.fstat(file.fileno()).st_size, file.read(START)


class Files(Dataset):
    """Images of one split, read when they are asked for.

    Args:
        source: all files.
        places: N, those of this split, as numbers into the source.
        labels: N, int64; -1 unlabelled.
        cuts: views of each image.
        apply_exif_and_alpha: turned as EXIF says, transparency over white; see decode.
        shrink: large JPEG files may be decoded smaller where no crop loses a pixel by it.
        replace: an unreadable image's row shows the next one; else it counts nowhere.
        accepted: N L, every label that is right; None where each image has one.
    """

    def __init__(
        self,
        source: Source,
        places: Tensor,
        labels: Tensor,
        cuts: list[Cut],
        apply_exif_and_alpha: bool = False,
        shrink: bool = False,
        replace: bool = False,
        accepted: Tensor | None = None,
    ) -> None:
        self.source = source
        self.places = places
        self.labels = labels
        self.cuts = cuts
        self.apply_exif_and_alpha = apply_exif_and_alpha
        self.shrink = shrink
        self.replace = replace
        self.seed = 0
        self.accepted = accepted
        self.memory = Memory()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: BatchIndices) -> Batch:
        index = torch.tensor(chosen.index)
        repeat = torch.tensor(chosen.repeat) if chosen.repeat else None
        shapes = [(len(index), 3, cut.size, cut.size) for cut in self.cuts]
        # zeros, black where nothing is read: memory that is not cleared first takes longer to fill
        views = [torch.zeros(shape, dtype=torch.uint8) for shape in shapes]
        unread: list[tuple[str, str]] = []
        rows = (index >= 0).nonzero().flatten()
        for _ in range(len(self)):
            drawn = numbered(index, repeat)[rows]
            failed = self._fill(views, rows, index[rows], drawn, chosen.epoch, unread)
            rows = rows[failed]
            if not len(rows) or not self.replace:
                break
            index[rows] = (index[rows] + 1) % len(self)
        index[rows] = -1
        place, real = index.clamp(min=0), index >= 0
        labels = torch.where(real, self.labels[place], -1)
        accepted = None if self.accepted is None else self.accepted[place] & real[:, None]
        return Batch(views, labels, index, self.seed, chosen.epoch, tuple(unread), accepted, repeat)

    def _fill(
        self,
        views: list[Tensor],
        rows: Tensor,
        index: Tensor,
        drawn: Tensor,
        epoch: int | None,
        unread: list[tuple[str, str]],
    ) -> list[int]:
        """Show these images in these rows; which of them failed."""
        contents: list[bytes] = []
        sizes: list[tuple[int, int]] = []
        failed: list[int] = []
        places = self.places[index].tolist()
        for place in places:
            try:
                contents.append(self.source.read(place))
                sizes.append(size_of(contents[-1], self.apply_exif_and_alpha))
            except (ValueError, OSError) as error:
                unread.append((self.source.name(place), str(error)))
                contents[len(sizes) :] = [b""]
                sizes.append((1, 1))
        boxes = self._boxes(torch.tensor(sizes), drawn, epoch)
        for at, (place, row) in enumerate(zip(places, rows.tolist(), strict=True)):
            try:
                if contents[at]:
                    targets = [view[row] for view in views]
                    self._show(targets, contents[at], sizes[at], boxes[at])
                    continue
            except ValueError as error:
                unread.append((self.source.name(place), str(error)))
            failed.append(at)
        return failed

    def _boxes(self, sizes: Tensor, drawn: Tensor, epoch: int | None) -> list[list[Box | None]]:
        """The crop of each image in each view."""
        columns = []
        for cut in self.cuts:
            if cut.area is None and cut.crop_ratio is None:
                columns.append([None] * len(drawn))
                continue
            uniforms = uniform(keys(self.seed, epoch, drawn, cut.purpose), 4)
            columns.append(cut.boxes(uniforms, sizes))
        return [list(row) for row in zip(*columns, strict=True)]

    def _show(
        self, targets: list[Tensor], data: bytes, size: tuple[int, int], boxes: list[Box | None]
    ) -> None:
        drawn = [box for box in boxes if box]
        small = len(drawn) == len(boxes) and self.shrink
        shrink = shrinkable(drawn, self.cuts, SHRINKS) if small else 1
        image = decode(data, self.apply_exif_and_alpha, shrink, self.memory)
        fraction = image.shape[1] / size[0]
        for target, cut, box in zip(targets, self.cuts, boxes, strict=True):
            if box is None:
                target.copy_(cut.whole(image))
            else:
                place = box if fraction == 1 else shrunk(box, fraction, *image.shape[1:])
                target.copy_(cut.boxed(image, place))
