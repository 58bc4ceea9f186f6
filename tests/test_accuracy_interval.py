"""The interval is SciPy's, and the smallest difference is one that such a test does show."""

import numpy as np
import pytest
from scipy.stats import binomtest

from vit.evaluate.accuracy_interval import accuracy_interval, smallest_difference


@pytest.mark.parametrize(("right", "images"), [(34, 40), (0, 7), (7, 7), (1, 1), (980, 1000)])
def test_the_interval_is_scipys(right, images):
    expected = binomtest(right, images).proportion_ci(method="wilson")
    assert accuracy_interval(right, images) == pytest.approx(tuple(expected), abs=1e-6)


def test_forty_images_cannot_tell_85_from_92_percent():
    # by hand: middle (34 + 1.92) / 43.84 = .8193; 2.8016 * sqrt(2 * .8193 * .1807 / 40) = .2410
    assert smallest_difference(34, 40) == pytest.approx(0.2410, abs=1e-4)
    assert smallest_difference(34, 40) > 0.92 - 0.85


def test_two_models_that_far_apart_are_told_apart_in_four_cases_of_five():
    images, generator = 400, np.random.default_rng(0)
    gap = smallest_difference(320, images)
    first, second = (
        generator.binomial(images, 0.8 + side * gap / 2, 20_000) / images for side in (-1, 1)
    )
    both = (first + second) / 2
    z = (second - first) / np.sqrt(2 * both * (1 - both) / images)
    assert np.mean(z > 1.96) == pytest.approx(0.8, abs=0.02)


def test_a_perfect_test_is_not_sure_for_ever():
    low, high = accuracy_interval(20, 20)
    assert high == 1
    assert low < 0.85
    assert smallest_difference(20, 20) > 0.05
