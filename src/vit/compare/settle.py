"""What would settle a question that was left open: seeds, draws or images, and how long."""

import math
from collections.abc import Callable

from vit.compare import statistics
from vit.compare.progress import minutes
from vit.compare.results import Spent
from vit.compare.statistics import Comparison

SMALLEST = 0.01  # a smaller difference is not aimed at, where the study declares no margin
CHANCE = 0.8  # of seeing a difference that is there
MOST = 32  # times as many; what needs more is not proposed


def settling(comparison: Comparison, gain: float, margin: float, spent: Spent) -> str:
    """A sentence on what this difference, or the margin where that is larger, would take.

    Args:
        comparison: at the primary endpoint.
        gain: the difference that was seen, a fraction.
        margin: of the study, a fraction.
        spent: what the study took.
    """
    target = max(abs(gain), margin or SMALLEST)
    one = next(iter(comparison.arms.values()))
    seeds, images, draws = one.seeds, one.images, comparison.draws
    if seeds < 3:
        return (
            "Two seeds are too few to say what would settle it: start again with 5, about "
            f"{minutes(spent.all * (5 - seeds) / seeds)} more of computing."
        )
    arms = len({name for pair in comparison.family for name in (pair.first, pair.second)})
    rest = {"alpha": comparison.alpha, "folds": comparison.folds}

    def seen(more_seeds: int, more_images: int, more_draws: int) -> bool:
        size = (target, more_seeds, more_images, arms, comparison.noise)
        return statistics.power(*size, draws=more_draws, **rest) >= CHANCE

    ways = []
    if number := fewest(seeds, lambda count: seen(count, images, draws)):
        cost = minutes(spent.all * (number / seeds - 1))
        ways.append(f"{number} seeds in place of {seeds} (about {cost} more of computing)")
    if draws > 1 and (number := fewest(draws, lambda count: seen(seeds, images, count))):
        cost = minutes(spent.tasks * (number / draws - 1))
        ways.append(f"{number} label draws a seed in place of {draws} (about {cost} more)")
    if number := fewest(images, lambda count: seen(seeds, count, draws)):
        ways.append(f"about {number:,} {comparison.unit} in place of {images:,}")
    aims = {abs(gain): "the difference that was seen", margin: "the margin"}
    aim = aims.get(target, "nothing smaller is aimed at")
    goal = f"To tell {100 * target:.1f} points apart ({aim}) in 4 of 5 such studies"
    if not ways:
        both = f"{MOST} times the seeds, draws or {comparison.unit} alone"
        return f"{goal}, {both} would not do: take a larger budget, or fewer arms."
    return f"{goal}: {', or '.join(ways)}."


def fewest(now: int, enough: Callable[[int], bool]) -> int:
    """The smallest number, up to MOST times `now`, that is enough; 0: none is."""
    low, high = now, now * MOST
    if not enough(high):
        return 0
    while high - low > max(1, low // 50):  # two per cent is close enough
        middle = math.ceil((low + high) / 2)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
