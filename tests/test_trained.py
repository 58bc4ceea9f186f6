"""Weights that taught nothing are called so, and what the noise hides is not decided."""

from unittest.mock import Mock

import numpy as np
import pytest
import torch

from vit.compare.command import Command
from vit.compare.job import Job
from vit.compare.plan import Planner
from vit.compare.store import Store
from vit.compare.study import ConfigPatch
from vit.compare.trained import (
    Check,
    TaskChecks,
    recorded_protocols,
    still_falling,
    validation_images,
    validity_of,
)
from vit.objectives.base import Objective
from vit.objectives.supervised import Supervised

BASELINE = ("val/accuracy", "val/always_most_common")
MASKED = ("attentive", "ridge", "knn")
IMAGES = 400


def right(accuracy: float) -> np.ndarray:
    return (np.arange(IMAGES) < round(accuracy * IMAGES)) * 1.0


def checks(
    probes: dict[str, list[float]],
    random: dict[str, list[float]],
    ranks: tuple[float, ...] = (20.0, 21.0, 22.0),
    fits: tuple[tuple[float, float], ...] = ((0.5, 0.4),) * 3,
    losses: dict[int, float] | None = None,
) -> TaskChecks:
    """Of an arm called mpp, its accuracies by protocol and seed; nothing else is measured."""
    tables, summaries, jobs = {}, {}, []
    for seed, (rank, fit) in enumerate(zip(ranks, fits, strict=True)):
        for stage, arm, accuracies in (
            ("probe", "mpp", probes),
            ("control", "random_encoder", random),
        ):
            job = Job(f"{stage}{seed}", Command("evaluate"), stage, arm, seed, seed, "task",
                      needs=(f"f{seed}",) if stage == "probe" else ())  # fmt: skip
            jobs += [job] if accuracies else []
            summaries[job.id] = {"effective_rank": rank, "test/attentive/accuracy": 1.0}
            for protocol, values in accuracies.items():
                tables[job.id, protocol, "val"] = right(values[seed])
        jobs.append(Job(f"f{seed}", Command("fit"), "pretrain", "mpp", seed))
        summaries[f"f{seed}"] = dict(zip(BASELINE, fit, strict=True))
    store = Mock(spec=Store, summary=lambda job: summaries[job.id])
    store.correct = lambda job, column, split: tables.get((job.id, column, split))
    store.validation_losses.return_value = losses or {}
    return TaskChecks("task", jobs, store, lambda job: np.arange(IMAGES) + IMAGES * job.seed)


def features(arm: TaskChecks) -> Check:
    return arm.features({"mpp": MASKED})["mpp"]


BETTER, RANDOM = {"attentive": [0.6, 0.62, 0.58]}, {"attentive": [0.4, 0.41, 0.39]}


def test_features_clearly_above_random_ones_are_trained():
    check = features(checks(BETTER, RANDOM))
    assert check.state == "trained"
    start = "attentive probe on validation +20.0 points over random features (95 % interval +1"
    assert check.text.startswith(start)


def test_a_gain_within_the_noise_cannot_be_told():
    assert features(checks({"attentive": [0.5, 0.38, 0.44]}, RANDOM)).state == "cannot tell"


def test_features_clearly_below_random_ones_are_not_trained():
    assert features(checks({"attentive": [0.2, 0.21, 0.19]}, RANDOM)).state == "not trained"


def test_a_gain_that_is_surely_small_is_none():
    assert features(checks(RANDOM, RANDOM)).state == "not trained"


def test_the_protocol_that_suits_the_arm_decides():
    worse = {"knn": [0.2, 0.21, 0.19]}
    assert features(checks(BETTER | worse, RANDOM | {"knn": [0.4] * 3})).state == "trained"


def test_where_it_was_not_measured_the_next_is_taken_and_named():
    check = features(checks({"knn": [0.6, 0.62, 0.58]}, RANDOM | {"knn": [0.4] * 3}))
    assert check.state == "trained"
    assert check.text.startswith("kNN on validation, as no attentive probe was measured, +20.0")


def test_without_a_random_encoder_nothing_can_be_told():
    check = features(checks(BETTER, {}))
    assert check == ("cannot tell", "the study has no random encoder to compare with")


def test_one_seed_allows_no_interval():
    arm = checks({"attentive": [0.6]}, {"attentive": [0.4]}, (20.0,), ((0.5, 0.4),))
    text = "complete seeds on validation: 1; an interval needs two"
    assert features(arm) == ("cannot tell", text)


def test_probes_that_are_missing_cannot_be_told():
    assert features(checks({"linear": [0.6] * 3}, RANDOM)).state == "cannot tell"


def test_every_seed_on_a_line_is_collapsed_and_one_seed_is_named():
    every = checks(BETTER, RANDOM, ranks=(1.1, 1.0, 1.2)).rank("mpp")
    assert every == ("not trained", "collapsed in every seed: effective rank 1.1, 1.0, 1.2")
    one = checks(BETTER, RANDOM, ranks=(20.0, 1.1, 20.0)).rank("mpp")
    assert one == ("cannot tell", "collapsed in seed 1: effective rank 1.1")
    assert checks(BETTER, RANDOM).rank("mpp") == ("trained", "effective rank 21.0")


@pytest.mark.parametrize(
    ("fits", "state"),
    [
        (((0.50, 0.4), (0.51, 0.4), (0.52, 0.4)), "trained"),
        (((0.30, 0.4), (0.31, 0.4), (0.32, 0.4)), "not trained"),
        (((0.40, 0.4), (0.40, 0.4), (0.40, 0.4)), "not trained"),  # a constant answer
        (((0.50, 0.4), (0.10, 0.4), (0.52, 0.4)), "cannot tell"),  # one seed does not decide
    ],
)
def test_a_trivial_answer_is_beaten_or_not_beyond_the_seeds_spread(fits, state):
    assert checks(BETTER, RANDOM, fits=fits).baseline("mpp", BASELINE).state == state


def test_an_objective_without_a_trivial_answer_has_no_such_check():
    assert checks(BETTER, RANDOM).baseline("mpp", None) is None


def test_the_gravest_check_decides_and_stands_first():
    made = [Check("trained", "a"), None, Check("not trained", "b"), Check("cannot tell", "c")]
    assert (validity_of(made, False).state, validity_of(made, False).reasons) == (
        "not trained",
        ["b", "c", "a"],
    )


def test_a_loss_that_still_fell_is_said_of_what_did_not_train():
    arm = checks(BETTER, RANDOM, losses={500: 2.0, 1000: 1.5})
    assert arm.short("mpp")
    assert "too short" in validity_of([Check("cannot tell", "")], True).too_short
    assert not validity_of([Check("trained", "")], True).too_short
    assert not checks(BETTER, RANDOM, losses={500: 2.0, 1000: 1.99}).short("mpp")


def test_the_last_fifth_of_a_run_counts_whatever_the_interval():
    assert still_falling({500: 2.0, 1000: 1.5, 1120: 1.5})  # against step 500, not 1000
    assert not still_falling({100: 3.0, 800: 2.0, 900: 1.9, 1000: 1.985})
    assert still_falling({1000: 2.0}) is None
    assert still_falling({}) is None


@pytest.mark.parametrize(("groups", "expected"), [(None, [7, 9]), (["ann", "ann"], ["ann"] * 2)])
def test_images_are_known_by_their_place_in_the_source_or_by_their_group(groups, expected):
    """Of the validation that the job itself was given: another draw has other images."""
    data = Mock(groups=lambda split: groups, split_indices=lambda: {"val": [7, 9]})
    planner = Mock(spec=Planner, recipes=Mock(), dry_run=lambda command: Mock(data=data))
    command = Command("evaluate", {"data": ConfigPatch("a.yaml", {"val_draw": 4})})
    images = validation_images(
        planner, Job("c", command, "control", "random_encoder", 1, 3, "task")
    )
    assert images.tolist() == expected
    (cell,), _ = planner.recipes.untrained.call_args
    assert (cell.data, cell.seed, cell.draw, cell.val_draw) == ("task", 1, 3, 4)


def checkpoint(path, class_path: str):
    content = {
        "format": 1,
        "config": f"model: {{objective: {{class_path: {class_path}}}}}",
        "encoder": {},
        "global_step": 1,
        "state_dict": {},
    }
    torch.save(content, path)
    return path


def test_imported_weights_are_measured_as_their_objective_asks(tmp_path):
    file = checkpoint(tmp_path / "one.ckpt", "vit.objectives.supervised.Supervised")
    assert recorded_protocols(file) == Supervised.validity_protocols != Objective.validity_protocols


@pytest.mark.parametrize("name", ["os.system", "vit.objectives.gone.Gone", "vit.cli.engine.CLI"])
def test_weights_of_anything_else_are_measured_as_any_objective(tmp_path, name):
    assert recorded_protocols(checkpoint(tmp_path / "a.ckpt", name)) == Objective.validity_protocols


def test_no_other_module_is_imported_because_a_file_names_it(tmp_path, monkeypatch):
    (tmp_path / "planted_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    file = checkpoint(tmp_path / "a.ckpt", "planted_module.Planted")
    assert recorded_protocols(file) == Objective.validity_protocols


def test_a_file_of_somebody_else_is_measured_as_any_objective(tmp_path):
    torch.save({"model": {}}, tmp_path / "theirs.pth")
    assert recorded_protocols(tmp_path / "theirs.pth") == Objective.validity_protocols
