"""Digits: 1,797 handwritten digits of 8x8 grey pixels, 10 classes, inside scikit-learn.

Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI repository, 1998 (its test
part). The test split is 360 images, stratified, fixed for everybody; validation is carved from the
other 1,437 in the same way. No seed of a run moves either, and choosing classes moves no image
from one split to another.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from vit.batch import DataSpec
from vit.data.base import Images, Split
from vit.data.cluttered import cluttered
from vit.data.in_memory import InMemory


@cache
def _source(canvas: int | None, clutter: int) -> tuple[Tensor, Tensor]:
    """All images, N 1 H W uint8 (the file's 0-16 spread over 0-255), and labels."""
    from sklearn.datasets import load_digits  # slow to load, and only needed here

    digits = load_digits()
    pixels = torch.from_numpy(digits.images * 255 / 16).round().to(torch.uint8)[:, None]
    pixels = pixels if canvas is None else cluttered(pixels, canvas, clutter)
    return pixels, torch.from_numpy(digits.target).long()


@cache
def _indices(test_fraction: float, val_fraction: float, draw: int) -> dict[str, list[int]]:
    from sklearn.model_selection import train_test_split

    labels = _source(None, 0)[1].tolist()
    rest, test = train_test_split(
        range(len(labels)), test_size=test_fraction, stratify=labels, random_state=0
    )
    train, val = train_test_split(
        rest, test_size=val_fraction, stratify=[labels[i] for i in rest], random_state=draw
    )
    return {"train": train, "val": val, "test": test}


class Digits(Images):
    """scikit-learn's handwritten digits: real images, no download.

    Args:
        val_fraction: fraction of the training images kept for validation, in (0, 0.5].
        test_fraction: fraction of all images kept for the test, in (0, 0.8].
        classes: use only these digits; null: all ten.
        canvas: place each digit, 10 to 14 px high, somewhere on a dark square of so many pixels
            (at least 14); the place follows from the digit's number. null: the 8x8 pixels.
        clutter: 4x4 pieces of other digits on the canvas.
        loading: batch sizes, workers, augmentation, image size, few labels: see Images.
    """

    redraws = True

    def __init__(
        self,
        val_fraction: float = 0.1,
        test_fraction: float = 0.2,
        classes: list[int] | None = None,
        canvas: int | None = None,
        clutter: int = 0,
        **loading: Any,
    ) -> None:
        super().__init__(**loading)
        for name, fraction, most in (
            ("val_fraction", val_fraction, 0.5),
            ("test_fraction", test_fraction, 0.8),
        ):
            if not 0 < fraction <= most:
                raise ValueError(f"Digits: {name} must be in (0, {most}], got {fraction}")
        if classes is not None and not (
            len(classes) > 1 and sorted(set(classes)) == classes and set(classes) <= set(range(10))
        ):
            raise ValueError(f"Digits: classes must be rising numbers from 0 to 9, got {classes}")
        if clutter < 0 or (clutter and canvas is None):
            raise ValueError(f"Digits: clutter needs a canvas and counts from 0, got {clutter}")
        self.fractions = (test_fraction, val_fraction)
        self.source = (canvas, clutter)
        self.classes = tuple(range(10)) if classes is None else tuple(classes)
        self.spec = DataSpec(
            classes=tuple(map(str, self.classes)),
            image_size=(self.image_size or canvas or 8,) * 2,
            channels=1,
            mean=(0.5,),
            std=(0.5,),
            counts={split: len(indices) for split, indices in self.split_indices().items()},
        )

    def split_indices(self) -> dict[str, list[int]]:
        """Numbers into scikit-learn's order."""
        labels = _source(*self.source)[1].tolist()
        kept = {
            split: [i for i in places if labels[i] in self.classes]
            for split, places in _indices(*self.fractions, self.val_draw).items()
        }
        return kept | {"train": self.few(kept["train"], labels)}

    def open(self, split: Split) -> InMemory:
        """The samples of a split."""
        images, digits = _source(*self.source)
        places = torch.tensor(self.split_indices()[split])
        return InMemory(
            images[places], torch.searchsorted(torch.tensor(self.classes), digits[places])
        )
