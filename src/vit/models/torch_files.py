"""torch files as data: whole, of the size they claim, free of code, and of finite numbers."""

import contextlib
import hashlib
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vit.whole_files import replacing

UNREADABLE = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    RecursionError,
    MemoryError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    NotImplementedError,
)


def read_torch(path: Path, what: str) -> Any:
    """What `torch.save` wrote: tensors and plain values, nothing that runs.

    Args:
        path: of the file.
        what: begins the messages.

    Raises:
        ValueError: it is no whole torch file, holds compressed or overlapping members (torch
            stores them plainly, side by side), or tensors that are larger than their storage.
    """
    if not zipfile.is_zipfile(path):  # torch's index is written last
        raise ValueError(f"{what}: {path} is damaged or foreign (not a whole torch file)")
    with refusals(path, what):
        check_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        for name, tensor in tensors(content):
            check_storage(name, tensor)
    return content


@contextlib.contextmanager
def refusals(path: Path, what: str) -> Iterator[None]:
    """Whatever cannot be read becomes one line.

    Args:
        path: of the file.
        what: begins the message.

    Raises:
        ValueError: in place of what was raised inside.
    """
    try:
        yield
    except UNREADABLE as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{what}: {path} is damaged or foreign ({lines[0][:120]})") from error


def check_archive(path: Path) -> None:
    """The members of torch's archive lie plainly side by side and have their checksums.

    Raises:
        ValueError: they do not.
    """
    with zipfile.ZipFile(path) as parts:
        check_members(parts.infolist(), path.stat().st_size)
        flipped = parts.testzip()  # torch stores checksums and does not look at them
    if flipped:
        raise ValueError(f"wrong checksum of {flipped}")


def save_torch(content: Any, path: Path) -> None:
    """The file is the old one or the new one, at any instant.

    Raises:
        OSError: the disk is full; torch hides it behind a RuntimeError of its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replacing(path) as file:
            torch.save(content, file)
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__context__
        if cause is None:
            raise
        raise OSError(cause.errno, cause.strerror, str(path)) from error


def check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    """Small files that unpack to large ones are refused before any byte is unpacked."""
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{member.filename} is compressed, which torch never does")
    if sum(member.file_size for member in members) > size:
        raise ValueError("its members overlap")


def check_storage(name: str, tensor: Tensor) -> None:
    """A stride of zero makes a huge tensor of a few bytes."""
    if tensor.layout is torch.strided and tensor.numel() * tensor.element_size() > (
        tensor.untyped_storage().nbytes()
    ):
        raise ValueError(f"{name} is larger than its storage")


def tensors(content: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor in nested containers, with its place."""
    if isinstance(content, Tensor):
        yield name, content
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from tensors(value, f"{name}.{key}" if name else str(key))
    elif isinstance(content, list | tuple):
        for key, value in enumerate(content):
            yield from tensors(value, f"{name}.{key}")


def hash_of(module: nn.Module, digits: int = 12) -> str:
    """A hash in so many hexadecimal digits, which changes with any weight or its name."""
    total = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        total.update(name.encode())
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()[:digits]


def check_finite(state: Any, path: Path) -> None:
    """Refuse weights with which every answer would be nan.

    Raises:
        ValueError: naming the first such tensor; or what was given holds something else.
    """
    plain = isinstance(state, Mapping) and all(
        isinstance(name, str)
        and isinstance(tensor, Tensor)
        and tensor.layout is torch.strided
        and not (tensor.is_meta or tensor.is_quantized or tensor.is_complex())
        for name, tensor in state.items()
    )
    if not plain:
        raise ValueError(f"weights: {path} holds no table of tensors")
    for name, tensor in state.items():
        numbers = tensor.is_floating_point() and tensor.numel()
        if numbers and not torch.stack(tensor.float().aminmax()).isfinite().all():
            raise ValueError(
                f"weights: {name} in {path} holds numbers that are not finite; take an earlier "
                "checkpoint, or train again with a lower learning rate"
            )
