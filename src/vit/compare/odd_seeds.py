"""Seeds that stand far outside their arm's others: one that collapsed, or was never trained.

Rule: the generalised extreme studentised deviate (Rosner 1983) for the seeds of several arms. The
seed farthest from its arm's median is set aside, again and again, at most a fifth of all and fewer
than half of an arm's, or of the arms in one seed. Each is compared with the seeds left: its
distance from the mean of its arm's, over the deviation of all arms or of its own arm, whichever is
larger, against Student's t at .01 / seeds. The last that exceeds it and all set aside before it
are odd. From three arms on each arm is taken minus the mean of the others, seed by seed: label
draws that all share cancel. One arm of three seeds cannot say. K arms, n seeds.
"""

from math import sqrt
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

LEVEL_OF_STUDY = 0.01  # chance that a study of normal seeds names one


class OddSeed(NamedTuple):
    """A seed's accuracy, and the median of its arm's seeds that are not odd, as fractions."""

    arm: str
    seed: int
    value: float
    others: float


def odd_seeds(correct: dict[str, np.ndarray]) -> list[OddSeed]:
    """The seeds that stand out, the farthest first; none where an arm has two: they cannot say.

    `correct` holds n m, or n d m, of each arm.
    """
    names, m = list(correct), next(iter(correct.values())).shape[-1]
    tables = [np.asarray(x, float) for x in correct.values()]
    accuracy = np.stack([x.reshape(len(x), -1).mean(1) for x in tables])  # K n
    k, n = accuracy.shape
    left, aside, odd = np.ones((k, n), bool), [], 0
    for _ in range(max(k * n // 5, 1)):
        effect = _against_others(accuracy, left)
        rows = zip(effect, left, strict=True)
        centre = np.array([[np.median(row[kept])] for row, kept in rows])
        free = left & ((~left).sum(1, keepdims=True) < (n - 1) // 2)
        free &= (~left).sum(0) < max((k - 1) // 2, 1)
        if not free.any():
            break
        one = divmod(int(np.where(free, np.abs(effect - centre), -1.0).argmax()), n)
        left[one] = False
        aside.append(one)
        odd = len(aside) if _stands_out(accuracy, left, one, 1 / m) else odd
    named = np.zeros((k, n), bool)
    named[tuple(np.array(aside[:odd], int).reshape(-1, 2).T)] = True
    medians = [float(np.median(row[~gone])) for row, gone in zip(accuracy, named, strict=True)]
    return [OddSeed(names[a], s, accuracy[a, s].item(), medians[a]) for a, s in aside[:odd]]


def _against_others(accuracy: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Each arm minus the mean of the other arms' seeds that are left, K n; two or one: itself."""
    if len(accuracy) < 3:
        return accuracy
    total, count = (accuracy * left).sum(0), left.sum(0)
    others = (total - accuracy * left) / np.maximum(count - left, 1)
    return accuracy - others


def _stands_out(accuracy: np.ndarray, left: np.ndarray, one: tuple, least: float) -> bool:
    """Is the seed set aside last too far from what is left? `least`: one image, as a fraction."""
    effect, arm, count, k = _against_others(accuracy, left), one[0], left.sum(1), len(left)
    means = (effect * left).sum(1, keepdims=True) / count[:, None]
    squares = ((effect - means) ** 2 * left).sum(1)
    pooled, alone = squares.sum() / (count.sum() - k), squares[arm] / (count[arm] - 1)
    scale = max(sqrt(max(pooled, alone)), least) * sqrt(1 + 1 / count[arm])
    freedom = (count.sum() - k) * ((k - 1) / k if k > 2 else 1)  # what is shared was taken out
    limit = -stdtrit(freedom, LEVEL_OF_STUDY / (left.sum() + 1) / 2)
    return bool(abs(effect[one] - means[arm, 0]) > limit * scale)
