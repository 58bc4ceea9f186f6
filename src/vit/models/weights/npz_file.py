"""NumPy archives of weights (.npz): numbers of the promised sizes, never a pickle."""

import math
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vit.models.torch_files import refusals
from vit.models.weights.released import Tensors

MOST = 20  # times its own size that a file may unpack to; weights hardly compress
ALWAYS = 2**30  # bytes that any file may unpack to


def open_npz(path: Path) -> Tensors:
    """The arrays of an archive as tensors; each is unpacked when it is asked for.

    Raises:
        ValueError: it is damaged, unpacks to far more than it should, or an array holds anything
            but numbers.
    """
    with refusals(path, "weights"), zipfile.ZipFile(path) as parts:
        members = [part for part in parts.infolist() if part.filename.endswith(".npy")]
        unpacked = sum(part.file_size for part in members)
        if unpacked > max(MOST * path.stat().st_size, ALWAYS):
            raise ValueError(f"it unpacks to {unpacked:,} bytes")
        shapes = {
            part.filename.removesuffix(".npy"): shape_in(parts, part, unpacked) for part in members
        }

    def read(name: str) -> Tensor:
        with refusals(path, "weights"), np.load(path, allow_pickle=False) as file:
            array = file[name]
        if array.dtype.kind == "V":  # bfloat16, which NumPy does not know
            return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(array)

    return Tensors(shapes, read)


def shape_in(parts: zipfile.ZipFile, part: zipfile.ZipInfo, most: int) -> tuple[int, ...]:
    """The shape that an array's header promises, where its length agrees."""
    with parts.open(part) as file:
        version = np.lib.format.read_magic(file)
        header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = header(file)
        start = file.tell()
    numbers = dtype.kind in "fiub" or (dtype.kind, dtype.itemsize) == ("V", 2)
    if not numbers or dtype.hasobject:
        raise ValueError(f"{part.filename} holds {dtype}, no numbers")
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or start + size != part.file_size or size > most:
        raise ValueError(f"{part.filename} is not of the size that it promises")
    return tuple(shape)
