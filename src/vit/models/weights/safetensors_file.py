"""safetensors: a header of JSON, then the tensors' bytes side by side; read without its package.

Format: https://github.com/huggingface/safetensors, "Format": eight bytes with the header's length,
the header, the data. Nothing in such a file runs, but a header may lie: each of its claims is
compared with the file before a tensor is made.
"""

import json
import math
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
LARGEST_HEADER = 10**7  # bytes; the format allows 10^8, a ViT's has 10^5, and JSON grows in memory


@dataclass(frozen=True)
class TensorPlace:
    """Where a tensor lies in a file.

    Args:
        dtype: of its numbers.
        shape: its sizes.
        start: its first byte in the file.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int

    @property
    def length(self) -> int:
        """Its bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


class SafetensorsFile:
    """A file whose header was checked; its tensors are mapped into memory one at a time.

    Args:
        path: of the file.

    Raises:
        ValueError: the header lies or cannot be read, or a tensor has a dtype that is not known.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            header, start, size = header_of(path)
            self.metadata = metadata_of(header.pop("__metadata__", {}))
            self.places = {k: claimed_place(k, about, start) for k, about in header.items()}
            check_side_by_side(header, size - start)
        except (ValueError, RecursionError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise ValueError(f"weights: {path} is damaged or foreign ({reason[:160]})") from error

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor."""
        return {name: place.shape for name, place in self.places.items()}

    def tensor(self, name: str) -> Tensor:
        """One tensor; its numbers are read when they are used."""
        return mapped(self.path, self.places[name])


def mapped(path: Path, place: TensorPlace) -> Tensor:
    """A piece of a file as a tensor; writing to it changes memory and never the file.

    Its pages are read when they are used, and given back when it is no longer used.
    """
    if not place.length:
        return torch.empty(place.shape, dtype=place.dtype)
    before = place.start % mmap.ALLOCATIONGRANULARITY
    with path.open("rb") as file:
        pages = mmap.mmap(
            file.fileno(),
            before + place.length,
            access=mmap.ACCESS_COPY,
            offset=place.start - before,
        )
    numbers = torch.frombuffer(pages, dtype=torch.uint8, offset=before, count=place.length)
    if place.start % place.dtype.itemsize:  # headers are padded, but they need not be
        numbers = numbers.clone()
    if place.dtype is torch.bool:
        return numbers.bool().view(place.shape)  # a byte of 2 would be neither true nor false
    return numbers.view(place.dtype).view(place.shape)


def header_of(path: Path) -> tuple[dict[str, Any], int, int]:
    """The header, the place of the first byte after it, and the file's size."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError(f"its header claims {length:,} bytes, the file has {size:,}")
        if length > LARGEST_HEADER:
            raise ValueError(f"its header has {length:,} bytes, at most {LARGEST_HEADER:,} is read")
        text = file.read(length)
    if not text.startswith(b"{"):
        raise ValueError("its header is no JSON object")
    header = json.loads(text.decode(), object_pairs_hook=once_each, parse_constant=refuse_constant)
    return header, 8 + length, size


def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object in which no key stands twice, so that no two readers see different files."""
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise ValueError(f"{key!r} stands twice in its header")
        content[key] = value
    return content


def refuse_constant(text: str) -> None:
    """JSON has no such numbers, Python's reader has."""
    raise ValueError(f"its header holds {text}")


def metadata_of(content: Any) -> dict[str, str]:
    """The words that were stored beside the tensors."""
    if not isinstance(content, dict) or not all(isinstance(v, str) for v in content.values()):
        raise ValueError("its metadata are no words")
    return content


def claimed_place(name: str, about: Any, start: int) -> TensorPlace:
    """What the header says of one tensor, where it agrees with itself."""
    if not isinstance(about, dict) or about.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name} has no dtype, shape and data_offsets")
    dtype = str(about["dtype"])
    if dtype not in DTYPES:
        raise ValueError(f"{name} is stored as {dtype}; known: {' '.join(DTYPES)}")
    shape, offsets = about["shape"], about["data_offsets"]
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or not all(type(n) is int and n >= 0 for n in numbers):
            raise ValueError(f"{name} has sizes or offsets that are no whole numbers from 0")
    if len(offsets) != 2 or len(shape) > 8:
        raise ValueError(f"{name} has {len(shape)} sizes and {len(offsets)} offsets")
    place = TensorPlace(DTYPES[dtype], tuple(shape), start + offsets[0])
    if place.length != offsets[1] - offsets[0]:
        raise ValueError(
            f"{name} has {offsets[1] - offsets[0]:,} bytes, its shape {place.length:,}"
        )
    return place


def check_side_by_side(header: dict[str, Any], size: int) -> None:
    """Refuse tensors that overlap, leave a gap, or end elsewhere than the file."""
    end = 0
    for name, about in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin = about["data_offsets"][0]
        if begin != end:
            raise ValueError(f"{name} begins at {begin:,}, the one before it ends at {end:,}")
        end = about["data_offsets"][1]
    if end != size:
        raise ValueError(f"its tensors end at {end:,}, its data at {size:,}")
