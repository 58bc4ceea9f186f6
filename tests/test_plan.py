"""Plans, counted by hand, of a study whose commands are answered without building anything."""

import copy
import json
from itertools import pairwise

import pytest

from vit.compare.job import UPSTREAM, Asked
from vit.compare.plan import Planner
from vit.compare.study import Arm, Budget, Finetuning, Part, Pretraining, Primary, Study, Tuning
from vit.data import Digits

ARMS = {
    "scratch": Arm("scratch"),
    "long": Arm("long", longer=True),
    "labels": Arm("labels", pretrain="supervised.yaml"),
    "patches": Arm("patches", pretrain="mpp.yaml"),
}


def value(words: tuple[str, ...], key: str) -> str | None:
    return words[words.index(key) + 1] if key in words else None


def answer(words: tuple[str, ...]) -> Asked:
    """Digits behind source.yaml and pool.yaml; 100 FLOPs an image, 300 for mpp.yaml."""
    few = value(words, "--data.labels_per_class")
    data = Digits(batch_size=int(value(words, "--data.batch_size") or 64),
                  labels_per_class=int(few) if few else None)  # fmt: skip
    recipe = value(words, "--config")
    settings = {
        "data": {"class_path": "vit.data.Digits", "init_args": {"batch_size": data.batch_size}},
        "model": {"optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-3}},
                  "encoder": {"class_path": "vit.models.ViT", "init_args": {"width": 64}}},
        "trainer": {"max_steps": 1, "max_epochs": None},
    }  # fmt: skip
    if lr := value(words, "--model.optimizer.lr"):
        settings["model"]["optimizer"]["init_args"]["lr"] = float(lr)
    settings["model"]["recipe"] = recipe
    for key in ("--model", "--model.encoder"):  # as this study's own, in JSON
        text = [b for a, b in pairwise(words) if a == key][-1:]
        given = json.loads(text[0]) if text and text[0].startswith("{") else {}
        settings["model"] |= {"encoder": given.get("encoder", given)} if given else {}
    settings["data"]["init_args"]["fold"] = value(words, "--data.fold")
    return Asked(copy.deepcopy(settings), data, 300.0 if recipe == "mpp.yaml" else 100.0,
                 recipe != "mpp.yaml", 7, 0.001, "whole", None)  # fmt: skip


def planner(budget: Budget, **changes) -> Planner:
    settings = {
        "question": "?", "arms": list(ARMS), "encoder": "tiny.yaml",
        "transfer": {"task": Part("task.yaml", {"labels_per_class": 5})},
        "finetune": Finetuning("finetune.yaml", 30), "primary": Primary("task"),
        "pretrain": Pretraining(Part("source.yaml"), Part("pool.yaml")), "budget": budget,
        "protocols": [], "controls": [], "tuning": Tuning(1), "seeds": 2,
    }  # fmt: skip
    return Planner(Study(**settings | changes), ARMS, answer, lambda names: {})


def lengths(plan: Planner) -> dict[str, int]:
    steps = plan.steps({}, [0])
    return {f"{s.arm} {s.stage}": int(value(s.words, "--trainer.max_steps"))
            for s in steps if s.kind == "fit" and s.seed == 0}  # fmt: skip


def test_equal_flops_are_unequal_steps():
    """64 images a step: 6,400 FLOPs for labels, 19,200 for patches; 5,000 for 50 images."""
    assert lengths(planner(Budget(flops=192_000.0))) == {
        "labels pretrain": 30, "patches pretrain": 10, "scratch transfer": 30,
        "long transfer": 30 + 38, "labels transfer": 30, "patches transfer": 30,
    }  # fmt: skip


def test_equal_images_are_equal_steps():
    found = lengths(planner(Budget(images=6400)))
    assert found["labels pretrain"] == found["patches pretrain"] == 100
    assert found["long transfer"] == 30 + 128


def test_epochs_count_passes_over_what_is_pre_trained_on():
    """1,293 images are 20 steps; the long arm gets as many images, not passes over its 50."""
    found = lengths(planner(Budget(epochs=10.0)))
    assert found["labels pretrain"] == 200
    assert found["long transfer"] == 30 + 200 * 64 // 50


def test_labels_choose_the_labelled_data_and_the_others_the_pool():
    steps = {s.arm: s for s in planner(Budget(images=640)).steps({}, [0]) if s.stage == "pretrain"}
    assert value(steps["labels"].words, "--data") == "source.yaml"
    assert value(steps["patches"].words, "--data") == "pool.yaml"
    assert steps["labels"].labels == 1293
    assert steps["patches"].labels == 0


def test_a_task_starts_from_its_own_arm_and_seed():
    steps = planner(Budget(images=640)).steps({}, [0])
    before = {(s.arm, s.seed): s.id for s in steps if s.stage == "pretrain"}
    for step in steps:
        if step.stage != "transfer":
            continue
        own = before.get((step.arm, step.seed))
        assert step.needs == ((own,) if own else ())
        assert (value(step.words, "--model.pretrained") == UPSTREAM) == bool(own)


def test_draws_are_shared_by_arms_and_differ_between_seeds():
    steps = planner(Budget(images=640), label_draws=3).steps({}, [0])
    drawn = {}
    for step in steps:
        if step.stage == "transfer":
            drawn.setdefault((step.arm, step.seed), []).append(step.draw)
    assert set(map(tuple, drawn.values())) == {(0, 1, 2), (3, 4, 5)}
    assert all(len(draws) == 3 for draws in drawn.values())


def test_trials_are_powers_of_the_factor_and_the_chosen_one_is_not_run_twice():
    plan = planner(Budget(images=640), tuning=Tuning(3, 3.0))
    trials = [s for s in plan.steps(None, [-1, 0, 1]) if s.stage == "tune"]
    assert len(trials) == 4 * 3
    rates = {s.trial: value(s.words, "--model.optimizer.lr") for s in trials}
    assert float(rates[1]) == pytest.approx(3e-3)
    assert float(rates[-1]) == pytest.approx(1e-3 / 3, rel=1e-5)
    steps = plan.steps({f"{arm} task": 1 for arm in ARMS}, [-1, 0, 1])
    finals = [s for s in steps if s.stage == "transfer" and s.seed == 0]
    assert {s.id for s in finals} == {s.id for s in trials if s.trial == 1}


def test_an_axis_is_walked_alone_and_every_place_has_its_label():
    plan = planner(Budget(images=640), axes={"labels_per_class": [2.0], "budget": [3.0]})
    steps = [s for s in plan.steps({}, [0]) if s.stage == "transfer" and s.seed == 0]
    places = {s.point for s in steps}
    assert places == {None, ("labels_per_class", 2.0), ("budget", 3.0)}
    few = next(s for s in steps if s.point == ("labels_per_class", 2.0))
    assert value(few.words, "--data.labels_per_class") == "2"
    ids = {s.point: s.id for s in steps if s.arm == "scratch"}
    assert ids[None] == ids["budget", 3.0] != ids["labels_per_class", 2.0]


def test_test_splits_are_read_once_by_each_final_and_by_no_trial():
    plan = planner(Budget(images=640), tuning=Tuning(3, 3.0))
    steps = plan.steps({}, [-1, 0, 1])
    finals = {s.id for s in steps if s.stage == "transfer"}
    tested = [s.needs[0] for s in steps if s.kind == "test"]
    assert sorted(tested) == sorted(finals)


def test_folds_are_trained_and_tested_apart_and_pre_trained_on_by_nobody():
    plan = planner(Budget(images=640), folds=3)
    steps = plan.steps({}, [0])
    fits = [s for s in steps if s.kind == "fit"]
    assert len(fits) == 2 * 3 * (2 + 4)  # seeds x folds x (pre-trainings, tasks)
    for step in fits:
        assert value(step.words, "--data.folds") == "3"
        assert value(step.words, "--data.fold") == str(step.fold)
        if step.needs:
            (before,) = {s.fold for s in fits if s.id == step.needs[0]}
            assert before == step.fold
    assert {s.fold for s in planner(Budget(images=640)).steps({}, [0])} == {None}


def test_trials_are_made_on_the_first_fold_alone():
    plan = planner(Budget(images=640), folds=3, tuning=Tuning(3))
    assert {s.fold for s in plan.steps(None, [-1, 0, 1]) if s.stage == "tune"} == {0}


def test_the_final_fit_alone_has_the_final_settings():
    task = Part("task.yaml", {"labels_per_class": 5}, {"train": "all"})
    plan = planner(Budget(images=640), tuning=Tuning(3), transfer={"task": task})
    steps = plan.steps({}, [-1, 0, 1])
    said = {(s.stage, value(s.words, "--data.train")) for s in steps if s.data and s.kind == "fit"}
    assert said == {("tune", None), ("transfer", "all")}
    other = planner(Budget(images=640), tuning=Tuning(3))
    ids = {s.stage: {x.id for x in other.steps({}, [-1, 0, 1]) if x.stage == s.stage}
           for s in other.steps({}, [-1, 0, 1])}  # fmt: skip
    assert ids["tune"] & ids["transfer"]  # without such settings a trial is the final fit


def test_long_planning_says_how_far_it_is(monkeypatch, capsys):
    monkeypatch.setattr("vit.compare.answers.EVERY", -1.0)
    planner(Budget(images=640)).steps({}, [0])
    assert "planning: 1 commands looked at" in capsys.readouterr().err


def test_a_number_that_is_none_is_named():
    plan = planner(Budget(images=640), pretrain=Pretraining(Part("s.yaml", {"label_draw": "x"})))
    with pytest.raises(ValueError, match=r"--data.label_draw needs a whole number, got 'x'"):
        plan.steps({}, [0])


def test_a_budget_that_no_machine_pays_for_is_refused():
    for budget in (Budget(flops=1e30), Budget(images=10**13), Budget(epochs=1e9)):
        with pytest.raises(ValueError, match=r"budget: .* steps, at most 1e"):
            planner(budget).steps({}, [0])
    with pytest.raises(ValueError, match=r"budget: .* steps, at most"):
        planner(Budget(images=640), axes={"budget": [1e306]}).steps({}, [0])


@pytest.mark.parametrize("nested", [False, True])
def test_an_encoder_that_the_study_gives_the_task_is_part_of_its_id(nested):
    """Else another encoder on the same weights would be taken for the run that is there."""
    ids = []
    for width in (32, 64):
        settings = {
            "model.encoder": {"class_path": "vit.models.ViT", "init_args": {"width": width}}
        }
        settings = {"model": {"encoder": settings["model.encoder"]}} if nested else settings
        plan = planner(Budget(images=640), finetune=Finetuning("finetune.yaml", 30, settings))
        ids.append({s.arm: s.id for s in plan.steps({}, [0]) if s.stage == "transfer"})
    assert ids[0]["patches"] != ids[1]["patches"]
