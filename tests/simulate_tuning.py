"""Equal arms that choose their learning rates: how often is a pair of them separated?

`python tests/simulate_tuning.py` prints the table of both rules: one choice for all seeds, and one
for each repetition (seed, draw, fold). Correctness is a probit as in tests/test_statistics.py.
K arms, n seeds, d draws, f folds, r rates, m test and v validation images.
"""

from math import sqrt
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.special import ndtri

from vit.compare.statistics import compare_arms

BETWEEN = 0.45  # correlation of an image's difficulty between arms, and between learning rates
WITHIN = 0.75  # between seeds of one arm and one learning rate
GAPS = (0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15)


class Tuned(NamedTuple):
    """A study of arms without a true difference."""

    validation: int = 45
    gap: float = 0.06  # accuracy that each of the other rates has less than the best
    arms: int = 4
    draws: int = 1
    folds: int = 1
    rates: int = 3
    common: bool = False  # all repetitions validate on the same images
    once: bool = False  # seed 0 chooses for all
    seeds: int = 5
    images: int = 448
    accuracy: float = 0.8  # with the best rate
    seed_sd: float = 0.007
    draw_sd: float = 0.02  # of an arm between label draws, where there are several


def latent(rng: np.random.Generator, images: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Parts of minus the difficulty of images for models; of their sum the variance is 1.

    Args:
        rng: draws them.
        images: how many.
        shapes: of what all have in common, what fits of an arm and a rate have, and of the fits.
    """
    parts = BETWEEN, WITHIN - BETWEEN, 1 - WITHIN
    return [
        sqrt(part) * rng.standard_normal((*shape, images), dtype=np.float32)
        for part, shape in zip(parts, shapes, strict=True)
    ]


def tuned_study(rng: np.random.Generator, design: Tuned) -> np.ndarray:
    """Correctness K n d m of a study whose arms are tuned."""
    K, n, d, f, r = design.arms, design.seeds, design.draws, design.folds, design.rates
    rates = ndtri(design.accuracy - design.gap * (np.arange(r) != r // 2))
    slope = stats.norm.pdf(ndtri(design.accuracy))
    fit = rng.standard_normal((K, n, 1, 1)) * design.seed_sd / slope
    fit = fit + rng.standard_normal((K, n, d, 1)) * (design.draw_sd * (d > 1)) / slope
    fit = np.broadcast_to(fit, (K, n, d, f))

    seen_by = (1, 1, 1) if design.common else (n, d, f)
    shapes = (1, *seen_by, 1), (K, *seen_by, r), (K, n, d, f, r)
    seen = sum(latent(rng, design.validation, *shapes)) + rates[:, None] + fit[..., None, None]
    right = (seen > 0).sum(-1)  # K n d f r
    best = (right + rng.random(right.shape)).argmax(-1)  # ties by lot; K n d f
    best = np.broadcast_to(best[:, :1, :1, :1], best.shape) if design.once else best

    image = np.arange(design.images)
    best, fit = best[..., image % f], fit[..., image % f]  # K n d m
    shared, alike, rest = latent(rng, design.images, (1, 1, 1), (K, r), (K, n, d))
    alike = alike[np.arange(K)[:, None, None, None], best, image]
    return rates[best] + fit + shared + alike + rest > 0


def false_winners(design: Tuned, studies: int, seed: int = 0) -> float:
    """Fraction of studies that separate a pair of these equal arms."""
    rng = np.random.default_rng(seed)
    separated = 0
    for _ in range(studies):
        tables = dict(zip("abcdefgh", tuned_study(rng, design).astype(float), strict=False))
        pairs = compare_arms(tables, folds=design.folds).pairs
        separated += any(pair.holm <= 0.05 for pair in pairs)
    return separated / studies


def worst(design: Tuned, studies: int, gaps: tuple[float, ...] = GAPS) -> tuple[float, float]:
    """The largest fraction over the gaps between rates, and its gap."""
    return max((false_winners(design._replace(gap=gap), studies), gap) for gap in gaps)


def limit(studies: int) -> float:
    """Five in a hundred, and two errors of so many studies."""
    return 0.05 + 2 * sqrt(0.05 * 0.95 / studies)


FOLDS = [Tuned(arms=arms, folds=5) for arms in (2, 4, 8)]
DRAWS = [Tuned(arms=arms, draws=5) for arms in (2, 4, 8)]
LARGE = Tuned(arms=2, seeds=10, images=2000)
ROWS = {
    "one choice, of seed 0": [Tuned(v, arms=2, once=True) for v in (45, 200, 2500)],
    "each its own": [Tuned(v, arms=2) for v in (45, 200, 2500)],
    "each its own, arms": [Tuned(arms=4), Tuned(arms=8)],
    "each its own, folds": FOLDS,
    "each its own, draws": DRAWS,
    "each its own, others": [LARGE, Tuned(arms=2, accuracy=0.5), Tuned(arms=2, rates=7)],
    "each its own on common images": [
        Tuned(v, arms=arms, common=True) for arms in (2, 4) for v in (45, 200, 1000)
    ],
    "common images, others": [
        LARGE._replace(validation=v, common=True) for v in (200, 500, 1000, 2000)
    ]
    + [Tuned(1000, arms=2, rates=7, common=True)],
}

if __name__ == "__main__":
    import sys

    studies = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    print(f"{studies} studies a gap; at most {limit(studies):.3f} for a single gap")
    for name, designs in ROWS.items():
        print(name)
        for design in designs:
            fraction, gap = worst(design, studies)
            changed = {k: v for k, v in design._asdict().items() if v != Tuned._field_defaults[k]}
            print(f"  {fraction:.3f} at a gap of {100 * gap:.0f} points  {changed}", flush=True)
