"""What a study of a given size can see, and which of its numbers is worth doubling.

The power of `statistics.compare_arms` by its own formulas: the mean squares of seeds follow
chi-squared distributions, over which it averages. n seeds, d label draws of each, m images.
"""

from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaincinv, ndtr, ndtri, owens_t, stdtrit

QUANTILES = (np.arange(16) + 0.5) / 16  # where power averages over seeds


class Noise(NamedTuple):
    """Variances of a difference between two arms, in squared fractions.

    Args:
        seed: of one seed, the same on every image.
        draw: of one label draw of a seed, the same on every image.
        image: of one image, the same for every seed.
        residual: of one answer: one seed, draw and image.
        seed_image: of one seed on one image, the same for every draw; 0 where a seed has one.
    """

    seed: float
    draw: float
    image: float
    residual: float
    seed_image: float = 0.0


@dataclass(frozen=True)
class Advice:
    """The difference a study could reliably see, and what it would see with twice of something.

    Args:
        now: as a fraction; None where a study of two seeds cannot say: two are too few.
        doubled: the same, by what is doubled: seeds, label draws, test images; empty without
            `now`, and without label draws where a seed has one.
        best: what to double to see the smallest; never seeds or their draws where these differ
            by no more than chance; None without `now`.
    """

    now: float | None
    doubled: dict[str, float]
    best: str | None = None


def fold_factor(n: int, folds: int) -> float:
    """What the seed part is multiplied by: folds share training images (Nadeau & Bengio 2003)."""
    return 1 + n * folds / (folds - 1) if folds > 1 else 1.0


def expected(
    accuracy: float = 0.8,
    seed_sd: float = 0.007,
    arms: float = 0.45,
    seeds: float = 0.75,
    draw_sd: float = 0.0,
) -> Noise:
    """Noise by a probit model; an image's difficulty correlates between arms and between seeds.

    `seed_sd` and `draw_sd`: of an arm's accuracy over seeds, and over the label draws of a seed
    where these move the arms apart.
    """
    slope = np.sqrt([(1 - arms) / (1 + arms), (1 - seeds) / (1 + seeds)])
    other, same = accuracy - 2 * owens_t(ndtri(accuracy), slope)  # both correct (Owen 1956)
    image, residual = 2 * float(same - other), 2 * float(accuracy - same)
    return Noise(2 * seed_sd**2, 2 * draw_sd**2, image, residual)


def power(
    difference: float,
    n: int,
    m: int,
    arms: int,
    noise: Noise,
    alpha: float = 0.05,
    draws: int = 1,
    folds: int = 1,
) -> float:
    """Chance that one arm, better by `difference` than all others, is separated from a given one.

    By `compare_arms`, with Holm. A winner needs every such pair, which is rarer. That an arm may
    pass for noisy by chance is left out: it happens to one in a hundred.
    """
    if min(n, m, arms) < 2:
        raise ValueError(f"statistics: {n} seeds, {m} images, {arms} arms; plan two or more")
    between = noise.seed / n + noise.draw / (n * draws)
    rest = noise.seed_image / (n * m) + noise.residual / (n * m * draws)
    more, image = fold_factor(n, folds), noise.image / m
    halves = (n - 1) / 2, max(arms - 2, 1) * (n - 1) / 2
    pair, others = ((between + rest) * gammaincinv(x, QUANTILES) / x for x in halves)
    pool = (pair[:, None] + (arms - 2) * others) / (arms - 1)
    pooled = np.maximum(pool, rest)
    seed = np.maximum(pair[:, None], pooled)
    width, chance = np.sqrt(rest + more * (seed - rest)), 0.0
    freedom = (n - 1) * (1 + (arms - 2) * pooled / np.maximum(seed, 1e-300))
    deviation = max(sqrt(more * between + rest + image), 1e-12)
    for _ in range(20):  # Holm: what the other arms' pairs separate need not be paid for
        tail = alpha / (arms * (arms - 1) / 2 - (arms - 2) * chance) / 2
        half = np.hypot(stdtrit(freedom, tail) * width, ndtri(tail) * sqrt(image))
        before, chance = chance, ndtr((difference - half) / deviation).mean().item()
        if abs(chance - before) < 1e-4:
            break
    return chance


def detectable(
    n: int,
    m: int,
    arms: int,
    noise: Noise,
    draws: int = 1,
    chance: float = 0.8,
    alpha: float = 0.05,
    folds: int = 1,
) -> float:
    """Smallest true difference, a fraction, that `power` gives this chance; 1 if none does."""

    def beyond(difference: float) -> float:
        return power(difference, n, m, arms, noise, alpha, draws, folds) - chance

    return 1.0 if beyond(1.0) <= 0 else brentq(beyond, 0.0, 1.0, xtol=1e-6)
