"""CIFAR-10 and CIFAR-100: 50,000 training and 10,000 test images of 32x32 px, 163 and 161 MB.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. Files lie as torchvision
puts them (data/cifar-10-batches-py) and are downloaded if absent. Validation is 5,000 of the
training images, stratified, drawn once; only `test` opens the test split.
"""

import tarfile
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchvision.datasets import CIFAR10 as Published10
from torchvision.datasets import CIFAR100 as Published100

from vit.batch import DataSpec
from vit.data.base import Images, Split
from vit.data.in_memory import InMemory
from vit.data.splits import carve
from vit.published.cifar import read_batches, read_foreign
from vit.published.download import fetch, md5_of

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


class CIFAR10(Images):
    """CIFAR-10, in memory.

    Args:
        root: folder that holds, or will hold, torchvision's layout.
        train_images: use only so many training images, evenly over the classes; smaller choices
            are subsets of larger ones. null: all 45,000, or nine tenths of the chosen classes.
        classes: use only these published class numbers; null: all.
        train_file: read training images from this .npz (`data` and `labels`) instead; it must hold
            every published image of the classes.
        whole: train on validation too, for the one final run, as published figures.
        loading: batch sizes, workers, augmentation, image size, few labels: see Images.
    """

    published: ClassVar[Any] = Published10
    names: ClassVar[tuple[str, ...]] = CLASSES10
    label_key: ClassVar[str] = "labels"
    mean: ClassVar[tuple[float, ...]] = (0.4914, 0.4822, 0.4465)  # of the training images; tested
    std: ClassVar[tuple[float, ...]] = (0.2470, 0.2435, 0.2616)
    redraws = True

    def __init__(
        self,
        root: str = "data",
        train_images: int | None = None,
        classes: list[int] | None = None,
        train_file: str | None = None,
        whole: bool = False,
        **loading: Any,
    ) -> None:
        super().__init__(**loading)
        if whole and train_images is not None:
            raise ValueError("CIFAR: whole is all training images; give no train_images")
        self.whole = whole
        self.notes = ("validation is trained on: choose nothing by it",) if whole else ()
        every = range(len(self.names))
        chosen = list(every) if classes is None else classes
        if len(chosen) < 2 or sorted(set(chosen)) != chosen or not set(chosen) <= set(every):
            raise ValueError(
                f"CIFAR: classes must be rising numbers from 0 to {len(every) - 1}, got {classes}"
            )
        fraction = len(chosen) / len(every)
        if train_images is not None and not 1 <= train_images <= round(45_000 * fraction):
            raise ValueError(
                f"CIFAR: train_images must be in [1, {round(45_000 * fraction)}], "
                f"got {train_images}"
            )
        self.root = Path(root)
        self.train_images = train_images
        self.chosen = chosen
        self.train_file = Path(train_file) if train_file else None
        few = self.labels_per_class and self.labels_per_class * len(chosen)
        counts = {
            "train": few or train_images or round((50_000 if whole else 45_000) * fraction),
            "val": round(5_000 * fraction),
            "test": round(10_000 * fraction),
        }
        self.spec = DataSpec(
            classes=tuple(self.names[i] for i in chosen),
            image_size=(self.image_size or 32,) * 2,
            channels=3,
            mean=self.mean,
            std=self.std,
            counts=counts,
        )

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
        if split != "test" and self.train_file:
            images, labels = _foreign(self.train_file.resolve(), self.label_key)
            self._check_counts(labels)
            return images, labels
        files = self.published.test_list if split == "test" else self.published.train_list
        folder = self.root / self.published.base_folder
        return read_batches(folder.resolve(), tuple(map(tuple, files)), self.label_key)

    def _check_counts(self, labels: Tensor) -> None:
        full = 50_000 // len(self.names)
        for number in self.chosen:
            count = int((labels == number).sum())
            if count != full:
                raise ValueError(
                    f"CIFAR: {self.train_file} holds {count} images of class {number} "
                    f"({self.names[number]}), published are {full}; choose other classes"
                )

    def split_indices(self) -> dict[str, list[int]]:
        """Numbers into the published training and test files' order (or into `train_file`)."""
        labels = self._published("train")[1].tolist()
        if self.chosen == list(range(len(self.names))):
            train, val = _carved(tuple(labels), 5_000, self.val_draw)
            test = list(range(10_000))
        else:
            kept = set(self.chosen)
            members = [i for i, label in enumerate(labels) if label in kept]
            parts = _carved(tuple(labels[i] for i in members), 0.1, self.val_draw)
            train, val = ([members[i] for i in part] for part in parts)
            tested = self._published("test")[1].tolist()
            test = [i for i, label in enumerate(tested) if label in kept]
        train = train + val if self.whole else train[: self.train_images]
        return {"train": self.few(train, labels), "val": val, "test": test}

    def open(self, split: Split) -> InMemory:
        """The samples of a split; a label is a place in the chosen classes."""
        images, labels = self._published(split)
        if split != "test" or len(self.chosen) < len(self.names):
            places = torch.tensor(self.split_indices()[split])
            images, labels = images.index_select(0, places), labels[places]
        return InMemory(images, torch.searchsorted(torch.tensor(self.chosen), labels))


@cache
def _carved(
    labels: tuple[int, ...], held_out: int | float, draw: int
) -> tuple[list[int], list[int]]:
    return carve(list(labels), held_out, draw)


@cache
def _foreign(file: Path, key: str) -> tuple[Tensor, Tensor]:
    return read_foreign(file, key)


class CIFAR100(CIFAR10):
    """CIFAR-100 with its 100 fine classes, in memory.

    Args:
        root: folder that holds, or will hold, torchvision's layout.
        train_images: as in CIFAR10.
        classes: as in CIFAR10.
        train_file: as in CIFAR10; its labels are `fine_labels`.
        whole: as in CIFAR10.
        loading: batch sizes, workers, augmentation, image size, few labels: see Images.
    """

    published: ClassVar[Any] = Published100
    names: ClassVar[tuple[str, ...]] = CLASSES100
    label_key: ClassVar[str] = "fine_labels"
    mean: ClassVar[tuple[float, ...]] = (0.5071, 0.4865, 0.4409)
    std: ClassVar[tuple[float, ...]] = (0.2673, 0.2564, 0.2762)
