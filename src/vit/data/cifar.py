"""CIFAR-10 and CIFAR-100: 50,000 training and 10,000 test images of 32x32 px, 163 and 161 MB.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. Files lie as torchvision
puts them (data/cifar-10-batches-py) and are downloaded if absent. Validation is 5,000 of the
training images, stratified, drawn once; only `test` opens the test split.
"""

import pickle
import tarfile
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import CIFAR10 as Published10
from torchvision.datasets import CIFAR100 as Published100

from vit.batch import DataSpec
from vit.data.base import Images, InMemory, Split
from vit.data.download import fetch, md5_of
from vit.data.splits import carve

CLASSES10 = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())
CLASSES100 = tuple(
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus "
    "butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch "
    "crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house "
    "kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle "
    "mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree "
    "plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark "
    "shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table "
    "tank telephone television tiger tractor train trout tulip turtle wardrobe whale "
    "willow_tree wolf woman worm".split()
)


@cache
def read(folder: Path, files: tuple[tuple[str, str], ...], key: str) -> tuple[Tensor, Tensor]:
    """Images (N 3 32 32, uint8) and labels of the published batches, once each md5 is right."""
    images, labels = [], []
    for name, md5 in files:
        found = md5_of(folder / name) if (folder / name).is_file() else "missing"
        if found != md5:
            raise FileNotFoundError(
                f"CIFAR: {folder / name} is missing or damaged (md5 {found}, expected {md5}); "
                "remove the folder to download it again, or put the file there"
            )
        with (folder / name).open("rb") as file:
            batch = pickle.load(file, encoding="latin1")  # known bytes: the md5 was checked
        images.append(batch["data"].reshape(-1, 3, 32, 32))
        labels += batch[key]
    return torch.from_numpy(np.concatenate(images)), torch.tensor(labels)


class CIFAR10(Images):
    """CIFAR-10, in memory.

    Args:
        root: folder that holds, or will hold, torchvision's layout.
        train_images: use only so many training images, evenly over the classes; smaller choices
            are subsets of larger ones. null: all 45,000.
        loading: batch sizes, workers, augmentation, image size: see Images.
    """

    published: ClassVar[Any] = Published10
    classes: ClassVar[tuple[str, ...]] = CLASSES10
    label_key: ClassVar[str] = "labels"
    mean: ClassVar[tuple[float, ...]] = (0.4914, 0.4822, 0.4465)  # of the training images; tested
    std: ClassVar[tuple[float, ...]] = (0.2470, 0.2435, 0.2616)

    def __init__(self, root: str = "data", train_images: int | None = None, **loading: Any) -> None:
        super().__init__(**loading)
        if train_images is not None and not 1 <= train_images <= 45_000:
            raise ValueError(f"CIFAR: train_images must be in [1, 45000], got {train_images}")
        self.root, self.train_images = Path(root), train_images
        self.spec = DataSpec(
            self.classes, (self.image_size or 32,) * 2, 3, self.mean, self.std,
            counts={"train": self._train_count(), "val": 5_000, "test": 10_000},
        )  # fmt: skip

    def _train_count(self) -> int:
        """Known before the download."""
        if self.labels_per_class is not None:
            return self.labels_per_class * len(self.classes)
        return self.train_images or 45_000

    def prepare_data(self) -> None:
        """Download and unpack, if the folder is absent; one process does it."""
        source = self.published
        if (self.root / source.base_folder).is_dir():
            return
        archive = self.root / source.filename
        if not archive.is_file() or md5_of(archive) != source.tgz_md5:
            fetch(source.url, archive, source.tgz_md5)
        with tarfile.open(archive) as tar:
            tar.extractall(self.root, filter="data")

    def _published(self, split: Split) -> tuple[Tensor, Tensor]:
        files = self.published.test_list if split == "test" else self.published.train_list
        folder = self.root / self.published.base_folder
        return read(folder.resolve(), tuple(map(tuple, files)), self.label_key)

    def split_indices(self) -> dict[str, list[int]]:
        """Numbers into the published training and test files' order."""
        labels = self._published("train")[1].tolist()
        train, val = _carved(tuple(labels))
        train = self.few(train[: self.train_images], labels)
        return {"train": train, "val": val, "test": list(range(10_000))}

    def open(self, split: Split) -> InMemory:
        """The samples of a split."""
        images, labels = self._published(split)
        if split == "test":
            return InMemory(images, labels)
        places = torch.tensor(self.split_indices()[split])
        return InMemory(images.index_select(0, places), labels[places])


@cache
def _carved(labels: tuple[int, ...]) -> tuple[list[int], list[int]]:
    return carve(list(labels), 5_000)


class CIFAR100(CIFAR10):
    """CIFAR-100 with its 100 fine classes, in memory.

    Args:
        root: folder that holds, or will hold, torchvision's layout.
        train_images: as in CIFAR10.
        loading: batch sizes, workers, augmentation, image size: see Images.
    """

    published: ClassVar[Any] = Published100
    classes: ClassVar[tuple[str, ...]] = CLASSES100
    label_key: ClassVar[str] = "fine_labels"
    mean: ClassVar[tuple[float, ...]] = (0.5071, 0.4865, 0.4409)
    std: ClassVar[tuple[float, ...]] = (0.2673, 0.2564, 0.2762)
