"""How much better than random features an arm's features are on validation, with an interval.

Each cell (a seed, a label draw, a fold) may have validation images of its own, so seeds and images
do not cross as they do on the test split. Seeds are the repetitions: draws and folds are averaged
within them. What varies between seeds is pooled over the arms of a task, the random encoder
included (two-way analysis of variance, arms x seeds), and Student's t of its freedom is its
quantile; an arm that varies beyond what the pool explains (F test) keeps its own variance and
freedom. Images that several seeds share add what their errors have in common; the two parts'
quantiles are combined, as statistics.py does. No interval is narrower than the sampling of its
images alone makes it.

K arms beside the random encoder, n seeds, M images of a cell, U images of all cells.
"""

from collections.abc import Iterable
from math import hypot, sqrt
from typing import NamedTuple

import numpy as np
from scipy.special import fdtri, ndtri, stdtrit

LEVEL = 0.95
ODD = 0.99  # level of the test for an arm that varies more than the pool

Cells = list[list[np.ndarray]]  # by seed and cell, M values each


class Gain(NamedTuple):
    """Accuracy above that of random features, a fraction, with its interval.

    Args:
        value: mean over seeds.
        low: end of the interval.
        high: the other.
        seeds: how many it rests on.
        images: different validation images that it rests on.
    """

    value: float
    low: float
    high: float
    seeds: int
    images: int


def gains(correct: dict[str, Cells], random: Cells, images: Cells) -> dict[str, Gain]:
    """The gain of each arm over the random encoder.

    Args:
        correct: of each arm, 1 where a validation image was right.
        random: the same of the random encoder.
        images: which image, or group of images that belong together, each value is of.

    Raises:
        ValueError: fewer than two seeds, which give no interval.
    """
    n = len(random)
    if n < 2:
        raise ValueError(f"gains: got {n} seeds, an interval needs two; run more")
    table = {arm: seed_means(cells) for arm, cells in correct.items()}
    base = seed_means(random)
    steady = {arm: means for arm, means in table.items() if not is_odd(arm, table, base)}
    intervals = {}
    for arm, cells in correct.items():
        spread = pooled_variance([table[arm]], base)
        if arm in steady:
            pooled = pooled_variance(steady.values(), base)
            spread = Spread(max(spread.variance, pooled.variance), pooled.freedom)
        intervals[arm] = _gain(differences(cells, random), images, spread)
    return intervals


class Spread(NamedTuple):
    """How much a gain varies between seeds.

    Args:
        variance: of one seed's gain.
        freedom: that it was estimated with.
    """

    variance: float
    freedom: int


def is_odd(arm: str, table: dict[str, list[float]], base: list[float]) -> bool:
    """Do an arm's seeds vary more than those of the others explain?"""
    others = [means for name, means in table.items() if name != arm]
    if not others:
        return False
    alone, rest = pooled_variance([table[arm]], base), pooled_variance(others, base)
    return bool(alone.variance > fdtri(alone.freedom, rest.freedom, ODD) * rest.variance)


def pooled_variance(arms: Iterable[list[float]], base: list[float]) -> Spread:
    """The interaction of arms and seeds, the random encoder being one of the arms."""
    table = np.array([*arms, base])  # K+1 n
    rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    return Spread(2 * (rest**2).sum().item() / freedom, freedom)


def seed_means(cells: Cells) -> list[float]:
    """The accuracy of each seed: the mean over its cells."""
    return [float(np.mean([values.mean() for values in seed])) for seed in cells]


def differences(first: Cells, second: Cells) -> Cells:
    """One arm minus another, image by image."""
    return [
        [a - b for a, b in zip(one, other, strict=True)]
        for one, other in zip(first, second, strict=True)
    ]


def _gain(gained: Cells, images: Cells, spread: Spread) -> Gain:
    """The gain of one arm."""
    n, means = len(gained), seed_means(gained)
    errors = image_errors(gained, images)  # n U
    crossed = (errors.sum(0) ** 2).sum() - (errors**2).sum()  # between seeds, over equal images
    common = max(crossed, 0.0) / (n * (n - 1))
    tail = (1 - LEVEL) / 2
    t, z = stdtrit(spread.freedom, tail), ndtri(tail)
    half = hypot(t * sqrt(spread.variance / n), z * sqrt(common))
    half = max(half, -z * sqrt((errors**2).sum()) / n)
    value = float(np.mean(means))
    return Gain(value, value - half, value + half, n, errors.shape[1])


def image_errors(gained: Cells, images: Cells) -> np.ndarray:
    """n U: how far each image moves each seed's mean; 0 where the seed did not see it."""
    names, column = np.unique(
        np.concatenate([cell for seed in images for cell in seed]), return_inverse=True
    )
    errors, start = np.zeros((len(gained), len(names))), 0
    for row, seed in enumerate(gained):
        for cell in seed:
            columns = column[start : start + len(cell)]
            np.add.at(errors[row], columns, (cell - cell.mean()) / (len(cell) * len(seed)))
            start += len(cell)
    return errors
