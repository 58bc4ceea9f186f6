"""Which arm is better, how sure that is, and what a study of this size can see at all.

For new seeds of these recipes on new images like these. All arms share one test set, so its error
does not average out over seeds: seeds and images both vary (multi-reader multi-case analysis:
Dorfman, Berbaum & Metz 1992; Obuchowski & Rockette 1995; Hillis 2007). Differs: quantiles of the
two parts are combined, not variances (MOVER: Zou & Donner 2008). Limit, four arms and three seeds:
if one arm varies ten times as much over seeds as the others, its own interval covers 92 %, its
pairs 86-93 %, and 3-8 % of studies name a false difference. K arms, n seeds, m images.
"""

from dataclasses import dataclass, replace
from itertools import combinations, product
from math import exp, hypot, sqrt
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaincinv, ndtr, ndtri, owens_t, stdtrit

OUTLIER = 2.5  # a pair this much noisier than the pool gets the freedom of its own seeds alone
SMALLEST = -230.0  # log p; below it p is 0, because the quantiles overflow further out
QUANTILES = (np.arange(40) + 0.5) / 40  # where power averages over seeds


@dataclass(frozen=True)
class Estimate:
    """One arm's accuracy, a fraction, with the interval and the two parts of its variance."""

    value: float
    low: float
    high: float
    image_variance: float
    seed_variance: float
    seeds: int
    images: int


@dataclass(frozen=True)
class Difference:
    """Accuracy of `first` minus `second`; `holm` is the adjusted p, None outside the family."""

    first: str
    second: str
    value: float
    low: float
    high: float
    p: float
    holm: float | None
    image_variance: float
    seed_variance: float
    freedom: int
    residual_variance: float = 0.0  # the part of seed_variance that more images shrink too

    @property
    def image_fraction(self) -> float:
        """Fraction of the variance that comes from the test images."""
        total = self.image_variance + self.seed_variance
        return self.image_variance / total if total else 0.0


@dataclass(frozen=True)
class Comparison:
    """All arms; the pairs from the best arm down, controls last; the winner, if there is one."""

    arms: dict[str, Estimate]
    pairs: list[Difference]
    winner: str | None
    alpha: float
    unit: str = "test images"

    @property
    def family(self) -> list[Difference]:
        """Pairs of trainable arms; in each the first is the better one."""
        return [pair for pair in self.pairs if pair.holm is not None]


class Noise(NamedTuple):
    """Variance of a difference between two arms: of one seed, one image, one cell."""

    seed: float
    image: float
    residual: float


def mean_squares(values: np.ndarray) -> tuple[float, float, float]:
    """MS_S, MS_I, MS_E of a table n m: two-way analysis of variance without replication."""
    (n, m), mean = values.shape, values.mean()
    seeds, images = values.mean(1) - mean, values.mean(0) - mean
    rest = values - mean - seeds[:, None] - images
    sums = [(part**2).sum().item() for part in (seeds, images, rest)]
    return m * sums[0] / (n - 1), n * sums[1] / (m - 1), sums[2] / ((n - 1) * (m - 1))


def half_width(alpha: float, seed_variance: float, image_variance: float, freedom: int) -> float:
    """The half width of the 1 - alpha interval; each part has its own distribution's quantile."""
    t, z = stdtrit(freedom, alpha / 2), ndtri(alpha / 2)
    return hypot(t * sqrt(seed_variance), z * sqrt(image_variance))


def p_value(value: float, seed_variance: float, image_variance: float, freedom: int) -> float:
    """The alpha at which the interval touches zero."""
    parts, size = (seed_variance, image_variance, freedom), abs(value)
    if size == 0 or half_width(exp(SMALLEST), *parts) <= size:
        return float(size == 0)
    return exp(brentq(lambda x: half_width(exp(x), *parts) - size, SMALLEST, 0.0))


def holm(values: list[float]) -> list[float]:
    """Adjusted p in the order given (Holm 1979); at most alpha means separated."""
    adjusted, least = [1.0] * len(values), 0.0
    for rank, index in enumerate(np.argsort(values, kind="stable")):
        least = max(least, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = least
    return adjusted


def _summary(values: np.ndarray, pool: float, freedom: int, alpha: float, more: float) -> tuple:
    """Mean, low, high; image and seed variance; freedom, residual. `pool`: seed mean square."""
    n, m = values.shape
    seeds, images, error = mean_squares(values)
    seeds, pool = max(seeds, error), max(pool, error)  # no bias: E[MS_S] >= E[MS_E]
    freedom = n - 1 if seeds > OUTLIER * pool else freedom
    image, seed = max(images - error, 0.0) / (n * m), more * max(seeds, pool) / (n * m)
    mean, half = values.mean().item(), half_width(alpha, seed, image, freedom)
    return mean, mean - half, mean + half, image, seed, freedom, error / (n * m)


def _estimate(values: np.ndarray, *pooled: float | int) -> Estimate:
    value, low, high, *variances = _summary(values, *pooled)[:5]
    return Estimate(value, max(low, 0.0), min(high, 1.0), *variances, *values.shape)


def _difference(names: tuple[str, str], values: np.ndarray, pooled: tuple) -> Difference:
    value, low, high, image, seed, *rest = _summary(values, *pooled)
    p = p_value(value, seed, image, rest[0])
    return Difference(*names, value, low, high, p, None, image, seed, *rest)


def _tables(correct: dict[str, np.ndarray], groups: np.ndarray | None) -> dict[str, np.ndarray]:
    """Checked, in float64, with the images of a group (patient, video) averaged to one unit."""
    tables = {name: np.asarray(values, float) for name, values in correct.items()}
    shape = next(iter(tables.values())).shape
    for name, x in tables.items():
        if x.shape != shape or x.ndim != 2 or not ((x >= 0) & (x <= 1)).all():
            raise ValueError(
                f"statistics: {name} has seeds x images {x.shape}, the first arm {shape}; give "
                "every arm the same, each in [0, 1], none missing"
            )
    if groups is not None:
        if len(groups) != shape[1]:
            raise ValueError(f"statistics: {len(groups)} groups, {shape[1]} images; give each one")
        _, unit, size = np.unique(groups, return_inverse=True, return_counts=True)
        for name, x in tables.items():
            tables[name] = np.stack([np.bincount(unit, row) / size for row in x])
    return tables


def compare_arms(
    correct: dict[str, np.ndarray],
    groups: np.ndarray | None = None,
    controls: frozenset[str] | tuple[str, ...] = (),
    alpha: float = 0.05,
    folds: int = 1,
) -> Comparison:
    """Interval and p of every arm and pair, and the arm that beats every other after Holm.

    `correct` holds n m a trainable arm or control: the fraction of label draws that were correct.
    Images of one group are one unit. Controls stay outside pool and family. Folds share training
    images: the seed part grows as Nadeau & Bengio (2003) correct it, approximately.
    """
    tables = _tables(correct, groups)
    arms = sorted(set(tables) - set(controls), key=lambda name: (-tables[name].mean(), name))
    if not arms or set(controls) - set(tables):
        raise ValueError(f"statistics: controls {sorted(controls)} of {list(tables)}; name others")
    n, m = tables[arms[0]].shape
    if min(n, m) < 2:
        raise ValueError(f"statistics: one seed gives no interval; got {n} x {m} images, run more")
    more = 1 + n * folds / (folds - 1) if folds > 1 else 1.0  # of the seed part
    freedom, free = len(arms) * (n - 1), max(len(arms) - 1, 1) * (n - 1)  # of arms, of pairs
    within = np.stack([tables[name].mean(1) - tables[name].mean() for name in arms])  # K n
    one = m * (within**2).sum().item() / freedom  # MS_W
    pool = m * ((within[:, None] - within) ** 2).sum().item() / (len(arms) * free)  # MS_P
    estimates = {name: _estimate(x, 0.0, n - 1, alpha, more) for name, x in tables.items()}
    estimates |= {name: _estimate(tables[name], one, freedom, alpha, more) for name in arms}
    names = [*combinations(arms, 2), *product(arms, sorted(controls))]
    pairs = [_difference(x, tables[x[0]] - tables[x[1]], (pool, free, alpha, more)) for x in names]
    family = pairs[: len(arms) * (len(arms) - 1) // 2]
    adjusted = holm([pair.p for pair in family])
    pairs[: len(family)] = [replace(x, holm=p) for x, p in zip(family, adjusted, strict=True)]
    leads = adjusted[: len(arms) - 1]  # p of the best arm's pairs, which come first
    winner = arms[0] if leads and max(leads) <= alpha else None
    unit = "test images" if groups is None else "groups of images"
    return Comparison(estimates, pairs, winner, alpha, unit)


def expected(
    accuracy: float = 0.8, seed_sd: float = 0.007, arms: float = 0.45, seeds: float = 0.75
) -> Noise:
    """Noise by a probit model; an image's difficulty correlates between arms and between seeds."""
    slope = np.sqrt([(1 - arms) / (1 + arms), (1 - seeds) / (1 + seeds)])
    other, same = accuracy - 2 * owens_t(ndtri(accuracy), slope)  # both correct (Owen 1956)
    return Noise(2 * seed_sd**2, 2 * float(same - other), 2 * float(accuracy - same))


def observed_noise(comparison: Comparison) -> Noise:
    """Noise after a study: mean over its family, a little cautious: never below the pool's."""
    one = next(iter(comparison.arms.values()))
    parts = [(p.seed_variance, p.image_variance, p.residual_variance) for p in comparison.family]
    seed, image, rest = np.mean(parts, 0).tolist()
    return Noise(one.seeds * (seed - rest), one.images * image, one.seeds * one.images * rest)


def power(difference: float, n: int, m: int, arms: int, noise: Noise, alpha: float = 0.05) -> float:
    """Chance that one arm, better by `difference` than all others, is separated from a given one.

    By `compare_arms`, with Holm. Within 6 points of simulation (2-5 arms, 2-10 seeds, 180-10,000
    images) and 8 of the reference table. A winner needs every such pair, which is rarer.
    """
    if min(n, m, arms) < 2:
        raise ValueError(f"statistics: {n} seeds, {m} images, {arms} arms; plan two or more")
    floor = noise.residual / (n * m)
    seed, image = noise.seed / n + floor, noise.image / m
    halves = (n - 1) / 2, max(arms - 2, 1) * (n - 1) / 2
    pair, rest = (seed * gammaincinv(x, QUANTILES) / x for x in halves)  # this pair, the others
    pool = np.maximum((pair[:, None] + (arms - 2) * rest) / (arms - 1), floor)
    pair = np.maximum(pair, floor)[:, None]
    freedom = np.where(pair > OUTLIER * pool, n - 1, (arms - 1) * (n - 1))
    width, chance = np.sqrt(np.maximum(pair, pool)), 0.0
    for _ in range(20):  # Holm: what the other arms' pairs separate need not be paid for
        tail = alpha / (arms * (arms - 1) / 2 - (arms - 2) * chance) / 2
        half = np.hypot(stdtrit(freedom, tail) * width, ndtri(tail) * sqrt(image))
        chance = ndtr((difference - half) / max(sqrt(seed + image), 1e-12)).mean().item()
    return chance


def detectable(
    n: int, m: int, arms: int, noise: Noise, chance: float = 0.8, alpha: float = 0.05
) -> float:
    """Smallest true difference, a fraction, that `power` gives this chance; 1 if none does."""
    if power(1.0, n, m, arms, noise, alpha) <= chance:
        return 1.0
    return brentq(lambda x: power(x, n, m, arms, noise, alpha) - chance, 0.0, 1.0, xtol=1e-6)


def cheaper(n: int, m: int, arms: int, noise: Noise) -> str:
    """What to double, 'seeds' or 'images', to see the smaller difference."""
    sizes = {"seeds": (2 * n, m), "images": (n, 2 * m)}
    return min(sizes, key=lambda name: detectable(*sizes[name], arms, noise))
