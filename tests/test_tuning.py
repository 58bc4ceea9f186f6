"""Every arm tries as many learning rates; each repetition uses the best on its own validation."""

from unittest.mock import Mock

import pytest

from simulate_tuning import Tuned, false_winners, limit
from vit.compare.command import Command
from vit.compare.dry_run import DryRun
from vit.compare.job import Job, Repetition
from vit.compare.plan import Planner
from vit.compare.store import Store
from vit.compare.study import ConfigPatch, Finetuning, Primary, Study, Tuning
from vit.compare.tuning import check_validation, choose_rates, first_trials, tune

Scores = dict[tuple[str, int], dict[int, tuple[float, float]]]
HALF = dict.fromkeys((-1, 0, 1), (0.5, 1.0))


def trial(arm: str, seed: int, step: int) -> Job:
    name, fit = f"{arm}{seed}{step:+d}", Command("fit")
    return Job(name, fit, "tune", arm, seed, draw=seed, data="task", trial=step, flops=2.0)


def where(arm: str, seed: int = 0) -> Repetition:
    return Repetition(arm, "task", seed, seed, None)


def chosen(scores: Scores, trials: list[int]):
    """Scores: accuracy and loss on validation, by arm and seed, and by step."""
    jobs = [trial(*place, step) for place, values in scores.items() for step in values]
    summaries = {
        trial(*place, step).id: {"val/accuracy": accuracy, "val/loss": loss}
        for place, values in scores.items()
        for step, (accuracy, loss) in values.items()
    }
    store = Mock(spec=Store, summary=lambda job: summaries[job.id])
    return choose_rates(jobs, store, trials)


def test_the_first_trials_stand_around_the_arms_own():
    assert [first_trials(n) for n in (1, 2, 3, 5)] == [[0], [0, 1], [-1, 0, 1], [-2, -1, 0, 1, 2]]


def test_each_seed_of_each_arm_chooses_its_own_best():
    low, middle, high = ({step: (0.9, 1) if step == best else (0.1, 1) for step in (-1, 0, 1)}
                         for best in (-1, 0, 1))  # fmt: skip
    scores = {("a", 0): middle, ("a", 1): high, ("b", 0): low, ("b", 1): low, ("b", 2): middle}
    choice = chosen(scores, [-1, 0, 1])
    assert choice.chosen == {where("a"): 0, where("a", 1): 1, where("b"): -1, where("b", 1): -1,
                             where("b", 2): 0}  # fmt: skip
    assert choice.counts == {"a task": {0: 1, 1: 1}, "b task": {-1: 2, 0: 1}}
    final = trial("a", 0, 0)
    assert [job.trial for job in choice.other_trials(final)] == [-1, 1]  # one trial is the run
    assert len(choice.other_trials(Job("x", final.command, "transfer", "a", 0, 0, "task"))) == 3


def test_ties_go_to_the_lower_loss_and_then_to_the_arms_own():
    tied = {("a", 0): {-1: (0.5, 1.0), 0: (0.5, 0.9), 1: (0.5, 0.8)}}
    assert chosen(tied, [-1, 0, 1]).chosen == {where("a"): 1}
    assert chosen({("a", 0): HALF}, [-1, 0, 1]).chosen == {where("a"): 0}


def test_an_end_that_most_repetitions_of_an_arm_choose_extends_that_side_for_everybody():
    low, high = ({step: (0.9, 1) if step == best else (0.1, 1) for step in (-1, 0, 1)}
                 for best in (-1, 1))  # fmt: skip
    both = chosen({("a", 0): low, ("a", 1): high}, [-1, 0, 1])
    assert (both.edge, both.extended) == ({}, [-1, 0, 1])  # noise, at either end half
    most = {("a", 0): low, ("a", 1): low, ("a", 2): high}
    choice = chosen(most | {("b", 0): HALF}, [-1, 0, 1])
    assert (choice.edge, choice.extended) == ({"a task": -1}, [-2, -1, 0, 1])
    choice = chosen(most | {("b", 0): high}, [-1, 0, 1])
    assert (choice.edge, choice.extended) == ({"a task": -1, "b task": 1}, [-2, -1, 0, 1, 2])


def test_a_grid_is_extended_twice_at_most_and_what_is_left_is_told():
    planner = Mock(spec=Planner)
    planner.tuning_jobs = lambda trials: [trial("a", 0, step) for step in trials]
    store = Mock(spec=Store, summary=lambda job: {"val/accuracy": 0.5 + job.trial / 100})
    worked = []
    choice = tune(planner, store, worked.append, [-1, 0, 1])
    assert [len(jobs) for jobs in worked] == [3, 4, 5]
    assert (choice.trials, choice.edge) == ([-1, 0, 1, 2, 3], {"a task": 3})


def test_a_trial_that_failed_is_not_chosen():
    jobs = [trial("a", 0, step) for step in (-1, 0, 1)]
    summaries = [{}, {"val/accuracy": 0.2, "val/loss": 1}, {"val/accuracy": None}]
    store = Mock(spec=Store, summary=lambda job: summaries[job.trial + 1])
    assert choose_rates(jobs, store, [-1, 0, 1]).chosen == {where("a"): 0}
    store.summary = lambda job: {}
    assert choose_rates(jobs, store, [-1, 0, 1]).chosen == {}


def refusal(count: int, redraws: bool, trials: int = 3) -> str:
    study = Study("?", ["a"], "", {"task": ConfigPatch("")}, Finetuning("", 1), Primary("task"),
                  tuning=Tuning(trials))  # fmt: skip
    data = Mock(redraws=redraws)
    task, before = Mock(spec=DryRun, chosen_on=count, data=data), Mock(spec=DryRun, chosen_on=1)
    try:
        check_validation(study, {("a", "task"): task, ("a", "pretrain"): before})
    except ValueError as error:
        return str(error)
    return ""


def test_few_validation_images_that_all_seeds_would_choose_on_are_refused_with_their_number():
    line = refusal(45, redraws=False)
    assert "3 learning rates on the same 45 validation images of task, and that needs 2,000" in line
    assert "tuning.trials 1" in line
    assert "\n" not in line
    assert not refusal(45, redraws=True)
    assert not refusal(2000, redraws=False)
    assert not refusal(45, redraws=False, trials=1)


STUDIES = 200


def test_one_choice_for_all_seeds_separates_equal_arms():
    assert false_winners(Tuned(arms=2, once=True), STUDIES) > 0.3
    assert false_winners(Tuned(200, arms=2, gap=0.04, once=True), STUDIES) > limit(STUDIES)


def test_a_choice_of_each_seed_on_the_same_few_images_does_so_too():
    assert false_winners(Tuned(common=True), STUDIES) > limit(STUDIES)
    assert false_winners(Tuned(2000, common=True), STUDIES) <= limit(STUDIES)


@pytest.mark.parametrize(
    "design",
    [Tuned(), Tuned(arms=2), Tuned(arms=8), Tuned(arms=2, draws=5), Tuned(arms=2, folds=5)],
    ids=str,
)
def test_a_choice_of_each_repetition_separates_equal_arms_as_rarely_as_it_should(design):
    assert false_winners(design, STUDIES) <= limit(STUDIES)
