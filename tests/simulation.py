"""Studies whose truth is known: how often `vit.compare.statistics` says something false of them.

`python tests/simulation.py [--repetitions N]` prints every table in Markdown; `test_statistics.py`
runs parts of them at reduced size. Tuning and validity have simulations of their own.
"""

import argparse
import time
from functools import partial
from itertools import combinations
from math import exp, pi, sqrt
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.special import ndtri

from vit.compare.intervals import holm, p_value
from vit.compare.odd_seeds import odd_seeds
from vit.compare.statistics import (
    Comparison,
    advice,
    compare_arms,
)


class Design(NamedTuple):
    """A study: its size, the accuracy of every arm, and what moves it.

    Deviations are of an arm's accuracy, in fractions, also those of the probit's parts.
    """

    images: int
    seeds: int
    arms: int
    accuracy: float = 0.8
    seed_sd: float = 0.007
    correlation: float = 0.45  # of an image's latent difficulty, between arms
    gain: float = 0.0  # by which the last arm is truly better
    draws: int = 1
    draw_sd: float = 0.0  # of one label draw, each arm for itself
    shared_sd: float = 0.0  # of one label draw, the same for all arms
    folds: int = 1  # models of different folds correlate by 1 / folds, as Nadeau & Bengio have it
    noisy: float = 1.0  # times seed_sd: the first arm's
    group: int = 1  # images that share their difficulty

    @property
    def label(self) -> str:
        """What differs from the defaults, in words."""
        given = zip(self._fields, self, self.__class__(0, 0, 0), strict=True)
        return ", ".join(f"{name} {value:g}" for name, value, default in given if value != default)


def density(x: float) -> float:
    """Of the normal distribution."""
    return exp(-(x**2) / 2) / sqrt(2 * pi)


def effects(rng: np.random.Generator, design: Design) -> np.ndarray:
    """Deviations of accuracy K n d m (or 1): of seeds, their draws, and the models of folds."""
    K, n, d, k = design.arms, design.seeds, design.draws, design.folds
    normal = partial(rng.standard_normal, dtype=np.float32)
    seed_sd = np.full((K, 1, 1, 1), design.seed_sd)
    seed_sd[0] *= design.noisy
    moved = normal((K, n, d, 1)) * design.draw_sd + normal((1, n, d, 1)) * design.shared_sd
    if k == 1:
        return moved + normal((K, n, 1, 1)) * seed_sd
    models = sqrt(1 - 1 / k) * normal((K, n, 1, k)) + sqrt(1 / k) * normal((K, 1, 1, 1))
    fold = np.arange(design.images) % k
    return moved + (models * seed_sd * sqrt(k / (1 - 1 / k)))[..., fold]  # seeds vary by seed_sd


def study(rng: np.random.Generator, design: Design) -> np.ndarray:
    """Correctness K n d m: a probit of arm, seed, draw, and an image's difficulty.

    Of the latent variance, .75 is an image's for all seeds, the rest a seed's and an answer's.
    """
    m, n, K, d = design.images, design.seeds, design.arms, design.draws
    normal = partial(rng.standard_normal, dtype=np.float32)
    slope = density(ndtri(design.accuracy))
    units = -(-m // design.group)
    moved = effects(rng, design) / slope
    image = sqrt(design.correlation) * normal((1, 1, 1, units))
    image = image + sqrt(0.75 - design.correlation) * normal((K, 1, 1, units))
    answer = normal((K, n, d, m))
    if d > 1:  # a fifth of its variance is the seed's, whatever the draw
        answer = sqrt(0.8) * answer + sqrt(0.2) * normal((K, n, 1, m))
    latent = np.repeat(image, design.group, -1)[..., :m] + 0.5 * answer
    return latent + levels(design) + moved > 0


def levels(design: Design) -> np.ndarray:
    """The probit K 1 1 1 that makes an arm's expected accuracy exactly what the design says."""
    slope = density(ndtri(design.accuracy))
    last = np.arange(design.arms) == design.arms - 1
    times = np.where(np.arange(design.arms) == 0, design.noisy, 1.0)
    k = design.folds
    seeds = (times * design.seed_sd) ** 2 * (k / (1 - 1 / k) if k > 1 else 1)
    variance = (seeds + design.draw_sd**2 + design.shared_sd**2) / slope**2
    return (ndtri(design.accuracy + design.gain * last) * np.sqrt(1 + variance))[
        :, None, None, None
    ]


# ---- false separations, coverage, power ---------------------------------------------------------


class Record(NamedTuple):
    """Fractions: of studies, or of 95 % intervals."""

    false: float  # studies that separate a pair of equal arms
    coverage: float  # intervals of pairs that hold the true difference
    named: float  # studies in which the last arm beats every other
    power: float  # pairs with the last arm that are separated in its favour
    arms: float = 1.0  # arms' intervals that hold their true accuracy
    first: float = 1.0  # intervals of the first arm's pairs that hold the true difference
    flagged: float = 0.0  # studies with a noisy arm
    narrow: float = 1.0  # widest interval of a pair over the narrowest, in the median study


def compared(correct: np.ndarray, design: Design) -> Comparison:
    """By the project's own function, arms called 0, 1, ..."""
    groups = np.arange(design.images) // design.group if design.group > 1 else None
    tables = {str(arm): table for arm, table in enumerate(correct)}
    return compare_arms(tables, groups, folds=design.folds)


def oriented(comparison: Comparison) -> tuple[np.ndarray, ...]:
    """Value, half-width, Holm p of the pairs in the order of combinations, smaller name first."""
    pairs = {}
    for x in comparison.pairs:
        sign = 1 if int(x.first) < int(x.second) else -1
        row = sign * x.value, x.high - x.value, x.holm, x.seed_variance, x.image_variance, x.freedom
        pairs[tuple(sorted((int(x.first), int(x.second))))] = row
    return tuple(np.array([pairs[names] for names in sorted(pairs)]).T)


def over(means: np.ndarray, law: stats.distributions.rv_frozen) -> tuple[np.ndarray, ...]:
    """The usual test of pairs of rows, as if only the columns were drawn at random."""
    gaps = np.array([means[a] - means[b] for a, b in combinations(range(len(means)), 2)])
    error = np.maximum(gaps.std(1, ddof=1) / sqrt(gaps.shape[1]), 1e-12)
    p = 2 * law.sf(np.abs(gaps.mean(1)) / error)
    return gaps.mean(1), law.isf(0.025) * error, np.array(holm(p.tolist()))


WRONG = {
    "paired t over seeds": lambda x: over(x.mean((2, 3)), stats.t(x.shape[1] - 1)),
    "images only": lambda x: over(x.mean((1, 2)), stats.norm()),
}


def rehearse(design: Design, repetitions: int, seed: int = 0, wrong: bool = False) -> dict:
    """Every method's record on the same simulated studies; the project's is "recipe"."""
    rng = np.random.default_rng(seed)
    pairs = np.array(list(combinations(range(design.arms), 2)))
    last, first = pairs[:, 1] == design.arms - 1, pairs[:, 0] == 0
    true, accuracy = -design.gain * last, design.accuracy
    rows: dict[str, list] = {"recipe": [], **(dict.fromkeys(WRONG) if wrong else {})}
    rows |= {name: [] for name in rows}
    for _ in range(repetitions):
        correct = study(rng, design)
        comparison = compared(correct, design)
        results = {"recipe": oriented(comparison)[:3]}
        results |= {name: method(correct) for name, method in WRONG.items() if wrong}
        for name, (value, half, p) in results.items():
            wins = (p <= 0.05)[last] & (value < 0)[last]
            held = np.abs(value - true) <= half
            row = (p <= 0.05)[true == 0].any(), held.mean(), wins.all(), wins.mean()
            if name == "recipe":
                arms = [
                    x.low <= accuracy + design.gain * (int(arm) == design.arms - 1) <= x.high
                    for arm, x in comparison.arms.items()
                ]
                row += np.mean(arms), held[first].mean(), bool(comparison.noisy)
                row += (max(half) / max(min(half), 1e-9),)
            rows[name].append(row)
    return {name: Record(*np.mean(x, 0).tolist()) for name, x in rows.items()}


def excess(record: Record, repetitions: int, coverage: float = 0.94) -> list[str]:
    """What the rule forbids: over 5 % false winners (and 2 errors), too little coverage."""
    limit = 0.05 + 2 * sqrt(0.05 * 0.95 / repetitions)
    false = [f"false {record.false:.3f} > {limit:.3f}"] if record.false > limit else []
    return false + ([f"coverage {record.coverage:.3f}"] if record.coverage < coverage else [])


# ---- advice that comes true ---------------------------------------------------------------------


def delivered(design: Design, repetitions: int, seed: int = 1) -> float:
    """The difference of the last arm to all others that simulated studies separate 4 times in 5.

    Studies of equal arms; the difference is added to what the last arm's pairs measure.
    """
    rng = np.random.default_rng(seed)
    columns = [oriented(compared(study(rng, design), design)) for _ in range(repetitions)]
    value, _, _, *parts = (np.array(x) for x in zip(*columns, strict=True))  # each R pairs
    pairs = np.array(list(combinations(range(design.arms), 2)))
    last = pairs[:, 1] == design.arms - 1

    def chance(difference: float) -> float:
        moved = value - difference * last
        adjusted = np.array([holm(p) for p in p_value(moved, *parts)])
        return ((adjusted <= 0.05) & (moved < 0))[:, last].mean()

    low, high = 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if chance(middle) < 0.8 else (low, middle)
    return high


class Promise(NamedTuple):
    """Of the median study: what it could see, as a fraction; now, or after doubling."""

    what: str
    promised: float
    delivered: float


def promises(design: Design, studies: int, repetitions: int) -> tuple[list[Promise], float]:
    """What studies promise beside what studies of that size deliver; how many advise seeds."""
    rng = np.random.default_rng(0)
    told = [advice(compared(study(rng, design), design)) for _ in range(studies)]
    larger = {
        "now": design,
        "seeds": design._replace(seeds=2 * design.seeds),
        "label draws": design._replace(draws=2 * design.draws),
        "test images": design._replace(images=2 * design.images),
    }
    rows = []
    for what, size in larger.items():
        if what in ("now", *told[0].doubled):
            seen = np.median([x.now if what == "now" else x.doubled[what] for x in told])
            rows.append(Promise(what, float(seen), delivered(size, repetitions)))
    seeds = np.mean([x.best == "seeds" for x in told])
    return rows, float(seeds)


def broken(rows: list[Promise], most: float = 0.2) -> list[str]:
    """Promised gains, now over doubled, that are off by more than this fraction."""
    now, lines = rows[0], []
    for row in rows[1:]:
        gain, real = now.promised / row.promised, now.delivered / row.delivered
        if abs(gain / real - 1) > most:
            lines.append(f"{row.what}: promised {gain:.2f} times finer, delivered {real:.2f}")
    return lines


# ---- odd seeds ----------------------------------------------------------------------------------


def odd(design: Design, repetitions: int, lost: float = 0.0, seed: int = 2) -> tuple[float, float]:
    """Studies that name a sound seed; studies that name the first arm's first, which lost so much.

    Accuracies are normal, each over the design's images.
    """
    rng = np.random.default_rng(seed)
    K, n, d = design.arms, design.seeds, design.draws
    false = named = 0
    for _ in range(repetitions):
        accuracy = design.accuracy + rng.normal(0, design.seed_sd, (K, n))
        accuracy += (rng.normal(0, design.shared_sd, (1, n, d))).mean(2)
        accuracy[0, 0] -= lost
        table = np.repeat(accuracy[..., None], design.images, -1)
        ours = {(x.arm, x.seed) for x in odd_seeds(dict(zip("abcdefghij", table, strict=False)))}
        named += ("a", 0) in ours
        false += bool(ours - ({("a", 0)} if lost else set()))
    return false / repetitions, named / repetitions


def collapse(design: Design, repetitions: int, lost: float = 0.4) -> tuple[float, ...]:
    """The first arm's first seed loses so much: what becomes of the pairs without that arm.

    Fractions of studies that call the arm noisy, name the seed, separate two of the equal others;
    their coverage; their widths over those of the same study before the collapse.
    """
    rng, rows = np.random.default_rng(4), []
    inside = np.array([a > 0 for a, _ in combinations(range(design.arms), 2)])
    for _ in range(repetitions):
        correct = study(rng, design)
        whole = oriented(compared(correct, design))[1][inside]
        correct[0, 0] &= rng.random(correct[0, 0].shape) > lost / design.accuracy
        comparison = compared(correct, design)
        value, half, p = (x[inside] for x in oriented(comparison)[:3])
        named = odd_seeds({str(arm): x for arm, x in enumerate(correct)})
        seeds = [(x.arm, x.seed) for x in named]
        row = "0" in comparison.noisy, seeds == [("0", 0)], (p <= 0.05).any()
        rows.append((*row, (np.abs(value) <= half).mean(), np.median(half / whole)))
    return tuple(np.mean(rows, 0).tolist())


# ---- the tables ---------------------------------------------------------------------------------

EQUAL = [
    Design(180, 3, 3, 0.9), Design(360, 3, 4), Design(360, 10, 3, seed_sd=0.003),
    Design(850, 5, 5, 0.9, correlation=0.3), Design(2000, 2, 2, correlation=0.6),
]  # fmt: skip
HARD = Design(2000, 5, 3, seed_sd=0.01)  # images and seeds about equally noisy: both must count
SHAPES = [
    Design(448, 5, 2), Design(448, 5, 4), Design(448, 5, 8), Design(448, 3, 10),
    Design(448, 5, 10, seed_sd=0.02), Design(448, 5, 4, draws=5, draw_sd=0.02, shared_sd=0.02),
    Design(448, 5, 4, shared_sd=0.04), Design(480, 5, 4, group=4),
    Design(120, 3, 4, seed_sd=0.01, folds=5), Design(120, 5, 4, seed_sd=0.0, folds=5),
]  # fmt: skip
NOISY = [
    Design(448, n, K, noisy=10.0) for n in (3, 5) for K in (3, 4, 8)
]  # ten times the deviation of the others
ADVISED = [
    Design(360, 3, 4), Design(448, 5, 2, seed_sd=0.02), Design(448, 5, 4),
    Design(448, 5, 8, seed_sd=0.02), Design(2000, 5, 4, seed_sd=0.01),
    Design(448, 5, 4, seed_sd=0.0), Design(448, 5, 4, seed_sd=0.0, folds=5),
    Design(448, 3, 4, seed_sd=0.01, folds=5), Design(448, 5, 4, seed_sd=0.02, folds=5),
    Design(448, 5, 4, draws=5, draw_sd=0.04),
    Design(448, 5, 4, seed_sd=0.02, draws=2, draw_sd=0.02),
]  # fmt: skip
SEEDS = [
    Design(100, n, K, seed_sd=0.01, shared_sd=shared)
    for K in (1, 2, 3, 4, 10) for n in (3, 5, 10) for shared in (0.0, 0.02)
]  # fmt: skip


def line(*cells: object) -> None:
    """Print one row of a Markdown table."""
    print("|", " | ".join(f"{x:.3f}" if isinstance(x, float) else str(x) for x in cells), "|")


def print_studies(repetitions: int) -> None:
    """False separations, coverage and power."""
    line("study", "studies", "false", "coverage", "arms", "first arm's pairs", "with a noisy arm",
         "widest / narrowest", "3 points separated", "20 points named")  # fmt: skip
    line(*["---"] * 10)
    for design in [*EQUAL, HARD, *SHAPES, *NOISY]:
        count = max(repetitions // (4 if design.arms > 4 else 1), 4)
        x = rehearse(design, count)["recipe"]
        three = rehearse(design._replace(gain=0.03), count // 4)["recipe"].power
        lower = design._replace(accuracy=design.accuracy - 0.2, gain=0.2)
        named = rehearse(lower, count // 4)["recipe"].named
        line(design.label, count, x.false, x.coverage, x.arms, x.first, x.flagged, x.narrow, three,
             named)  # fmt: skip


def print_wrong(repetitions: int) -> None:
    """What the usual tests do where seeds and images both count."""
    line("method", "false", "coverage")
    line(*["---"] * 3)
    for name, x in rehearse(HARD, repetitions, wrong=True).items():
        line(name, x.false, x.coverage)


def print_advice(repetitions: int) -> None:
    """Promised and delivered detectable differences in points."""
    line(
        "study", "advises seeds", "size", "promised", "delivered", "promised gain", "delivered gain"
    )
    line(*["---"] * 7)
    for design in ADVISED:
        rows, seeds = promises(design, max(repetitions // 20, 8), max(repetitions // 6, 20))
        for row in rows:
            gains = rows[0].promised / row.promised, rows[0].delivered / row.delivered
            points = [f"{100 * x:.1f}" for x in row[1:]]
            line(design.label, seeds, row.what, *points, *(f"{x:.2f}" for x in gains))


def print_odd(repetitions: int) -> None:
    """Odd seeds, falsely and rightly named."""
    line("study", "falsely named, equal seeds", "30 points lost: named", "another named")
    line(*["---"] * 4)
    for design in SEEDS:
        false = odd(design, repetitions)[0]
        other, named = odd(design, max(repetitions // 4, 4), lost=0.3)
        line(design.label, false, named, other)


def print_collapse(repetitions: int) -> None:
    """A collapsed seed, and the pairs that it is no part of."""
    line("study", "arm noisy", "seed named", "false, other pairs", "coverage", "width over before")
    line(*["---"] * 6)
    for n, arms in ((3, 3), (3, 4), (5, 4), (5, 8)):
        design = Design(448, n, arms)
        line(design.label, *collapse(design, max(repetitions // 4, 4)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=1000)
    count = parser.parse_args().repetitions
    for title, table in {
        "False separations, coverage, power": print_studies,
        "The usual tests, " + HARD.label: print_wrong,
        "Advice": print_advice,
        "Odd seeds": print_odd,
        "One seed loses 40 points": print_collapse,
    }.items():
        start = time.perf_counter()
        print(f"\n## {title}\n")
        table(count)
        print(f"\n{time.perf_counter() - start:.0f} s", flush=True)
