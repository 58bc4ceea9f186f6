"""torch files that others wrote: nested, prefixed, old; still data and nothing else.

Besides tensors and plain values `argparse.Namespace` is read, in which many keep their settings.
"""

import argparse
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import safe_globals

from vit.models.torch_files import check_archive, check_storage, refusals
from vit.models.weights.released import Tensors, in_memory

OLD = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")  # begins what torch wrote before 1.6
NESTS = ("teacher", "model_ema", "state_dict_ema", "model", "state_dict", "target_encoder")
AT_ONCE = 2**27  # bytes that stay mapped; pages of a mapping count as memory once they were read


def open_torch(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """The tensors of a file, wherever they are nested, and the plain values beside them.

    An average or a teacher comes before what trained, as everywhere here.

    Raises:
        ValueError: it is no whole torch file, holds something that would run, or no tensors.
    """
    with refusals(path, "weights"):
        if path.suffix == ".safetensors":  # torch.load goes by the name
            raise ValueError("torch's file by another's name; call it .pth")
        mapped = zipfile.is_zipfile(path)
        if mapped:
            check_archive(path)
        else:
            with path.open("rb") as file:
                if file.read(len(OLD)) != OLD:
                    raise ValueError("not a whole torch file")
        content = read_once(path, mapped)
    nest, tensors = state_in(content)
    if not tensors:
        raise ValueError(f"weights: {path} holds no table of tensors")
    with refusals(path, "weights"):
        for name, tensor in tensors.items():
            check_storage(name, tensor)
    about = {"nest": nest} if nest else {}
    if isinstance(content, Mapping):
        about |= {str(k): v for k, v in content.items() if isinstance(v, str | int | float | dict)}
    if not mapped:
        return in_memory(tensors), about
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return Tensors(shapes, Remapped(path, nest).tensor), about


def read_once(path: Path, mapped: bool) -> Any:
    """The content of a file; mapped: its tensors' numbers are read when they are used."""
    with safe_globals([argparse.Namespace]):
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)


def state_in(content: Any) -> tuple[str, dict[str, Tensor]]:
    """Where in nested tables the weights lie, and those."""
    place = []
    while isinstance(content, Mapping):
        inner = [key for key in NESTS if isinstance(content.get(key), Mapping)]
        if not inner:
            named = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
            dense = {k: v for k, v in named.items() if v.layout is torch.strided and not v.is_meta}
            return ".".join(place), dense
        place.append(inner[0])
        content = content[inner[0]]
    return ".".join(place), {}


class Remapped:
    """Tensors of a file that is mapped anew now and then, so that pages once read are given back.

    Args:
        path: of the file.
        nest: where in it the tensors lie.
    """

    def __init__(self, path: Path, nest: str) -> None:
        self.path = path
        self.nest = nest
        self._tensors: dict[str, Tensor] = {}
        self._read = 0

    def tensor(self, name: str) -> Tensor:
        """One tensor; its numbers are read when they are used."""
        if not self._tensors or self._read > AT_ONCE:
            self._tensors, self._read = {}, 0
            self._tensors = state_in(read_once(self.path, mapped=True))[1]
        tensor = self._tensors.pop(name, None)
        if tensor is None:  # given out before
            self._tensors = state_in(read_once(self.path, mapped=True))[1]
            tensor = self._tensors.pop(name)
        self._read += tensor.nbytes
        return tensor
