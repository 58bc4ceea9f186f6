"""Data sets that were published as arrays: CIFAR-100, SVHN, PatchCamelyon, dSprites, smallNORB."""

import gzip
import io
import math
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor
from torchvision.datasets import CIFAR100, SVHN

from vit.published.cifar import MOST, read_batches, read_foreign
from vit.published.npz import read_npz
from vit.published.order import Key
from vit.published.raw import Raw, png, reading

FOLDER = CIFAR100.base_folder


class Cifar(Raw):
    """CIFAR-100; the Python files hold the images in the order of the binary ones."""

    instructions = (
        "get cifar-100-python.tar.gz (md5 eb9058c3a382ffc7106e4002c42a8d85) and unpack it there"
    )
    archives = ((CIFAR100.url, CIFAR100.tgz_md5),)
    there = (FOLDER,)
    partial = "cifar-100-part.npz"  # some published rows, and `indices` that says which

    @cached_property
    def _train(self) -> tuple[Tensor, Tensor, dict[int, int]]:
        """Images, labels, and where each published row lies."""
        if (self.root / self.partial).is_file() and not (self.root / f"{FOLDER}/train").is_file():
            file = self.root / self.partial
            images, labels = read_foreign(file, "fine_labels")
            rows = read_npz(file, ("indices",), MOST)["indices"].tolist()
            return images, labels, {row: at for at, row in enumerate(rows)}
        files = tuple(map(tuple, CIFAR100.train_list))
        images, labels = read_batches(self.need(FOLDER), files, "fine_labels")
        return images, labels, {row: row for row in range(len(labels))}

    @cached_property
    def _test(self) -> tuple[Tensor, Tensor, dict[int, int]]:
        files = tuple(map(tuple, CIFAR100.test_list))
        images, labels = read_batches(self.need(FOLDER), files, "fine_labels")
        return images, labels, {row: row for row in range(len(labels))}

    def get(self) -> None:
        """Download the archive, unless some rows were put there by hand."""
        if not (self.root / self.partial).is_file():
            super().get()

    def keys(self, split: str) -> range:
        return range(50_000 if split == "train" else 10_000)

    def label(self, split: str, key: Key) -> int:
        _, labels, where = self._test if split == "test" else self._train
        return int(labels[where[key]])

    def image(self, split: str, key: Key) -> bytes:
        images, _, where = self._test if split == "test" else self._train
        if key not in where:
            raise ValueError(
                f"CIFAR: {self.root / self.partial} lacks row {key}; get the whole archive"
            )
        return png(images[where[key]].permute(1, 2, 0).numpy())


class Svhn(Raw):
    """Street View House Numbers, cropped."""

    instructions = (
        "get train_32x32.mat (md5 e26dedcc434d2e4c54c9b2d4a06d8373) and test_32x32.mat (md5 "
        "eb5a983be6a315427106f1b164d9cef3) from ufldl.stanford.edu/housenumbers"
    )
    archives = tuple((SVHN.split_list[s][0], SVHN.split_list[s][2]) for s in ("train", "test"))
    there = ("train_32x32.mat", "test_32x32.mat")

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.opened: dict[str, dict[str, Any]] = {}

    def _file(self, split: str) -> dict[str, Any]:
        from scipy.io import loadmat  # slow to load, and only needed here

        if split not in self.opened:
            content = self.pinned(f"{split}_32x32.mat")
            self.opened[split] = loadmat(io.BytesIO(content))
        return self.opened[split]

    def keys(self, split: str) -> range:
        return range(len(self._file(split)["y"]))

    def label(self, split: str, key: Key) -> int:
        return int(self._file(split)["y"][key, 0]) % 10  # the file says 10 for a nought

    def image(self, split: str, key: Key) -> bytes:
        return png(self._file(split)["X"][..., key])


class PatchCamelyon(Raw):
    """PatchCamelyon, 96x96 microscopy; tumour in the middle or not."""

    instructions = (
        "get camelyonpatch_level_2_split_{train,valid,test}_{x,y}.h5.gz from zenodo.org/records/"
        "2546921 and unpack them there (gunzip)"
    )
    names: ClassVar[dict[str, str]] = {"train": "train", "validation": "valid", "test": "test"}

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.opened: dict[tuple[str, str], object] = {}

    def _values(self, split: str, what: str) -> Any:
        """An h5py.Dataset, of which rows are read as they are asked for."""
        if (split, what) not in self.opened:
            name = f"camelyonpatch_level_2_split_{self.names[split]}_{what}.h5"
            shape = (96, 96, 3) if what == "x" else (1, 1, 1)
            self.opened[split, what] = plain_array(self.need(name), what, shape)
        return self.opened[split, what]

    def keys(self, split: str) -> list[str]:
        return [f"{self.names[split]}_{i}" for i in range(len(self._values(split, "y")))]

    def label(self, split: str, key: Key) -> int:
        return int(self._values(split, "y")[row_number(key)].item())

    def image(self, split: str, key: Key) -> bytes:
        with reading(self.need(f"camelyonpatch_level_2_split_{self.names[split]}_x.h5")):
            return png(self._values(split, "x")[row_number(key)])


def plain_array(path: Path, name: str, shape: tuple[int, ...]) -> Any:
    """An h5py.Dataset of uint8 rows that lies in this very file.

    HDF5 can point to other files, by links, external storage and virtual layouts: none is followed.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError("patch_camelyon: .h5 files need pip install -e '.[vtab]'") from error
    with reading(path):
        file = h5py.File(path, "r")
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} is not there, or a link to elsewhere")
        array = file[name]
        if not isinstance(array, h5py.Dataset) or array.external or array.is_virtual:
            raise ValueError(f"{name} is no array of this file")
        if array.dtype != np.uint8 or array.shape[1:] != shape:
            raise ValueError(f"{name} is {array.dtype} {array.shape}, published is uint8 {shape}")
    return array


def row_number(key: Key) -> int:
    """`train_17` is row 17."""
    return int(str(key).rpartition("_")[2])


class DSprites(Raw):
    """dSprites: 737,280 masks of 64x64; the label follows from the row's number.

    Factors, last fastest: shape 3, scale 6, orientation 40, x 32, y 32.

    Args:
        root: folder of the file.
        what: orientation or x.
    """

    instructions = (
        "get dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz from github.com/google-deepmind/"
        "dsprites-dataset"
    )

    def __init__(self, root: Path, what: str) -> None:
        super().__init__(root)
        self.what = what

    @cached_property
    def _images(self) -> np.ndarray:
        path = self.need("dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz")
        return read_npz(path, ("imgs",), 737_280 * 4096 + 1024)["imgs"]  # its pickles stay closed

    def keys(self, split: str) -> range:
        return range(737_280)

    def label(self, split: str, key: Key) -> int:
        if self.what == "x":
            return (key // 32) % 32 // 2
        return int(((key // 1024) % 40) // 2.5)

    def image(self, split: str, key: Key) -> bytes:
        return png(self._images[key] * np.uint8(255))


class SmallNorb(Raw):
    """smallNORB: 96x96 grey pairs of toys; the first camera's image.

    Args:
        root: folder of the files.
        what: azimuth or elevation.
    """

    instructions = (
        "get smallnorb-5x46789x9x18x6x2x96x96-training-{dat,info}.mat.gz and smallnorb-"
        "5x01235x9x18x6x2x96x96-testing-{dat,info}.mat.gz from cs.nyu.edu/~ylclab/data/"
        "norb-v1.0-small"
    )
    names: ClassVar[dict[str, str]] = {
        "train": "smallnorb-5x46789x9x18x6x2x96x96-training",
        "test": "smallnorb-5x01235x9x18x6x2x96x96-testing",
    }

    def __init__(self, root: Path, what: str) -> None:
        super().__init__(root)
        self.what = what
        self.opened: dict[str, np.ndarray] = {}

    def _values(self, split: str, what: str) -> np.ndarray:
        name = f"{self.names[split]}-{what}.mat"
        if name not in self.opened:
            self.opened[name] = read_matrix(self.need(name, f"{name}.gz"))
        return self.opened[name]

    def keys(self, split: str) -> range:
        return range(len(self._values(split, "info")))

    def label(self, split: str, key: Key) -> int:
        instance, elevation, azimuth, lighting = self._values(split, "info")[key].tolist()
        del instance, lighting
        return azimuth // 2 if self.what == "azimuth" else elevation

    def image(self, split: str, key: Key) -> bytes:
        return png(self._values(split, "dat")[key, 0])


LARGEST = 2**29  # values of a matrix; the published ones have up to 448 million
MATRICES = {0x1E3D4C55: np.dtype("u1"), 0x1E3D4C54: np.dtype("<i4")}


def read_matrix(path: Path) -> np.ndarray:
    """A file of NORB: the number of its type, how many dimensions, at least three sizes, data.

    Raises:
        ValueError: it is another format, cut off, or larger than its sizes say.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    with reading(path, EOFError, zlib.error), opened(path, "rb") as file:
        kind, count = np.frombuffer(file.read(8), "<i4").tolist()
        if kind not in MATRICES or not 1 <= count <= 4:
            raise ValueError("it is no matrix of NORB's format")
        sizes = np.frombuffer(file.read(4 * max(count, 3)), "<i4")[:count].tolist()
        values = math.prod(sizes)
        if not 0 <= values <= LARGEST or min(sizes) < 0:
            raise ValueError(f"its sizes are {sizes}")
        body = np.frombuffer(file.read(values * MATRICES[kind].itemsize + 1), MATRICES[kind])
        if len(body) != values:
            raise ValueError(f"it is cut off: {len(body)} of {values} values")
        return body.reshape(sizes)
