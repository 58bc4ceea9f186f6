"""Gains over random features: against SciPy's t interval, by hand, and by simulation."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from simulate_validity import Setting, rates
from vit.compare import gains as module
from vit.compare.gains import Cells, gains

MANY = 4000  # images, so that their sampling does not limit an interval


def cells(accuracies: list[float], count: int = MANY) -> Cells:
    """One cell a seed."""
    return [[(np.arange(count) < round(x * count)) * 1.0] for x in accuracies]


def own_images(seeds: int, count: int = MANY) -> Cells:
    """Every seed sees other images."""
    return [[np.arange(count) + count * seed] for seed in range(seeds)]


def test_one_arm_has_the_interval_of_a_paired_t_test():
    arm, random = [0.50, 0.62, 0.55], [0.40, 0.43, 0.48]
    gain = gains({"a": cells(arm)}, cells(random), own_images(3))["a"]
    expected = stats.ttest_rel(arm, random).confidence_interval(0.95)
    assert (gain.low, gain.high) == pytest.approx((expected.low, expected.high), abs=1e-3)
    assert gain.value == pytest.approx(0.12)
    assert (gain.seeds, gain.images) == (3, 3 * MANY)


def test_arms_lend_each_other_their_freedom():
    """By hand: residuals of the table are +-.02 and 0; MS = .0016 / 4, t of 4 is 2.776."""
    arms = {"a": cells([0.52, 0.48, 0.50]), "b": cells([0.50, 0.50, 0.50])}
    gain = gains(arms, cells([0.38, 0.42, 0.40]), own_images(3))["b"]
    assert gain.value == pytest.approx(0.1)
    assert gain.high - gain.value == pytest.approx(2.776 * (2 * 0.0016 / 4 / 3) ** 0.5, rel=1e-2)


def test_an_arm_that_varies_beyond_the_pool_keeps_its_own_interval():
    quiet = {name: cells([0.500, 0.501, 0.499]) for name in "bcdef"}
    arm, random = [0.3, 0.7, 0.5], [0.400, 0.399, 0.401]
    gain = gains({"a": cells(arm)} | quiet, cells(random), own_images(3))["a"]
    expected = stats.ttest_rel(arm, random).confidence_interval(0.95)
    assert (gain.low, gain.high) == pytest.approx((expected.low, expected.high), abs=1e-3)


def test_draws_are_averaged_within_their_seed():
    three = [[*cells([x - 0.1]), *cells([x + 0.1])] for x in (0.5, 0.6, 0.7)]
    draws = [[first[0], second[0]] for first, second in three]
    random, names = cells([0.4, 0.4, 0.4]), own_images(3)
    twice = [[seed[0], seed[0]] for seed in random], [[seed[0], seed[0] + 10**6] for seed in names]
    one = gains({"a": cells([0.5, 0.6, 0.7])}, random, names)["a"]
    assert gains({"a": draws}, *twice)["a"][:3] == pytest.approx(one[:3])


def test_equal_seeds_do_not_hide_the_sampling_of_the_images():
    """Three seeds of 40 images, each 30 right of the arm's and 20 of the random encoder's."""
    gain = gains({"a": cells([0.75] * 3, 40)}, cells([0.5] * 3, 40), own_images(3, 40))["a"]
    one = 0.25 * 0.75 / 40  # 10 of 40 differ
    assert gain.value - gain.low == pytest.approx(1.96 * (one / 3) ** 0.5, rel=1e-3)


def test_images_that_all_seeds_share_do_not_average_out():
    """The same right answers in every seed are one sample of images, not three."""
    shared = [[np.arange(40)] for _ in range(3)]
    gain = gains({"a": cells([0.75] * 3, 40)}, cells([0.5] * 3, 40), shared)["a"]
    assert gain.value - gain.low == pytest.approx(1.96 * (0.25 * 0.75 / 40) ** 0.5, rel=1e-3)
    assert gain.images == 40


def test_images_of_a_group_are_one_unit():
    """Two halves that are right or wrong as a whole are two images."""
    names = [[np.repeat([f"left {seed}", f"right {seed}"], 20)] for seed in range(3)]
    gain = gains({"a": cells([0.5] * 3, 40)}, cells([0.0] * 3, 40), names)["a"]
    assert gain.value - gain.low == pytest.approx(1.96 * (0.25 / 2 / 3) ** 0.5, rel=1e-3)
    assert gain.images == 6


def test_features_that_answer_as_random_ones_do_have_no_gain():
    same = cells([0.4, 0.5, 0.6])
    assert gains({"a": same}, same, own_images(3))["a"][:3] == (0.0, 0.0, 0.0)


def test_one_seed_is_refused():
    with pytest.raises(ValueError, match="got 1 seeds"):
        gains({"a": cells([0.5])}, cells([0.4]), own_images(1))


@pytest.mark.parametrize(
    "setting",
    [
        Setting(45, 3),
        Setting(45, 3, 5),
        Setting(200, 5, gains=(0.0,)),
        Setting(45, 3, given=True),
        Setting(200, noisy=5.0),
    ],
    ids=["45 images", "five draws", "one arm", "given images", "a noisy arm"],
)
def test_errors_are_rarer_than_one_in_twenty(setting):
    """Beyond two standard errors of 300 studies, .05 becomes .075; the whole table is printed."""
    for one in rates(setting, 300):
        assert one.gain > 0 or one.trained <= 0.075, one
        assert one.gain < 0.02 or one.untrained <= 0.075, one
        assert one.covered >= 0.92, one


def test_a_gain_of_twenty_points_is_seen_with_five_draws():
    assert list(rates(Setting(45, 5, 5), 200))[-1].trained > 0.9


def test_an_interval_without_what_images_share_would_err(monkeypatch):
    """A planted fault: as if every image were new, where all seeds see the same 45."""
    setting = replace(Setting(45, 5, 5), given=True, gains=(0.0,), seed_sd=0.0, draw_sd=0.0)
    honest = module.image_errors

    def as_if_new(gained: Cells, images: Cells) -> np.ndarray:
        return honest(
            gained, [[row + 45 * seed for row in rows] for seed, rows in enumerate(images)]
        )

    assert next(rates(setting, 200)).covered > 0.92
    monkeypatch.setattr(module, "image_errors", as_if_new)
    assert next(rates(setting, 200)).covered < 0.8
