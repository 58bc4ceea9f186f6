"""Which arm is better, and how sure that is.

For new seeds of these recipes on new images like these. All arms share one test set, so its error
does not average out over seeds: seeds and images both vary (multi-reader multi-case analysis:
Dorfman, Berbaum & Metz 1992; Obuchowski & Rockette 1995; Hillis 2007). Differs: quantiles of the
two parts are combined, not variances (MOVER: Zou & Donner 2008). K arms, n seeds, d label draws
nested in each, m images.
"""

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from scipy.special import fdtri

from vit.compare.intervals import Values, half_width, holm, p_value
from vit.compare.mean_squares import (
    MeanSquares,
    components,
    mean_products,
    noisy_arms,
    of_differences,
)
from vit.compare.odd_seeds import OddSeed, odd_seeds
from vit.compare.power import Advice, Noise, detectable, expected, fold_factor, power

__all__ = [  # all that is known of a study's noise, by one import
    "Advice", "Comparison", "Difference", "Estimate", "Noise", "OddSeed", "advice",
    "compare_arms", "detectable", "expected", "holm", "odd_seeds", "power",
]  # fmt: skip


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
    freedom: float

    @property
    def image_fraction(self) -> float:
        """Fraction of the variance that comes from the test images."""
        total = self.image_variance + self.seed_variance
        return self.image_variance / total if total else 0.0

    def p_at(self, difference: float) -> float:
        """The two-sided p that the true difference is this one."""
        parts = self.seed_variance, self.image_variance, self.freedom
        return float(p_value(self.value - difference, *parts))


@dataclass(frozen=True)
class Comparison:
    """All arms; the pairs from the best arm down, controls last; the winner, if there is one.

    Args:
        noise: of a difference between two arms, the mean over pairs without a noisy arm.
        noisy: arms and controls whose seeds vary more than the other arms' (see `compare_arms`).
        draws: label draws of a seed.
        drawn: labels are drawn anew for each seed, also where a seed has only one draw.
        seeds_vary: seeds differ by more than single answers explain (F test at .95).
    """

    arms: dict[str, Estimate]
    pairs: list[Difference]
    winner: str | None
    alpha: float
    noise: Noise
    unit: str = "test images"
    noisy: tuple[str, ...] = ()
    draws: int = 1
    drawn: bool = False
    folds: int = 1
    seeds_vary: bool = True

    @property
    def family(self) -> list[Difference]:
        """Pairs of trainable arms; in each the first is the better one."""
        return [pair for pair in self.pairs if pair.holm is not None]

    @property
    def noise_fractions(self) -> dict[str, float]:
        """Where a difference's variance comes from, by name; all 0 where there is none.

        The residual is single answers: more images, seeds or draws each shrink it. One draw
        cannot be told from its seed: "seeds and label draws".
        """
        n, m = next((arm.seeds, arm.images) for arm in self.arms.values())
        noise, d, more = self.noise, self.draws, fold_factor(n, self.folds)
        seeds = "seeds and label draws" if self.drawn and d == 1 else "seeds"
        parts = {self.unit: noise.image / m, seeds: more * noise.seed / n}
        parts |= {"label draws": more * noise.draw / (n * d)} if d > 1 else {}
        parts["residual"] = (noise.seed_image + noise.residual / d) / (n * m)
        total = sum(parts.values()) or 1.0
        return {name: part / total for name, part in parts.items()}


def _tables(correct: dict[str, np.ndarray], groups: np.ndarray | None) -> dict[str, np.ndarray]:
    """Checked, n d m in float64, the images of a group (patient, video) averaged to one unit."""
    tables = {name: np.asarray(values, float) for name, values in correct.items()}
    shape = next(iter(tables.values())).shape
    for name, x in tables.items():
        if x.shape != shape or x.ndim not in (2, 3) or not ((x >= 0) & (x <= 1)).all():
            raise ValueError(
                f"statistics: {name} has {x.shape}, seeds (x draws) x images, the "
                f"first arm {shape}; give every arm the same, each in [0, 1], none missing"
            )
    tables = {name: x if x.ndim == 3 else x[:, None] for name, x in tables.items()}
    if groups is not None:
        if len(groups) != shape[-1]:
            raise ValueError(f"statistics: {len(groups)} groups, {shape[-1]} images; give each one")
        _, unit, size = np.unique(groups, return_inverse=True, return_counts=True)
        for name, x in tables.items():
            rows = [np.bincount(unit, row) / size for row in x.reshape(-1, shape[-1])]
            tables[name] = np.reshape(rows, (*x.shape[:2], -1))
    return tables


def compare_arms(
    correct: dict[str, np.ndarray],
    groups: np.ndarray | None = None,
    controls: frozenset[str] | tuple[str, ...] = (),
    alpha: float = 0.05,
    folds: int = 1,
    drawn: bool = False,
) -> Comparison:
    """Interval and p of every arm and pair, and the arm that beats every other after Holm.

    The seed part's variance is pooled over arms, or a pair's own where that is larger. A noisy arm
    (F beyond .99 of its distribution, see `noisy_arms`) leaves the pool: its pairs have the
    freedom of their own seeds, and no other pair notices it.

    Args:
        correct: n m, or n d m, of each trainable arm or control: if the answer was right.
        groups: of each image; images of one group are one unit.
        controls: arms outside pool and family.
        alpha: of every interval, and of the winner.
        folds: of a cross-validation. They share training images: the seed component grows as
            Nadeau & Bengio (2003) correct it, approximately.
        drawn: labels are drawn anew for each seed.
    """
    tables = _tables(correct, groups)
    arms = sorted(set(tables) - set(controls), key=lambda name: (-tables[name].mean(), name))
    if not arms or set(controls) - set(tables):
        raise ValueError(f"statistics: controls {sorted(controls)} of {list(tables)}; name others")
    n, d, m = tables[arms[0]].shape
    if min(n, m) < 2:
        raise ValueError(f"statistics: one seed gives no interval; got {n} x {m} images, run more")
    analysis = _Analysis({name: tables[name] for name in (*arms, *sorted(controls))}, len(arms))
    pairs = analysis.pairs(alpha, fold_factor(n, folds))
    leads = [pair.holm for pair in pairs[: len(arms) - 1]]  # the best arm's, which come first
    return Comparison(
        analysis.estimates(alpha, fold_factor(n, folds)),
        pairs,
        arms[0] if leads and max(leads) <= alpha else None,
        alpha,
        analysis.noise(),
        "test images" if groups is None else "groups of images",
        tuple(analysis.names[one] for one in analysis.noisy),
        d,
        drawn,
        folds,
        analysis.seeds_vary(),
    )


class _Analysis:
    """Mean squares of all tables, k arms and then controls, and what follows from them."""

    def __init__(self, tables: dict[str, np.ndarray], k: int) -> None:
        x = np.stack(list(tables.values()))
        self.names, self.k, self.shape = list(tables), k, x.shape[1:]
        self.value, squares = x.mean((1, 2, 3)), mean_products(x)
        self.noisy = noisy_arms(squares.seed, k, len(x[0]))
        self.calm = [one for one in range(k) if one not in self.noisy]
        self.single = MeanSquares(*(each.diagonal() for each in squares))
        self.gap = MeanSquares(*of_differences(np.stack(squares)))
        inside, q = np.ix_(self.calm, self.calm), len(self.calm)
        pairs = max(q * (q - 1), 1)  # each twice; the diagonal is 0
        self.mean_gap = MeanSquares(*(x[inside].sum() / pairs for x in self.gap))

    def parts(
        self, squares: MeanSquares, pool: Values, freedom: Values, more: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The seed and image parts of a mean's variance, and the seed part's freedom.

        Seeds that vary more than the pool count for themselves; the freedom then slides from the
        pool's towards theirs, n - 1.
        """
        size, error, least = np.prod(self.shape), squares.cell, self.shape[0] - 1
        pooled = np.maximum(pool, error)  # no bias: E[seed] >= E[cell]
        seed = np.maximum(squares.seed, pooled)
        freedom = least + (freedom - least) * pooled / np.maximum(seed, 1e-300)
        image = np.maximum(squares.image - error, 0) / size
        return (error + more * (seed - error)) / size, image, freedom

    def estimates(self, alpha: float, more: float) -> dict[str, Estimate]:
        """Each arm by the arms' pool, or by its own seeds where it is noisy or a control."""
        (n, _, m), calm = self.shape, np.isin(np.arange(len(self.names)), self.calm)
        pool = np.where(calm, self.single.seed[self.calm].mean(), 0.0)
        full = np.where(calm, len(self.calm), 1) * (n - 1.0)
        seed, image, freedom = self.parts(self.single, pool, full, more)
        half = half_width(alpha, seed, image, freedom)
        low, high = np.clip(self.value - half, 0, 1), np.clip(self.value + half, 0, 1)
        columns = (x.tolist() for x in (self.value, low, high, image, seed))
        rows = zip(self.names, *columns, strict=True)
        return {name: Estimate(*row, n, m) for name, *row in rows}

    def pairs(self, alpha: float, more: float) -> list[Difference]:
        """The family's pairs with Holm's p, then each arm and control."""
        arms, controls = range(self.k), range(self.k, len(self.names))
        a, b = np.array([*combinations(arms, 2), *product(arms, controls)], int).reshape(-1, 2).T
        n, q = self.shape[0], len(self.calm)
        alone = np.isin(np.arange(len(self.names)), self.noisy)
        full = np.where(alone[:, None] | alone, n - 1.0, max(q - 1, 1) * (n - 1.0))
        everywhere = self.parts(self.gap, self.mean_gap.seed, full, more)
        seed, image, freedom = (x[a, b] for x in everywhere)
        value, half = self.value[a] - self.value[b], half_width(alpha, seed, image, freedom)
        p = p_value(value, seed, image, freedom)
        family = self.k * (self.k - 1) // 2
        adjusted = [*holm(p[:family]), *[None] * (len(p) - family)]
        columns = (x.tolist() for x in (value, value - half, value + half, p))
        parts = (x.tolist() for x in (image, seed, freedom))
        names = ([self.names[one] for one in side] for side in (a, b))
        return [Difference(*row) for row in zip(*names, *columns, adjusted, *parts, strict=True)]

    def seeds_vary(self) -> bool:
        """Is there a seed component in the differences between arms that are not noisy?"""
        n, _, m = self.shape
        freedom = max(len(self.calm) - 1, 1) * (n - 1)
        most = fdtri(freedom, freedom * (m - 1), 0.95) * self.mean_gap.cell
        return bool(self.mean_gap.seed > most)

    def noise(self) -> Noise:
        """The components of a difference between two arms that are not noisy."""
        return components(self.mean_gap, *self.shape)


def advice(comparison: Comparison) -> Advice:
    """What this study could reliably see, and what it would see with twice of something.

    Nothing where a study has fewer than three seeds, or one arm: see `Advice`.
    """
    n, m = next((arm.seeds, arm.images) for arm in comparison.arms.values())
    d, arms = comparison.draws, len({pair.second for pair in comparison.family}) + 1
    if n < 3 or arms < 2:
        return Advice(None, {})
    sizes = {"seeds": (2 * n, m, d), "label draws": (n, m, 2 * d), "test images": (n, 2 * m, d)}

    def seen(n: int, m: int, d: int) -> float:
        rest = {"draws": d, "alpha": comparison.alpha, "folds": comparison.folds}
        return detectable(n, m, arms, comparison.noise, **rest)

    doubled = {name: seen(*size) for name, size in sizes.items() if name != "label draws" or d > 1}
    helpful = [name for name in doubled if name == "test images" or comparison.seeds_vary]
    return Advice(seen(n, m, d), doubled, min(helpful, key=doubled.get))
