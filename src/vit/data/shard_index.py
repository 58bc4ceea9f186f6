"""What a shard holds and where: looked through once, kept beside it, and made anew where in doubt.

A sample is what shares a name up to its first dot: an image, and its class in `cls` or in `json`
under `label`.
"""

import json
import os
import re
import tokenize
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from vit.data.files import Names
from vit.data.tar import AGAIN, BLOCK, Member, read_members
from vit.whole_files import replacing

IMAGES = frozenset("jpg jpeg png webp gif bmp tif tiff ppm avif jp2 jpeg2000 raw".split())
VERSION = 2
PARTS = ("about", "text", "ends", "places", "labels", "digest")  # of an index file
BROKEN = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    MemoryError,
    RuntimeError,
    OverflowError,
    zipfile.BadZipFile,
    tokenize.TokenError,
)
MOST = {"cls": 32, "json": 1 << 20}  # bytes that are read for a label
WHOLE = re.compile(rb"\s*[+-]?[0-9]+\s*")
CLASSES = 1_000_000  # a label beyond is a mistake, and a name for each would fill the memory


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


def build_index(path: Path) -> Index:
    """Look through one archive.

    Raises:
        ValueError: it is damaged, or a sample stands twice, has several images or none.
    """
    names, places, labels = [], [], []
    descriptor = os.open(path, os.O_RDONLY)
    try:
        for key, parts in samples(read_members(descriptor, str(path)), str(path)):
            images = [member for kind, member in parts.items() if kind in IMAGES]
            if len(images) != 1:
                kinds = ", ".join(list(parts)[:10])
                raise ValueError(f"{path}: sample {key} needs one image, holds {kinds}; {AGAIN}")
            names.append(key)
            places.append(images[0][1:])
            labels.append(label_of(descriptor, parts, f"{path}: sample {key}"))
    finally:
        os.close(descriptor)
    shape = np.array(places, np.int64).reshape(-1, 2)
    return Index(names, shape, np.array(labels, np.int64))


def samples(files: Iterator[Member], path: str) -> Iterator[tuple[str, dict[str, Member]]]:
    """Neighbours that share a name up to the first dot of its last part.

    Raises:
        ValueError: a key, or a kind of file below it, stands twice.
    """
    known: set[str] = set()
    for key, neighbours in groupby(keyed(files), itemgetter(0)):
        parts: dict[str, Member] = {}
        for _, kind, member in neighbours:
            if key in known or kind in parts:
                raise ValueError(
                    f"{path}: {member.name} is of sample {key}, which stands twice; write the "
                    "archive again, each sample once and its files side by side"
                )
            parts[kind] = member
        known.add(key)
        yield key, parts


def keyed(files: Iterator[Member]) -> Iterator[tuple[str, str, Member]]:
    """Key and kind of each file; as in WebDataset, no dot or one in front: passed over."""
    for member in files:
        folder, slash, last = member.name.rpartition("/")
        stem, dot, kind = last.partition(".")
        if stem and dot:
            yield f"{folder}{slash}{stem}", kind.lower(), member


def label_of(descriptor: int, parts: dict[str, Member], where: str) -> int:
    """The label of a sample; -1 where it says none."""
    kind = "cls" if "cls" in parts else "json"
    if kind not in parts:
        return -1
    _, offset, size = parts[kind]
    if size > MOST[kind]:
        raise ValueError(
            f"{where} has {size:,} bytes of {kind}, at most {MOST[kind]:,} are read; write its "
            "label as a whole number"
        )
    data = os.pread(descriptor, size, offset)
    try:
        label = (
            (int(data) if WHOLE.fullmatch(data) else data) if kind == "cls" else label_in_json(data)
        )
    except (ValueError, RecursionError) as error:
        why = f"{where} has no number for a label ({error}); write its json again"
        raise ValueError(why) from error
    if type(label) is not int or not -1 <= label < CLASSES:
        raise ValueError(
            f"{where} has no number for a label, but {ascii(label)[:40]}; needs a whole one from 0 "
            f"to {CLASSES - 1:,}, or -1 for none"
        )
    return label


def label_in_json(data: bytes) -> Any:
    """What a json says under label; -1 where it says nothing."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if sum(key == "label" for key, _ in pairs) > 1:
            raise ValueError("label stands twice")
        return dict(pairs)

    sample = json.loads(data, object_pairs_hook=once)
    if not isinstance(sample, dict):
        raise ValueError("no object")
    return sample.get("label", -1)


def cached_index(path: Path, file: Path | None) -> Index:
    """The index of an archive, from the file that keeps it if the archive is still the same."""
    status = path.stat()
    same = f"{VERSION} {status.st_size} {status.st_mtime_ns}".encode()
    about = np.frombuffer(same, np.uint8)
    cached = file and read_index(file, about)
    if cached:
        return cached
    index = build_index(path)
    if file:
        write_index(file, index, about)
    return index


def read_index(file: Path, about: np.ndarray) -> Index | None:
    """The index in a file; None where it is not there, torn, packed, of old, or does not fit."""
    try:
        if not is_uncompressed(file):
            return None
        with np.load(file, allow_pickle=False) as kept:
            parts = [kept[name] for name in PARTS]
        if not all(isinstance(part, np.ndarray) for part in parts):
            return None
        then, text, ends, places, labels, digest = parts
        whole = np.array_equal(digest, array_digest(*parts[:-1])) and np.array_equal(then, about)
        if not (whole and belong_together(text, ends, places, labels)):
            return None
        names = Names([])
        names.text, names.ends = text, ends
        return Index([names[i] for i in range(len(names))], places, labels)
    except BROKEN:
        return None


def is_uncompressed(file: Path) -> bool:
    """Does it hold its parts as they are, so that it cannot unpack to more than its size?"""
    most = file.stat().st_size
    with zipfile.ZipFile(file) as kept:
        members = kept.infolist()
    plain = all(m.compress_type == zipfile.ZIP_STORED and m.file_size <= most for m in members)
    return plain and sorted(m.filename for m in members) == sorted(f"{name}.npy" for name in PARTS)


def belong_together(
    text: np.ndarray, ends: np.ndarray, places: np.ndarray, labels: np.ndarray
) -> bool:
    """Do the parts of an index belong together?"""
    count = ends.size
    kinds = [part.dtype for part in (text, ends, places, labels)]
    shapes = [part.shape for part in (text, ends, places, labels)]
    return bool(
        kinds == [np.uint8, *[np.int64] * 3]
        and shapes == [(text.size,), (count,), (count, 2), (count,)]
        and (np.diff(ends, prepend=0) >= 0).all()
        and (ends[-1] if count else 0) == text.size
        and (places >= [BLOCK, 0]).all()
        and ((labels >= -1) & (labels < CLASSES)).all()
    )


def array_digest(*parts: np.ndarray) -> np.ndarray:
    """The sha256 of arrays, their kinds and shapes."""
    digest = sha256()
    for part in parts:
        digest.update(f"{part.dtype.str} {part.shape} ".encode() + part.tobytes())
    return np.frombuffer(digest.digest(), np.uint8)


def write_index(file: Path, index: Index, about: np.ndarray) -> None:
    """Keep an index, whole or not at all; where nobody may write, it is made again next time."""
    names = Names(index.names)
    parts = (about, names.text, names.ends, index.places, index.labels)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as stream:
            np.savez(stream, **dict(zip(PARTS, (*parts, array_digest(*parts)), strict=True)))
    except OSError:
        return
