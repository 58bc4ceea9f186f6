"""Files that are there whole or not at all, whatever happens while they are written."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: Path, flush: bool = True) -> Iterator[BinaryIO]:
    """A stream whose bytes take the file's place at the end: written beside, flushed, renamed.

    Args:
        path: of the file.
        flush: to the disk, so that it is whole after a power cut too.

    Raises:
        OSError: the disk is full, say; what was there before is untouched, and nothing is left.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            if flush:
                os.fsync(file.fileno())
        part.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            part.unlink()
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a write that fails does not say where
        raise


def write_text(path: Path, text: str) -> None:
    """The file is the old one or the new one at any instant; see `replacing`."""
    with replacing(path) as file:
        file.write(text.encode())
