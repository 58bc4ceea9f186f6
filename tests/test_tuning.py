"""Every arm tries as many learning rates, and the best on validation is used."""

from unittest.mock import Mock

from vit.compare.command import Command
from vit.compare.job import Job
from vit.compare.store import Store
from vit.compare.tuning import choose_rate, first_trials


def trial(arm: str, step: int) -> Job:
    name, fit = f"{arm}{step}", Command("fit")
    return Job(name, fit, "tune", arm, 0, data="task", trial=step, flops=2.0)


def chosen(scores: dict[str, dict[int, tuple[float, float]]], trials: list[int]):
    """Scores: accuracy and loss on validation, by arm and step."""
    jobs = [trial(arm, step) for arm, values in scores.items() for step in values]
    summaries = {
        f"{arm}{step}": {"val/accuracy": accuracy, "val/loss": loss}
        for arm, values in scores.items()
        for step, (accuracy, loss) in values.items()
    }
    store = Mock(spec=Store, summary=lambda job: summaries[job.id])
    return choose_rate(jobs, store, trials)


def test_the_first_trials_stand_around_the_arms_own():
    assert [first_trials(n) for n in (1, 2, 3, 5)] == [[0], [0, 1], [-1, 0, 1], [-2, -1, 0, 1, 2]]


def test_the_best_on_validation_is_chosen_for_each_arm():
    choice = chosen(
        {
            "a": {-1: (0.5, 1), 0: (0.7, 1), 1: (0.6, 1)},
            "b": {-1: (0.5, 1), 0: (0.4, 1), 1: (0.3, 1)},
        },
        [-1, 0, 1],
    )
    assert choice.chosen == {"a task": 0, "b task": -1}
    assert choice.edge == ["b task"]
    assert choice.cost("a task", "another") == 6.0
    assert choice.cost("a task", "a0") == 4.0  # the final run is one of the trials


def test_ties_go_to_the_lower_loss_and_then_to_the_arms_own():
    tied = {"a": {-1: (0.5, 1.0), 0: (0.5, 0.9), 1: (0.5, 0.8)}}
    assert chosen(tied, [-1, 0, 1]).chosen == {"a task": 1}
    equal = {"a": dict.fromkeys((-1, 0, 1), (0.5, 1.0))}
    assert chosen(equal, [-1, 0, 1]).chosen == {"a task": 0}


def test_a_best_value_at_the_edge_extends_that_side_for_everybody():
    low = {"a": {-1: (0.9, 1), 0: (0.7, 1), 1: (0.6, 1)}}
    assert chosen(low, [-1, 0, 1]).extended == [-2, -1, 0, 1]
    both = low | {"b": {-1: (0.1, 1), 0: (0.2, 1), 1: (0.3, 1)}}
    assert chosen(both, [-1, 0, 1]).extended == [-2, -1, 0, 1, 2]


def test_a_trial_that_failed_is_not_chosen():
    jobs = [trial("a", step) for step in (-1, 0, 1)]
    summaries = {
        "a-1": {},
        "a0": {"val/accuracy": 0.2, "val/loss": 1},
        "a1": {"val/accuracy": None},
    }
    store = Mock(spec=Store, summary=lambda job: summaries[job.id])
    assert choose_rate(jobs, store, [-1, 0, 1]).chosen == {"a task": 0}
