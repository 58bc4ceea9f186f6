"""Shards: WebDataset tar files, read sample by sample through an index that is built once.

So the ordinary sampler gives exact epochs, exact evaluation and exact resumption, on any number of
ranks and workers.
"""

import os
from collections import OrderedDict, defaultdict
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import numpy as np

from vit.data.files import START, Names, Source
from vit.data.reading_progress import ReadingProgress
from vit.data.shard_index import Index, array_digest, cached_index
from vit.data.tar import BLOCK, check_header

OPEN = 256  # archives that a process keeps open


class Shards(Source):
    """Samples of several archives, one after the other.

    Args:
        paths: of the archives.
        cache: folder for their indices; None: nowhere.
    """

    def __init__(self, paths: list[Path], cache: Path | None = None) -> None:
        if not paths:
            raise ValueError("Shards: needs an archive, got none; name some")
        self.paths = paths
        known = indices_of(paths, cache)
        indices = [known[path] for path in paths]
        self.ends = np.cumsum([len(index.names) for index in indices])
        self.names = Names(name for index in indices for name in index.names)
        self.places = np.concatenate([index.places for index in indices])
        self.labels = np.concatenate([index.labels for index in indices])
        self._forget()
        self._refuse_copies(known)

    def _refuse_copies(self, indices: dict[Path, Index]) -> None:
        """An archive that stands twice would be learned from twice, or tested on what was learned.

        Keys alone do not tell: public data sets begin them anew in each archive. So of archives
        whose index is the same the first and the last image are compared.
        """
        alike: dict[bytes, list[Path]] = defaultdict(list)
        for path, index in indices.items():
            if index.names:
                alike[fingerprint(index)].append(path)
        bounds = dict(zip(self.paths, pairwise([0, *self.ends.tolist()]), strict=True))
        for paths in alike.values():
            seen: dict[bytes, Path] = {}
            for path in paths if len(paths) > 1 else ():
                first, end = bounds[path]
                images = sha256(self.read(first) + self.read(end - 1)).digest()
                if seen.setdefault(images, path) != path:
                    raise ValueError(f"{path} is a copy of {seen[images]}; remove one of them")

    def _forget(self) -> None:
        self.open: OrderedDict[int, int] = OrderedDict()
        self.process = os.getpid()

    def __getstate__(self) -> dict:
        return {**vars(self), "open": OrderedDict()}

    def __len__(self) -> int:
        return len(self.places)

    def name(self, number: int) -> str:
        """Archive and key."""
        return f"{self.paths[self._archive(number)].name}/{self.names[number]}"

    def _archive(self, number: int) -> int:
        return int(np.searchsorted(self.ends, number, side="right"))

    def read(self, number: int) -> bytes:
        """The image of one sample.

        Raises:
            ValueError: the archive is not the one that the index was made of.
        """
        archive, (offset, size) = self._archive(number), self.places[number].tolist()
        descriptor = self._descriptor(archive)
        header = os.pread(descriptor, BLOCK, offset - BLOCK)
        data = os.pread(descriptor, size, offset)  # apart, so that it is not copied once more
        try:
            if len(header) + len(data) < BLOCK + size:
                raise ValueError("it is shorter")
            check_header(header, str(self.paths[archive]), offset - BLOCK)
        except ValueError as error:
            raise ValueError(
                f"the archive does not match its index ({error}); remove the index"
            ) from error
        return data

    def size(self, number: int) -> int:
        """Bytes of an image, as the index says."""
        return int(self.places[number, 1])

    def start(self, number: int) -> tuple[int, bytes]:
        """The size of an image in bytes, and its first 4 KB; no more is read."""
        archive, (offset, size) = self._archive(number), self.places[number].tolist()
        return size, os.pread(self._descriptor(archive), min(size, START), offset)

    def _descriptor(self, archive: int) -> int:
        """A descriptor of this process: one from before a fork is not shared."""
        if self.process != os.getpid():
            self._forget()
        if archive in self.open:
            self.open.move_to_end(archive)
            return self.open[archive]
        if len(self.open) >= OPEN:
            os.close(self.open.popitem(last=False)[1])
        self.open[archive] = os.open(self.paths[archive], os.O_RDONLY)
        return self.open[archive]


def indices_of(paths: list[Path], cache: Path | None) -> dict[Path, Index]:
    """The index of each archive, kept in the cache as the archives lie in their folders."""
    paths = list(dict.fromkeys(paths))
    top = Path(os.path.commonpath([path.parent for path in paths]))

    def index(path: Path) -> Index:
        place = path.relative_to(top)
        return cached_index(path, cache and cache / place.with_name(f"{place.name}.index.npz"))

    with ThreadPoolExecutor(min(len(paths), 16)) as pool:
        patience = ReadingProgress(f"looking through the shards of {top}", len(paths), step=1)
        return dict(zip(paths, patience.over(pool.map(index, paths)), strict=True))


def fingerprint(index: Index) -> bytes:
    """The same for the same keys, places and labels."""
    names = Names(index.names)
    return array_digest(names.text, names.ends, index.places, index.labels).tobytes()
