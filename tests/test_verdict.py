"""The answer on planted studies: who may win, who may lose, and what must stay open."""

import numpy as np
import pytest

from vit.compare.statistics import compare_arms
from vit.compare.verdict import Answer, Evidence, decide, effect_of, p_of_gain

KINDS = {"scratch": "none", "longer": "none", "super": "supervised", "dino": "self-supervised"}


def evidence(accuracy: dict[str, float], images: int = 1000, **settings) -> Evidence:
    """Five seeds of each arm, 0.7 points apart; a tenth of the answers is luck."""
    rng, hard = np.random.default_rng(0), np.random.default_rng(1).random(images)
    tables = {}
    for arm, right in accuracy.items():
        lucky = rng.random((5, images)) < 0.1
        level = right + 0.007 * rng.standard_normal((5, 1))
        tables[arm] = np.where(lucky, rng.random((5, images)) < level, hard < level) * 1.0
    states = dict.fromkeys(("super", "dino"), "trained") | settings.pop("states", {})
    return Evidence(compare_arms(tables), KINDS, states, **settings)


EQUAL = {"scratch": 0.6, "longer": 0.6, "super": 0.6, "dino": 0.6}


def says(accuracy: dict[str, float], **settings) -> Answer:
    return decide(evidence(EQUAL | accuracy, **settings))


def test_twenty_points_are_an_answer_and_both_kinds_can_give_it():
    assert says({"dino": 0.8}) == Answer("self-supervised", "", "dino", "longer")
    answer = says({"super": 0.8})
    assert (answer.says, answer.arm) == ("supervised", "super")


def test_equal_arms_are_told_apart_by_nobody():
    answer = says({})
    assert (answer.says, answer.why) == ("cannot be told", "noise")
    assert answer.over in ("scratch", "longer")


def test_none_needs_every_arm_below_the_margin():
    worse = {"super": 0.5, "dino": 0.45}
    assert says(worse).says == "none"
    assert says({"super": 0.5, "dino": 0.6}).says == "cannot be told"
    assert says({}, images=40_000, margin=0.03).says == "none"  # equal within the margin
    assert says({}, images=40_000).says == "cannot be told"  # no margin was declared


def test_both_sides_are_one_rule():
    """The p of a margin is the p at which the interval's end touches it."""
    shown = evidence(EQUAL | {"dino": 0.65})
    gain = effect_of(shown.comparison, "dino", "scratch")
    for end in (gain.low, gain.high):
        assert p_of_gain(shown.comparison, "dino", "scratch", end) == pytest.approx(0.05)


@pytest.mark.parametrize("state", ["not trained", "trained", "cannot tell"])
def test_an_arm_that_was_not_trained_neither_wins_nor_loses(state):
    leads = says({"dino": 0.8}, states={"dino": state})
    trails = says({"super": 0.5, "dino": 0.4}, states={"dino": state})
    if state == "not trained":
        assert (leads.says, leads.why, leads.arm) == ("cannot be told", "untrained leads", "dino")
        assert leads.outside == ("dino",)
    else:
        assert leads.says == "self-supervised"
    assert trails.says == ("none" if state == "trained" else "cannot be told")


def test_supervised_wins_and_the_untrained_arm_is_named_beside_it():
    answer = says({"super": 0.8}, states={"dino": "not trained"})
    assert (answer.says, answer.outside) == ("supervised", ("dino",))


def test_a_failed_arm_loses_nothing_and_a_failed_baseline_lets_nobody_win():
    rest = {arm: value for arm, value in (EQUAL | {"super": 0.4}).items() if arm != "dino"}
    answer = decide(evidence(rest, failures={"dino": "1 of 5 seeds failed"}))
    assert (answer.says, answer.outside) == ("cannot be told", ("dino",))
    rest = {arm: value for arm, value in (EQUAL | {"dino": 0.8}).items() if arm != "longer"}
    answer = decide(evidence(rest, failures={"longer": "5 of 5 seeds missing"}))
    assert (answer.why, answer.outside) == ("failed", ("longer",))


def test_two_kinds_that_both_pay_leave_open_which():
    answer = says({"super": 0.8, "dino": 0.8})
    assert (answer.says, answer.why) == ("cannot be told", "which")
    assert {answer.arm, *answer.level_with} == {"super", "dino"}
    wide = says({"super": 0.8, "dino": 0.8}, images=40_000, margin=0.03)
    assert (wide.says, set(wide.level_with) | {wide.arm}) == ("alike", {"super", "dino"})


def test_without_both_kinds_or_an_interval_there_is_no_answer():
    alone = Evidence(compare_arms({"a": np.eye(3), "b": np.eye(3)}), {"a": "none", "b": "none"})
    assert decide(alone).why == "no question"
    assert decide(Evidence(None, KINDS)).why == "no interval"


def test_of_equal_arms_almost_none_is_called_a_winner_or_a_loser():
    """200 planted studies: Holm on both sides keeps false answers at the level."""
    rng, wrong = np.random.default_rng(3), 0
    for _ in range(200):
        hard = rng.random(400)
        tables = {arm: (hard + 0.3 * rng.standard_normal((5, 400)) < 0.6) * 1.0 for arm in KINDS}
        states = {"super": "trained", "dino": "trained"}
        wrong += decide(Evidence(compare_arms(tables), KINDS, states)).says != "cannot be told"
    assert wrong <= 200 * (0.05 + 2 * (0.05 * 0.95 / 200) ** 0.5)
