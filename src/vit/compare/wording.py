"""Conclusions in words: what may be said, what may not, and what would settle what is open."""

import numpy as np

from vit.compare import statistics
from vit.compare.statistics import Comparison


def what_would_settle(comparison: Comparison) -> str:
    """What would answer a question that was left open."""
    one = next(iter(comparison.arms.values()))
    noise = statistics.observed_noise(comparison)
    more = statistics.cheaper(one.seeds, one.images, len(comparison.arms), noise)
    return f"more {more if more == 'seeds' else comparison.unit} would settle it"


def _limits(comparison: Comparison, difference: float) -> str:
    """What a study that left a question open could have seen, and what would let it see more."""
    noise, unit, alpha = statistics.observed_noise(comparison), comparison.unit, comparison.alpha
    n, m = next((arm.seeds, arm.images) for arm in comparison.arms.values())
    arms = len({pair.second for pair in comparison.family}) + 1
    sizes = (n, m), (2 * n, m), (n, 2 * m)
    now, seeds, images = (
        100 * statistics.detectable(*size, arms, noise, alpha=alpha) for size in sizes
    )
    tenths = round(10 * statistics.power(difference, n, m, arms, noise, alpha))
    often = f"about {tenths}" if 0 < tenths < 10 else ("more than 9" if tenths else "fewer than 1")
    fraction = 100 * np.mean([pair.image_fraction for pair in comparison.family])
    advice = f"Twice the seeds would see {seeds:.1f} points, twice the {unit} {images:.1f}."
    if max(seeds, images) > 0.9 * now > min(seeds, images):
        helps, idle = (unit, "seeds") if images < seeds else ("seeds", unit)
        advice = f"More {idle} will not help; more {helps} will. {advice}"
    return (
        f"With {n} seeds and {m} {unit} this study finds a {100 * difference:g}-point difference "
        f"in {often} of 10 cases; it could reliably see about {now:.1f} points. Noise: {unit} "
        f"{fraction:.0f} %, seeds {100 - fraction:.0f} %. {advice} This is not evidence of "
        "equality."
    )


def sentences(
    comparison: Comparison, margin: float | None = None, labels: dict[str, str] | None = None
) -> list[str]:
    """The conclusion in words, the short one first, then what it rests on.

    Equality needs a `margin` declared in advance, as a fraction.
    """
    family, lines, still_open = comparison.family, [], []
    name = {arm: (labels or {}).get(arm, arm) for arm in comparison.arms}
    if not family:
        return ["One arm: nothing to compare it with."]
    for pair in family:
        low, high = max(pair.low, -1.0), min(pair.high, 1.0)  # accuracies differ by no more
        value, low, high = (f"{100 * x:+.1f}" for x in (pair.value, low, high))
        level = (
            f"{100 - 100 * comparison.alpha:g} % interval of this pair alone {low} to {high}, "
            f"Holm p of all pairs {pair.holm:.2g}"
        )
        by = f"{value} points over {name[pair.second]} ({level})."
        if pair.first == comparison.winner:
            return [f"{name[pair.first]} is better than every other arm: {by}"]
        if pair.holm <= comparison.alpha:
            lines.append(f"Better: {name[pair.first]}, {by}")
        elif pair.first == family[0].first:
            equal = margin is not None and -margin < pair.low and pair.high < margin
            verdict = f"Equal within {100 * margin:g} points" if equal else "Not distinguishable"
            lines.append(f"{verdict}: {name[pair.first]}, {by}")
            still_open += [] if equal else [name[pair.second]]
    short = f"No arm is better than every other. {name[family[0].first]} leads"
    short += f", not distinguishable from {', '.join(still_open)}." if still_open else "."
    return [short, *lines, *([_limits(comparison, margin or 0.03)] if still_open else [])]
