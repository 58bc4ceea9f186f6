"""Digits: 1,797 handwritten digits of 8x8 grey pixels, 10 classes, inside scikit-learn.

Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI repository, 1998 (its test
part). The test split is 360 images, stratified, fixed for everybody; validation is carved from the
other 1,437 in the same way. No seed of a run moves either.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from vit.batch import DataSpec
from vit.data.base import Images, InMemory, Split


@cache
def _source() -> tuple[Tensor, Tensor]:
    """All images, N 1 8 8 uint8 (the file's 0-16 spread over 0-255), and labels."""
    from sklearn.datasets import load_digits  # slow to load, and only needed here

    digits = load_digits()
    pixels = torch.from_numpy(digits.images * 255 / 16).round().to(torch.uint8)
    return pixels[:, None], torch.from_numpy(digits.target).long()


@cache
def _indices(val_share: float) -> dict[str, list[int]]:
    from sklearn.model_selection import train_test_split

    labels = _source()[1].tolist()
    rest, test = train_test_split(
        range(len(labels)), test_size=0.2, stratify=labels, random_state=0
    )
    train, val = train_test_split(
        rest, test_size=val_share, stratify=[labels[i] for i in rest], random_state=0
    )
    return {"train": train, "val": val, "test": test}


class Digits(Images):
    """scikit-learn's handwritten digits: real images, no download.

    Args:
        val_share: share of the 1,437 training images kept for validation, in (0, 0.5].
        loading: batch sizes, workers, augmentation, image size: see Images.
    """

    def __init__(self, val_share: float = 0.1, **loading: Any) -> None:
        super().__init__(**loading)
        if not 0 < val_share <= 0.5:
            raise ValueError(f"Digits: val_share must be in (0, 0.5], got {val_share}")
        self.val_share = val_share
        self.spec = DataSpec(
            classes=tuple("0123456789"),
            image_size=(self.image_size or 8,) * 2,
            channels=1,
            mean=(0.5,),
            std=(0.5,),
            counts={split: len(indices) for split, indices in self.split_indices().items()},
        )

    def split_indices(self) -> dict[str, list[int]]:
        """Numbers into scikit-learn's order."""
        return {split: list(places) for split, places in _indices(self.val_share).items()}

    def open(self, split: Split) -> InMemory:
        """The samples of a split."""
        images, labels = _source()
        places = torch.tensor(self.split_indices()[split])
        return InMemory(images[places], labels[places])
