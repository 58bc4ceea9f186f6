"""Shards: WebDataset tar files, read sample by sample through an index that is built once.

So the ordinary sampler gives exact epochs, exact evaluation and exact resumption, on any number of
ranks and workers. A sample is what shares a name up to its first dot: an image, and its class in
`cls` or in `json` under `label`.
"""

import json
import os
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vit.data.files import Names, Source
from vit.data.tar import BLOCK, Member, check, members

IMAGES = frozenset("jpg jpeg png webp gif bmp tif tiff ppm avif jp2 jpeg2000 raw".split())
OPEN = 256  # archives that a process keeps open
VERSION = 1


@dataclass
class Index:
    """Samples of one archive.

    Args:
        names: their keys.
        places: N 2, where each image begins and how many bytes it has, int64.
        labels: N, int64; -1 where there is none.
    """

    names: list[str]
    places: np.ndarray
    labels: np.ndarray


def index_of(path: Path) -> Index:
    """Look through one archive.

    Raises:
        ValueError: it is damaged, or a sample has several images or none.
    """
    names, places, labels = [], [], []
    descriptor = os.open(path, os.O_RDONLY)
    try:
        for key, parts in samples(members(descriptor, str(path))):
            images = [member for kind, member in parts.items() if kind in IMAGES]
            if len(images) != 1:
                found = ", ".join(parts)
                raise ValueError(f"{path}: sample {key} wants one image, holds {found}")
            names.append(key)
            places.append(images[0][1:])
            labels.append(label_of(descriptor, parts, f"{path}: sample {key}"))
    finally:
        os.close(descriptor)
    shape = np.array(places, np.int64).reshape(-1, 2)
    return Index(names, shape, np.array(labels, np.int64))


def samples(files: Iterator[Member]) -> Iterator[tuple[str, dict[str, Member]]]:
    """Neighbours that share a name up to the first dot of its last part."""
    key, parts = None, {}
    for member in files:
        folder, slash, last = member.name.rpartition("/")
        stem, dot, kind = last.partition(".")
        if not dot:
            continue  # as WebDataset does
        if f"{folder}{slash}{stem}" != key:
            if parts:
                yield key, parts
            key, parts = f"{folder}{slash}{stem}", {}
        parts[kind.lower()] = member
    if parts:
        yield key, parts


def label_of(descriptor: int, parts: dict[str, Member], where: str) -> int:
    """-1 where the sample says none."""
    try:
        if "cls" in parts:
            _, offset, size = parts["cls"]
            return int(os.pread(descriptor, size, offset))
        if "json" in parts:
            _, offset, size = parts["json"]
            return int(json.loads(os.pread(descriptor, size, offset)).get("label", -1))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where} has no number for a label ({error})") from error
    return -1


def remembered(path: Path, cache: Path | None) -> Index:
    """The index of an archive, from where it was kept, if the archive is still the same."""
    status = path.stat()
    about = np.array([VERSION, status.st_size, status.st_mtime_ns], np.int64)
    file = cache and cache / f"{path.name}.index.npz"
    if file and file.is_file():
        try:
            with np.load(file) as kept:
                if np.array_equal(kept["about"], about):
                    names = Names([])
                    names.text, names.ends = kept["text"], kept["ends"]
                    return Index([names[i] for i in range(len(names))], kept["places"],
                                 kept["labels"])  # fmt: skip
        except (OSError, ValueError, KeyError):
            pass  # torn, or of another version: made anew
    found = index_of(path)
    if file:
        keep(file, found, about)
    return found


def keep(file: Path, found: Index, about: np.ndarray) -> None:
    """Whole or not at all; where nobody may write, the index is made again next time."""
    names, part = Names(found.names), file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as stream:
            np.savez(stream, about=about, text=names.text, ends=names.ends, places=found.places,
                     labels=found.labels)  # fmt: skip
        part.replace(file)
    except OSError:
        return


class Shards(Source):
    """Samples of several archives, one after the other.

    Args:
        paths: of the archives.
        cache: folder for their indices; None: nowhere.
    """

    def __init__(self, paths: list[Path], cache: Path | None = None) -> None:
        self.paths = paths
        with ThreadPoolExecutor(min(len(paths), 16)) as pool:
            parts = list(pool.map(lambda path: remembered(path, cache), paths))
        self.ends = np.cumsum([len(part.names) for part in parts])
        self.names = Names(name for part in parts for name in part.names)
        self.places = np.concatenate([part.places for part in parts])
        self.labels = np.concatenate([part.labels for part in parts])
        self._forget()

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
        data = os.pread(self._descriptor(archive), BLOCK + size, offset - BLOCK)
        try:
            if len(data) < BLOCK + size:
                raise ValueError("it is shorter")
            check(data[:BLOCK], str(self.paths[archive]), offset - BLOCK)
        except ValueError as error:
            raise ValueError(
                f"the archive does not match its index ({error}); remove the index"
            ) from error
        return data[BLOCK:]

    def _descriptor(self, archive: int) -> int:
        """Of this process: a descriptor from before a fork is not shared."""
        if self.process != os.getpid():
            self._forget()
        if archive in self.open:
            self.open.move_to_end(archive)
            return self.open[archive]
        if len(self.open) >= OPEN:
            os.close(self.open.popitem(last=False)[1])
        self.open[archive] = os.open(self.paths[archive], os.O_RDONLY)
        return self.open[archive]
