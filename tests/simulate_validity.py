"""How often is an arm called trained, not trained, or neither, where its true gain is known?

`python tests/simulate_validity.py [repetitions]` prints the table; tests take a few lines of it.
An image is right where a normal variable passes a threshold. The variable has a part of the image
(shared by all arms, .3), of the image for this arm (.3, shared by its seeds) and the rest, new in
each cell; seeds and label draws move each arm's threshold. Validation images are drawn from a pool
ten times as large, anew for each cell, or are the same for all (`given`).
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from vit.compare.gains import Cells, gains
from vit.compare.trained import state_of

GAINS = (0.0, 0.02, 0.05, 0.10, 0.20)
BY_IMAGE, BY_ARM = 0.3, 0.3
POINTS = 0.38  # of accuracy by which a threshold moved by 1 changes it, about
Right = tuple[dict[str, Cells], Cells, Cells]


@dataclass(frozen=True)
class Setting:
    """A study.

    Args:
        images: of each cell's validation.
        seeds: how many.
        draws: of labels, in each seed.
        gains: true ones, an arm each.
        seed_sd: what a seed moves an arm's accuracy by.
        draw_sd: what a draw moves an arm's accuracy by.
        given: all cells have the same validation images.
        noisy: the first arm's seeds move it so many times as much.
        quiet: the random encoder's seeds do not move it.
    """

    images: int = 45
    seeds: int = 3
    draws: int = 1
    gains: tuple[float, ...] = GAINS
    seed_sd: float = 0.015
    draw_sd: float = 0.02
    given: bool = False
    noisy: float = 1.0
    quiet: bool = False


def study(setting: Setting, draw: np.random.Generator) -> Right:
    """Correctness of arms and of the random encoder, and which images they are of."""
    true = np.array([*setting.gains, 0.0]) + 0.35
    pool, arms = 10 * setting.images, len(true)
    hard = np.sqrt(BY_IMAGE) * draw.standard_normal(pool)
    hard = hard + np.sqrt(BY_ARM) * draw.standard_normal((arms, pool))
    spread = np.full(arms, setting.seed_sd / POINTS)
    spread[0] *= setting.noisy
    spread[-1] *= not setting.quiet
    right: list[Cells] = [[] for _ in true]
    images: Cells = []
    for _ in range(setting.seeds):
        of_seed, rows = spread * draw.standard_normal(arms), []
        for part in right:
            part.append([])
        for _ in range(setting.draws):
            given = np.arange(setting.images)
            row = given if setting.given else draw.choice(pool, setting.images, replace=False)
            of_draw = setting.draw_sd / POINTS * draw.standard_normal(arms)
            rest = np.sqrt(1 - BY_IMAGE - BY_ARM) * draw.standard_normal((arms, setting.images))
            moved = np.sqrt(1 + spread**2 + (setting.draw_sd / POINTS) ** 2)
            level = ndtri(true) * moved + of_seed + of_draw
            for arm, passed in enumerate(hard[:, row] + rest < level[:, None]):
                right[arm][-1].append(passed.astype(float))
            rows.append(row)
        images.append(rows)
    return {f"arm {number}": cells for number, cells in enumerate(right[:-1])}, right[-1], images


@dataclass
class Rates:
    """Of one true gain: fractions of the studies.

    Args:
        gain: true.
        trained: called so.
        untrained: called not trained.
        covered: the interval holds the true gain.
        width: of the interval, its mean.
    """

    gain: float
    trained: float
    untrained: float
    covered: float
    width: float


def rates(setting: Setting, repetitions: int, seed: int = 0) -> Iterator[Rates]:
    """What becomes of each arm."""
    draw = np.random.default_rng(seed)
    studies = [list(gains(*study(setting, draw)).values()) for _ in range(repetitions)]
    for number, true in enumerate(setting.gains):
        one = [study[number] for study in studies]
        states = [state_of(gain) for gain in one]
        yield Rates(
            true,
            states.count("trained") / repetitions,
            states.count("not trained") / repetitions,
            float(np.mean([gain.low <= true <= gain.high for gain in one])),
            float(np.mean([gain.high - gain.low for gain in one])),
        )


SETTINGS = {
    **{
        f"{images} images, {seeds} seeds, {draws} draws": Setting(images, seeds, draws)
        for images in (45, 200, 1000)
        for seeds in (3, 5)
        for draws in (1, 5)
    },
    "two seeds, 200 images": Setting(200, 2),
    **{
        f"one arm alone, gain {gain:g}, 200 images, 3 seeds": Setting(200, gains=(gain,))
        for gain in GAINS
    },
    "given images, 45, 3 seeds": Setting(given=True),
    "given images, 200, 5 seeds": Setting(200, 5, given=True),
    "first arm's seeds 5 times as far apart, 200, 3": Setting(200, noisy=5.0),
    "first arm's seeds 5 times as far apart, 1,000, 5": Setting(1000, 5, noisy=5.0),
    "random encoder without spread, 1,000, 3": Setting(1000, quiet=True),
    "seeds and draws without spread, 200, 5 draws": Setting(200, 3, 5, seed_sd=0.0, draw_sd=0.0),
    "seeds 4 points apart, 1,000, 3": Setting(1000, seed_sd=0.04),
}


def main(repetitions: int) -> None:
    """Print the table, in percent."""
    print("| setting | true gain | trained | not trained | cannot tell | covered | width |")
    print("|---|---|---|---|---|---|---|")
    for name, setting in SETTINGS.items():
        for one in rates(setting, repetitions):
            open_ = 1 - one.trained - one.untrained
            cells = (one.gain, one.trained, one.untrained, open_, one.covered, one.width)
            print(f"| {name} | " + " | ".join(f"{100 * x:.1f}" for x in cells) + " |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
