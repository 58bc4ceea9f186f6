"""An arm that learned nothing is called so, from validation alone."""

from unittest.mock import Mock

from vit.compare.command import Command
from vit.compare.job import Job
from vit.compare.store import Store
from vit.compare.trained import check_trained, still_falling

FLOOR = ("val/accuracy", "val/always_most_common")


def verdict(
    probe: float,
    random: float,
    rank: float = 20.0,
    fit: tuple = (0.5, 0.4),
    trivial_baseline=FLOOR,
    losses=None,
):
    jobs = [
        Job("p", Command("evaluate"), "probe", "mpp", 0),
        Job("c", Command("evaluate"), "control", "random_encoder", 0),
        Job("f", Command("fit"), "pretrain", "mpp", 0),
    ]
    summaries = {
        "p": {
            "val/attentive/accuracy": probe,
            "effective_rank": rank,
            "test/attentive/accuracy": 0,
        },
        "c": {"val/attentive/accuracy": random, "effective_rank": 9, "test/attentive/accuracy": 1},
        "f": dict(zip(FLOOR, fit, strict=True)),
    }
    store = Mock(spec=Store, summary=lambda job: summaries[job.id])
    store.validation_losses.return_value = losses or {}
    return check_trained("mpp", jobs, store, trivial_baseline)


def test_better_than_random_above_the_floor_and_wide_is_trained():
    arm = verdict(0.6, 0.5)
    assert arm.trained
    assert len(arm.reasons) == 3


def test_each_check_alone_fails_an_arm():
    for settings in ({"probe": 0.5}, {"rank": 1.1}, {"fit": (0.4, 0.4)}):
        arm = verdict(**({"probe": 0.6, "random": 0.5} | settings))
        assert not arm.trained, settings
        assert arm.reasons  # the failure stands first


def test_the_test_split_is_not_looked_at():
    assert "test/" not in " ".join(verdict(0.6, 0.5).reasons)


def test_an_objective_without_a_floor_is_judged_by_the_rest():
    assert verdict(0.6, 0.5, fit=(0.0, 0.9), trivial_baseline=None).trained


def test_nothing_measured_is_not_a_pass():
    nothing = Mock(spec=Store, summary=lambda job: {})
    assert not check_trained("mpp", [], nothing, FLOOR).trained


def test_an_arm_whose_loss_still_fell_was_too_short():
    short = verdict(0.5, 0.5, losses={500: 2.0, 1000: 1.5})
    assert not short.trained
    assert "too short" in short.summary
    assert "too short" not in verdict(0.5, 0.5, losses={500: 2.0, 1000: 1.99}).summary
    assert verdict(0.6, 0.5, losses={500: 2.0, 1000: 1.5}).summary == "trained"


def test_the_last_fifth_of_a_run_counts_whatever_the_interval():
    assert still_falling({500: 2.0, 1000: 1.5, 1120: 1.5})  # against step 500, not 1000
    assert not still_falling({100: 3.0, 800: 2.0, 900: 1.9, 1000: 1.985})
    assert still_falling({1000: 2.0}) is None
    assert still_falling({}) is None
