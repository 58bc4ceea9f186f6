"""Precision, recall and F1 of each class, from three counts.

L classes.
"""

from typing import NamedTuple

from jaxtyping import Int
from torch import Tensor


class ClassScore(NamedTuple):
    """What became of one class; fractions are nan where there is nothing to divide by.

    Args:
        name: the class.
        images: that have the label.
        guessed: that were taken for it.
        right: both.
        precision: right / guessed.
        recall: right / images.
        f1: the harmonic mean of the two.
    """

    name: str
    images: int
    guessed: int
    right: int
    precision: float
    recall: float
    f1: float


def per_class(classes: tuple[str, ...], counts: Int[Tensor, "3 L"]) -> list[ClassScore]:
    """The score of each class, in the order of the classes.

    Args:
        classes: their names.
        counts: right, images and guessed of each.
    """
    scores = []
    for name, (right, images, guessed) in zip(classes, counts.T.tolist(), strict=True):
        ratios = (
            ratio(right, guessed),
            ratio(right, images),
            ratio(2 * right, images + guessed),
        )
        scores.append(ClassScore(name, images, guessed, right, *ratios))
    return scores


def ratio(part: int, whole: int) -> float:
    """A fraction; nan of nothing."""
    return part / whole if whole else float("nan")


def worst(scores: list[ClassScore], most: int) -> list[ClassScore]:
    """The classes with the lowest F1 among those that have images, the lowest first."""
    present = [score for score in scores if score.images]
    return sorted(present, key=lambda score: score.f1)[:most]
