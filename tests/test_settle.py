"""What would settle a question: the smallest numbers that would, and what they cost."""

import re

import numpy as np
import pytest

from vit.compare import statistics
from vit.compare.results import Spent
from vit.compare.settle import MOST, fewest, settling

SPENT = Spent(all=6000.0, tasks=3000.0)


def comparison(seeds: int = 5, draws: int = 1, seed_sd: float = 0.02) -> statistics.Comparison:
    rng = np.random.default_rng(0)
    level = 0.6 + seed_sd * rng.standard_normal((3, seeds, draws, 1))
    tables = (rng.random(400) + 0.2 * rng.standard_normal((3, seeds, draws, 400)) < level) * 1.0
    return statistics.compare_arms(dict(zip("abc", tables, strict=True)))


@pytest.mark.parametrize("least", [6, 9, 17, 100, 160])
def test_the_fewest_are_found_to_two_per_cent(least):
    number = fewest(5, lambda count: count >= least)
    assert least <= number <= max(least + 1, least * 1.02)


def test_what_more_than_thirty_two_times_would_need_is_not_proposed():
    assert fewest(5, lambda count: count > 5 * MOST) == 0


def test_the_seeds_that_are_named_would_see_the_difference_and_one_less_would_not():
    shown = comparison()
    text = settling(shown, 0.04, 0.0, SPENT)
    assert text.startswith("To tell 4.0 points apart (the difference that was seen) in 4 of 5")
    seeds = int(re.search(r"(\d+) seeds in place of 5", text)[1])
    chance = [statistics.power(0.04, n, 400, 3, shown.noise) for n in (seeds, seeds - 1)]
    assert chance[0] >= 0.8 > chance[1]
    minutes = int(re.search(r"about (\d+) min more of computing", text)[1])
    assert minutes == round(100 * (seeds / 5 - 1))  # the whole study took 100 minutes


def test_the_margin_is_aimed_at_where_it_is_larger_and_draws_are_named_where_there_are_some():
    text = settling(comparison(draws=3), 0.001, 0.03, SPENT)
    assert "To tell 3.0 points apart (the margin)" in text
    assert "label draws a seed in place of 3" in text
    assert "nothing smaller is aimed at" in settling(comparison(), 0.001, 0.0, SPENT)


def test_two_seeds_cannot_say():
    text = settling(comparison(seeds=2), 0.04, 0.0, SPENT)
    assert text == (
        "Two seeds are too few to say what would settle it: start again with 5, about 2.5 h more "
        "of computing."
    )
