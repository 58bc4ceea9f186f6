"""NumPy's .npz as data: numbers of the promised sizes, never a pickle."""

import zipfile
from pathlib import Path

import numpy as np


def read_npz(path: Path, names: tuple[str, ...], most: int) -> dict[str, np.ndarray]:
    """Some arrays of a file; the others stay closed.

    Args:
        path: of the file.
        names: of the arrays.
        most: bytes that they may unpack to, together.

    Raises:
        ValueError: it is another file, damaged, larger, or an array holds anything but numbers.
    """
    try:
        with zipfile.ZipFile(path) as parts:
            sizes = [parts.getinfo(f"{name}.npy").file_size for name in names]
        if sum(sizes) > most:
            raise ValueError(f"it unpacks to {sum(sizes):,} bytes, more than {most:,}")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in names}
        for name, array in arrays.items():
            if array.dtype.kind not in "iub":
                raise ValueError(f"{name} holds {array.dtype}, no whole numbers")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, MemoryError) as error:
        raise ValueError(
            f"{path} is no .npz with arrays {' and '.join(names)}, or damaged ({error}); write it "
            "with numpy.savez"
        ) from error
    return arrays
