"""Intervals and p of a mean whose noise has two parts, of seeds and of images; Holm's correction.

The parts' quantiles are combined, not their variances (MOVER: Zou & Donner 2008): the seed part
follows Student's t, the image part the normal distribution.
"""

import numpy as np
from scipy.special import ndtri, stdtrit

SMALLEST = -230.0  # log p; below it p is 0, because the quantiles overflow further out
HALVINGS = 45  # of the range of log p: to 1e-11

Values = np.ndarray | float


def half_width(
    alpha: Values, seed_variance: Values, image_variance: Values, freedom: Values
) -> Values:
    """The half width of the 1 - alpha interval; each part has its own distribution's quantile."""
    t, z = stdtrit(freedom, alpha / 2), ndtri(alpha / 2)
    return np.hypot(t * np.sqrt(seed_variance), z * np.sqrt(image_variance))


def p_value(
    value: Values, seed_variance: Values, image_variance: Values, freedom: Values
) -> np.ndarray:
    """The alpha at which the interval touches zero, of each difference."""
    size, low, high = np.abs(value), np.full(np.shape(value), SMALLEST), np.zeros(np.shape(value))
    seeds, images = np.sqrt(seed_variance), np.sqrt(image_variance)
    none = half_width(np.exp(low), seed_variance, image_variance, freedom) <= size
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        tail = np.exp(middle) / 2
        beyond = np.hypot(stdtrit(freedom, tail) * seeds, ndtri(tail) * images) > size
        low, high = np.where(beyond, middle, low), np.where(beyond, high, middle)
    return np.where(none, 1.0 * (size == 0), np.exp(high))


def holm(values: np.ndarray | list[float]) -> list[float]:
    """Adjusted p in the order given (Holm 1979); at most alpha means separated."""
    adjusted, least = [1.0] * len(values), 0.0
    for rank, index in enumerate(np.argsort(values, kind="stable")):
        least = max(least, min(1.0, (len(values) - rank) * float(values[index])))
        adjusted[index] = least
    return adjusted
