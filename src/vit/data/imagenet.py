"""ImageNet-1k, and ImageNet-21k as folders: the published split and the paper's hold-out.

Russakovsky et al., arXiv:1409.0575. The hold-out is train[99%:] in the order of TensorFlow Datasets
(google-research/vision_transformer, vit_jax/configs/common.py): 12,812 of 1,281,167 images.
"""

import base64
import json
import os
import re
import zlib
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from vit.batch import DataSpec
from vit.data.base import Split
from vit.data.file_images import FileImages
from vit.data.files import Files, Folder
from vit.published.decode import SUFFIXES
from vit.published.order import part_of, published_order
from vit.published.raw import reading

REAL = "real.json"
LABELS = Path(__file__).with_name("imagenet_val_labels.json")
NORMALISATIONS = {  # means and deviations of R, G, B
    "half": ((0.5,) * 3, (0.5,) * 3),
    "own": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
HOMES = ("", "ILSVRC/Data/CLS-LOC")  # the second: as Kaggle packs it


class ImageNet(FileImages):
    """ImageNet-1k, or some of its classes.

    Where they lie in root, `test` also reports top-1 by the reassessed labels (real.json; Beyer et
    al., arXiv:2006.07159: an image counts as right with any of its labels, those with none count
    nowhere) and on ImageNet-V2 (imagenetv2-*-format-val; Recht et al., arXiv:1902.10811).

    Args:
        root: folder with train/<wnid>/*.JPEG, and val/<wnid>/*.JPEG or all 50,000 in val/.
        whole: train on the hold-out too, for the one final run, as the paper's figures; validation
            is then part of the training.
        normalisation: half: pixels lie in [-1, 1], as in the ViT paper's code; own: by mean and
            deviation of ImageNet's colours, as DeiT, MAE, SimMIM, DINO and iBOT.
        loading: sizes, crops, unreadable files, few labels: see FileImages.
    """

    def __init__(
        self,
        root: str = "data/imagenet",
        whole: bool = False,
        normalisation: Literal["half", "own"] = "half",
        **loading: Any,
    ) -> None:
        super().__init__(**loading)
        self.root, self.whole = Path(root).resolve(), whole
        self.notes = ("validation is trained on: choose nothing by it",) if whole else ()
        classes = list_imagenet(self.root)[2]
        all_classes = len(classes) == 1000  # other test sets number all of them
        self.sets = imagenet_v2(self.root) if all_classes else {}
        self.others = tuple(self.sets)
        has_real = all_classes and (self.root / REAL).is_file()
        self.real = read_real(self.root / REAL) if has_real else None
        counts = {split: len(places) for split, places in self.split_indices().items()}
        self.spec = DataSpec(
            classes, (self.image_size,) * 2, 3, *NORMALISATIONS[normalisation], counts=counts
        )

    def files(self) -> tuple[Folder, list[int]]:
        """Training images in the published order, then the published validation images."""
        return list_imagenet(self.root)[:2]

    def split_indices(self) -> dict[str, list[int]]:
        """The hold-out is validation; the published validation images are what is tested."""
        source, labels, _, count = list_imagenet(self.root)
        train, test = list(range(count)), list(range(count, len(source)))
        first, held = part_of(train, "train[:99%]"), part_of(train, "train[99%:]")
        return {
            "train": self.few(train if self.whole else first, labels),
            "val": held,
            "test": test,
        }

    def open(self, split: Split) -> Files:
        """The samples of a split, or of another test set."""
        if split not in self.sets:
            dataset = super().open(split)
            if split == "test" and self.real is not None:
                numbers = [number_of(dataset.source.name(i)) for i in dataset.places.tolist()]
                dataset.accepted = self.real[torch.tensor(numbers)]
            return dataset
        folder = Folder(self.sets[split], files_by_number(self.sets[split]))
        labels = [int(folder.name(i).split("/")[0]) for i in range(len(folder))]
        return Files(folder, torch.arange(len(folder)), torch.tensor(labels), [])


class ImageNet21k(FileImages):
    """ImageNet-21k: a folder per class and no published split.

    The processed release 21k-P (Ridnik et al., arXiv:2104.10972) keeps classes with more than 500
    images and tests on the first 50 of each; unpacked into train and val, it is read by ImageNet.

    Args:
        root: folder with <wnid>/*.JPEG.
        least: only classes with more images; 500 are those of 21k-P.
        tested: so many of each class, the first by name, are the test split; 0: there is none.
        loading: sizes, crops, unreadable files, few labels: see FileImages.
    """

    def __init__(
        self, root: str = "data/imagenet21k", least: int = 500, tested: int = 50, **loading: Any
    ) -> None:
        super().__init__(**loading)
        if not 0 <= tested <= least:
            raise ValueError(
                f"ImageNet21k: tested must be at least 0 and at most least, got {tested} of {least}"
            )
        self.root, self.kept = Path(root).resolve(), (least, tested)
        counts = {split: len(places) for split, places in self.split_indices().items()}
        classes = list_imagenet21k(self.root, *self.kept)[2]
        self.spec = DataSpec(
            classes, (self.image_size,) * 2, 3, (0.5,) * 3, (0.5,) * 3, counts=counts
        )

    def files(self) -> tuple[Folder, list[int]]:
        """Training images in the order of their hashes, then what is tested."""
        return list_imagenet21k(self.root, *self.kept)[:2]

    def split_indices(self) -> dict[str, list[int]]:
        """A hundredth of the training images is validation."""
        source, labels, _, count = list_imagenet21k(self.root, *self.kept)
        train, test = list(range(count)), list(range(count, len(source)))
        first, held = part_of(train, "train[:99%]"), part_of(train, "train[99%:]")
        return {"train": self.few(first, labels), "val": held, "test": test}


@cache
def list_imagenet21k(
    root: Path, least: int, tested: int
) -> tuple[Folder, list[int], tuple[str, ...], int]:
    """Files, labels, the classes' names, how many files are for training."""
    if not root.is_dir():
        raise FileNotFoundError(
            f"ImageNet21k: {root} is not there; get the archives of fall11 or winter21 from "
            "image-net.org (it needs an account) and unpack each into a folder of its name"
        )
    files = {e.name: image_names(Path(e.path)) for e in os.scandir(root) if e.is_dir()}
    classes = tuple(sorted(name for name, names in files.items() if len(names) > least))
    if not classes:
        raise FileNotFoundError(
            f"ImageNet21k: no folder of {root} holds more than {least} images; "
            "unpack more archives there, or lower data.least"
        )
    number = {name: i for i, name in enumerate(classes)}
    train = published_order((f"{c}/{n}" for c in classes for n in files[c][tested:]), "train")
    test = [f"{c}/{n}" for c in classes for n in files[c][:tested]]
    labels = [number[name.split("/")[0]] for name in (*train, *test)]
    return Folder(root, [*train, *test]), labels, classes, len(train)


@cache
def list_imagenet(root: Path) -> tuple[Folder, list[int], tuple[str, ...], int]:
    """Files, labels, the classes' names (WordNet's numbers, sorted), how many are for training.

    Raises:
        FileNotFoundError: there is no train or no val.
        ValueError: a flat val needs all 1,000 classes.
    """
    home = next((root / h for h in HOMES if (root / h / "train").is_dir()), None)
    if home is None or not (home / "val").is_dir():
        raise FileNotFoundError(
            f"ImageNet: {root} holds no train and val; get ILSVRC2012 from image-net.org (it "
            "needs an account) and unpack train by class"
        )
    classes = tuple(sorted(entry.name for entry in os.scandir(home / "train") if entry.is_dir()))
    number = {name: i for i, name in enumerate(classes)}
    names = {name: wnid for wnid in classes for name in image_names(home / "train" / wnid)}
    train = published_order(names, "train")
    rows = [(f"train/{names[name]}/{name}", number[names[name]]) for name in train]
    rows += validation_rows(home / "val", number)
    source = Folder(home, [name for name, _ in rows])
    return source, [label for _, label in rows], classes, len(train)


def validation_rows(folder: Path, number: dict[str, int]) -> list[tuple[str, int]]:
    """Name and label of the published validation images, by class or flat."""
    flat = image_names(folder)
    if not flat:
        by_class = {wnid: image_names(folder / wnid) for wnid in sorted(number)}
        return [
            (f"val/{wnid}/{name}", number[wnid]) for wnid in by_class for name in by_class[wnid]
        ]
    if len(number) != 1000:
        raise ValueError(
            f"ImageNet: {folder} is not sorted into classes; that needs all 1,000 classes below "
            f"train, there are {len(number)}; sort it, or put all classes there"
        )
    labels = published_labels()
    return [(f"val/./{name}", int(labels[number_of(name)])) for name in flat]


def image_names(folder: Path) -> list[str]:
    """Names of image files, sorted; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(e.name for e in os.scandir(folder) if Path(e.name).suffix.lower() in SUFFIXES)


def number_of(name: str) -> int:
    """The number in the name of a published validation image: ILSVRC2012_val_00000001.JPEG is 0."""
    number = re.search(r"_(\d{8})\.", name)
    if number is None or not 1 <= int(number[1]) <= 50_000:
        raise ValueError(
            f"ImageNet: {name} is no name of the published validation images; remove it"
        )
    return int(number[1]) - 1


@cache
def read_real(file: Path) -> Bool[Tensor, "50000 1000"]:
    """Which labels are right for each validation image; none for 3,163 of them.

    Raises:
        ValueError: it is another file.
    """
    with reading(file):
        rows = json.loads(file.read_text())
        if len(rows) != len(published_labels()):
            raise ValueError(f"it holds {len(rows):,} lists instead of 50,000")
        table = torch.zeros(len(rows), 1000, dtype=torch.bool)
        for number, labels in enumerate(rows):
            if min(labels, default=0) < 0:
                raise ValueError(f"list {number} holds {min(labels)}")
            table[number, labels] = True
    return table


def imagenet_v2(root: Path) -> dict[str, Path]:
    """The sets of ImageNet-V2 that are there: v2_matched_frequency, v2_threshold0.7, ..."""
    paths = sorted(root.glob("imagenetv2-*-format-val")) if root.is_dir() else []
    return {f"v2_{'_'.join(path.name.split('-')[1:-2])}": path for path in paths}


@cache
def files_by_number(folder: Path) -> list[str]:
    """Files of folders that are called 0 to 999, by number: as text 10 would come before 2."""
    names = [entry.name for entry in os.scandir(folder) if entry.is_dir()]
    odd = [name for name in names if not (name.isdecimal() and int(name) < 1000)]
    if odd:
        raise ValueError(f"ImageNet: {folder} holds {odd[0]}; its folders are called 0 to 999")
    names.sort(key=int)
    return [f"{name}/{file}" for name in names for file in image_names(folder / name)]


@cache
def published_labels() -> np.ndarray:
    """The class of ILSVRC2012_val_00000001 to 50000: its place among the sorted 1,000."""
    facts = json.loads(LABELS.read_text())
    return np.frombuffer(zlib.decompress(base64.b64decode(facts["zlib_base64"])), "<u2")
