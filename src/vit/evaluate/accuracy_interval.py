"""How sure a test accuracy is: its 95 % interval, and the difference that its images can show.

Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927: it
holds for small counts and near 0 and 100 %, where the usual +- 1.96 deviations do not (Brown, Cai
& DasGupta, "Interval estimation for a binomial proportion", Statistical Science 16, 2001). Images
count as independent: of several images of one animal or patient, the interval is too narrow.
"""

import math

Z_95 = 1.959964  # quantile of the normal distribution: 95 %, two-sided
Z_POWER = 0.841621  # its 80 % quantile


def accuracy_interval(right: int, images: int) -> tuple[float, float]:
    """Wilson's 95 % interval of an accuracy, as fractions.

    Args:
        right: how many images were right.
        images: how many there were, at least 1.
    """
    fraction, spread = right / images, Z_95**2 / images
    middle = fraction + spread / 2
    half = Z_95 * math.sqrt(fraction * (1 - fraction) / images + spread / (4 * images))
    return max((middle - half) / (1 + spread), 0.0), min((middle + half) / (1 + spread), 1.0)


def smallest_difference(right: int, images: int) -> float:
    """The difference in accuracy that this test shows in four cases of five, as a fraction.

    It is the one between two models whose accuracies on so many images each are compared as
    independent (z test, two-sided 5 %, 80 % power), with the variance at the middle of Wilson's
    interval: a smaller one will mostly pass for chance. Whoever pairs two models image by image, as
    `compare` does, sees less, because both stumble over the same images.
    """
    middle = (right + Z_95**2 / 2) / (images + Z_95**2)
    return (Z_95 + Z_POWER) * math.sqrt(2 * middle * (1 - middle) / images)
