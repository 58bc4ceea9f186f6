"""Where two arms cross along an axis: the place, and how well it is known.

A crossing is told only where the differences' intervals exclude 0 on both sides of it with opposite
signs, each at half the level (two ends are looked at). The place itself is where the line between
the means meets 0, on a logarithmic axis.
"""

from itertools import pairwise
from math import exp, log
from typing import NamedTuple

from vit.compare.verdict import Effect


class Crossing(NamedTuple):
    """Where one arm begins to be better than another.

    Args:
        place: on the axis, by interpolation.
        low: the last value at which the one arm is better for sure.
        high: the first value at which the other is.
        rising: is the first arm the better one from there on?
    """

    place: float
    low: float
    high: float
    rising: bool


def crossing(gains: dict[float, Effect]) -> Crossing | None:
    """The one crossing that the intervals of a difference show; None: none is sure.

    Args:
        gains: the difference of two arms at each value of the axis, values above 0.
    """
    values = sorted(gains)
    sure = [v for v in values if gains[v].low > 0 or gains[v].high < 0]
    signs = [gains[v].value > 0 for v in sure]
    changes = [i for i, (one, two) in enumerate(pairwise(signs)) if one != two]
    if len(changes) != 1:
        return None
    low, high = sure[changes[0]], sure[changes[0] + 1]
    inside = [v for v in values if low <= v <= high]
    place = next(
        _zero(a, gains[a].value, b, gains[b].value)
        for a, b in pairwise(inside)
        if (gains[a].value > 0) != (gains[b].value > 0)
    )
    return Crossing(place, low, high, signs[-1])


def _zero(a: float, at_a: float, b: float, at_b: float) -> float:
    """Where a line over the logarithm of the axis meets 0."""
    return exp(log(a) + (log(b) - log(a)) * at_a / (at_a - at_b))
