"""Studies that nobody means: said in one line before anything is planned."""

import math
import time

import pytest

from vit.compare.study import (
    Arm,
    Budget,
    Claim,
    ConfigPatch,
    Finetuning,
    Pretraining,
    Primary,
    Study,
    Tuning,
)
from vit.compare.validation import MOST_RUNS, validate_study

ARMS = {"a": Arm("a"), "b": Arm("b", pretrain="mpp.yaml")}


def study(**changes) -> Study:
    settings = {
        "question": "?", "arms": ["a", "b"], "encoder": "tiny.yaml",
        "transfer": {"t": ConfigPatch("t.yaml", {"labels_per_class": 5})},
        "finetune": Finetuning("f.yaml", 30), "primary": Primary("t"),
        "pretrain": Pretraining(ConfigPatch("p.yaml"), ConfigPatch("u.yaml")),
        "budget": Budget(images=100),
    }  # fmt: skip
    settings |= changes
    axes = {axis: [*map(float, values)] for axis, values in settings.pop("axes", {}).items()}
    return Study(axes=axes, **settings)


def refused(arms=ARMS, **changes) -> str:
    started = time.perf_counter()
    with pytest.raises(ValueError, match=r".") as told:
        validate_study(study(**changes), arms)
    assert time.perf_counter() - started < 1
    assert "\n" not in str(told.value)
    return str(told.value)


def test_an_ordinary_study_passes():
    validate_study(study(axes={"labels_per_class": [2, 10], "budget": [0.3]}), ARMS)
    validate_study(study(seeds=400, tuning=Tuning(101, 1.2), label_draws=1), ARMS)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"seeds": 10**9}, "seeds needs a number from 1 to 1,000, got 1000000000"),
        ({"seeds": 0}, "seeds needs a number from 1 to 1,000, got 0"),
        ({"label_draws": 10**9}, "label_draws needs a number from 1 to 1,000"),
        ({"folds": 10**9}, "folds needs a number from 2 to 1,000"),
        ({"folds": 1}, "folds needs a number from 2 to 1,000, got 1"),
        ({"tuning": Tuning(10**9)}, "tuning.trials needs a number from 1 to 101"),
        ({"tuning": Tuning(3, math.inf)}, "tuning.lr needs a number from 1.01 to 1,000"),
        ({"tuning": Tuning(3, math.nan)}, "tuning.lr needs a number from 1.01 to 1,000"),
        ({"finetune": Finetuning("f", 10**18)}, "finetune.steps needs a number from 1 to"),
        ({"budget": Budget(images=10**400)}, "budget.images must be above 0, at most 1e30, got"),
        ({"transfer": {"": ConfigPatch("t")}}, "transfer: '' is no name for a task"),
        (
            {"transfer": {"pretrain": ConfigPatch("t")}},
            "transfer: 'pretrain' is no name for a task",
        ),
        ({"transfer": {"a\nb": ConfigPatch("t")}}, "transfer: 'a\\nb' is no name for a task"),
        ({"transfer": {}}, "transfer needs a task"),
        ({"axes": {"budget": [math.nan]}}, "axes.budget: needs numbers above 0"),
        (
            {"axes": {"labels_per_class": [math.inf]}},
            "axes.labels_per_class: needs whole numbers above",
        ),
        ({"controls": ["raw_pixels", "raw_pixels"]}, "controls: needs each once"),
    ],
)
def test_numbers_have_bounds(changes, line):
    assert refused(**changes).startswith(line)


def test_an_arm_and_a_task_are_not_taken_for_others():
    tasks = {"c": ConfigPatch("t"), "b c": ConfigPatch("t")}
    assert "read alike" in refused({"a": Arm("a"), "a b": Arm("b")}, transfer=tasks)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"seeds": 1000, "label_draws": 1000},
         "seeds 1,000 x folds 1 x label_draws 1,000 x tasks and values of axes 1 x arms 2"),
        ({"seeds": 1000, "folds": 100}, "seeds 1,000 x folds 100 x label_draws 5 x"),
        ({"axes": {"labels_per_class": list(range(1, 30001))}}, "values of axes 30,001 x"),
        ({"tuning": Tuning(101), "seeds": 100},
         "seeds 100 x folds 1 x label_draws 5 x tuning.trials 101 x tasks 1 x arms 2 = 101,000"),
    ],
)  # fmt: skip
def test_what_is_planned_is_counted_before_it_is_planned(changes, parts):
    line = refused(**changes)
    assert f"at most {MOST_RUNS:,}" in line
    assert parts in line


PRETRAIN, FINETUNE = "pretrain.set", "finetune.set"
EVERYWHERE = [
    ("seed_everything", 3, "seeds"), ("keep_best", True, "leave it out"),
    ("test_after_fit", True, "leave it out"), ("name", "x", "leave it out"),
    ("logs", "x", "leave it out"), ("resume", "x", "leave it out"), ("config", "x.yaml", "config"),
    ("data", "x.yaml", ""), ("data", {"class_path": "vit.data.Digits"}, ""),
    ("model.pretrained", "x", "pretrained"), ("trainer.max_steps", 5, ""),
    ("trainer.max_epochs", 5, ""), ("trainer", {"max_steps": 5}, ""),
    ("trainer.fast_dev_run", True, ""), ("trainer.limit_test_batches", 3, "leave it out"),
    ("data.label_draw", 3, "label_draws"),
]  # fmt: skip


def placed(place: str, settings: dict) -> dict:
    """A study with settings at one of its places."""
    if place == PRETRAIN:
        return {"pretrain": Pretraining(ConfigPatch("p.yaml"), set=settings)}
    if place == FINETUNE:
        return {"finetune": Finetuning("f.yaml", 30, settings)}
    field = place.removeprefix("arm b: ")
    return {"arms": ARMS | {"b": Arm("b", pretrain="mpp.yaml", **{field: settings})}}


@pytest.mark.parametrize("place", [PRETRAIN, FINETUNE, "arm b: set", "arm b: finetune"])
@pytest.mark.parametrize(("key", "value", "instead"), EVERYWHERE)
def test_a_setting_that_the_plan_makes_itself_is_refused(place, key, value, instead):
    line = refused(**placed(place, {"model.clip.value": 1.0, key: value}))
    leaf = "trainer.max_steps" if key == "trainer" else key
    assert line.startswith(f"{place}: {leaf}: the plan decides this")
    assert instead in line
    if leaf in ("trainer.max_steps", "trainer.max_epochs"):
        task = place in (FINETUNE, "arm b: finetune")
        assert ("finetune.steps" if task else "budget") in line


def test_the_encoder_has_its_own_key_but_for_a_task_that_begins_with_weights():
    for place in (PRETRAIN, "arm b: set"):
        for value in ("x.yaml", {"class_path": "vit.models.ViT"}):
            line = refused(**placed(place, {"model.encoder": value}))
            assert line.startswith(f"{place}: model.encoder: the plan decides this")
    given = Arm("b", pretrain="m", finetune={"model.encoder": "x.yaml"})
    validate_study(study(), ARMS | {"b": given})
    validate_study(study(**placed(PRETRAIN, {"model.encoder.dropout": 0.1})), ARMS)


@pytest.mark.parametrize("place", [FINETUNE, "arm b: finetune"])
@pytest.mark.parametrize("settings", [{"model.encoder.drop_path": 0.1},
                                      {"model": {"encoder": {"drop_path": 0.1}}}])  # fmt: skip
def test_a_part_of_an_encoder_that_weights_bring_along_is_refused(place, settings):
    """It failed when the task began, after the pre-training."""
    line = refused(**placed(place, settings))
    assert line.startswith(f"{place}: model.encoder.drop_path: arm b begins with weights")
    whole = placed(place, {"model.encoder": "x.yaml"} | settings)
    arms = whole.pop("arms", ARMS)
    validate_study(study(**whole), arms)
    alone = {"a": Arm("a", finetune=settings)}
    validate_study(study(), alone)


@pytest.mark.parametrize("place", [FINETUNE, "arm b: finetune"])
def test_a_value_of_an_axis_is_not_set_again(place):
    changes = placed(place, {"data.image_size": 16})
    line = refused(**changes | {"axes": {"image_size": [8, 12]}})
    assert line.startswith(f"{place}: data.image_size: the plan decides this")
    assert "axes.image_size" in line
    assert "transfer" in refused(**placed(place, {"data.labels_per_class": 3}))


@pytest.mark.parametrize("key", ["fold", "folds", "label_draw"])
@pytest.mark.parametrize("kind", ["set", "final"])
def test_folds_and_draws_of_a_task_are_the_study_s(key, kind):
    task = {"t": ConfigPatch("t.yaml", **({"set": {"labels_per_class": 5}} | {kind: {key: 1}}))}
    line = refused(transfer=task, folds=3)
    assert line.startswith(f"transfer.t.{kind}: {key}: the plan decides this")
    assert ("label_draws" if key == "label_draw" else "folds") in line


def test_one_fold_of_several_may_be_chosen_where_the_study_makes_none():
    validate_study(study(transfer={"t": ConfigPatch("t.yaml", {"folds": 5, "fold": 1})}), ARMS)
    assert "pretrain.labelled.set: fold: " in refused(
        folds=3, pretrain=Pretraining(ConfigPatch("p.yaml", {"fold": 1}))
    )


def test_a_final_setting_that_an_axis_overrides_is_refused():
    task = {"t": ConfigPatch("t.yaml", final={"train_images": 100})}
    line = refused(transfer=task, axes={"train_images": [50]})
    assert line.startswith("transfer.t.final: train_images: the plan decides this")


@pytest.mark.parametrize(
    ("arm", "line"),
    [
        (Arm("b", encoder="x", pretrained="y"), "arm b: encoder or pretrained, not both"),
        (Arm("b", checkpoint_cost="x"), "arm b: `checkpoint_cost` needs `pretrained`"),
        (Arm("b", set={"a": 1}), "arm b: `set` needs `pretrain`; this arm has none"),
        (Arm("b", pretrain="x", pretrained="y"), "arm b: pretrain or pretrained, not both"),
    ],
)
def test_keys_of_an_arm_that_exclude_each_other(arm, line):
    assert refused(arms=ARMS | {"b": arm}).startswith(line)


@pytest.mark.parametrize(
    ("claim", "line"),
    [
        (Claim("w", "a", "a"), "claims: got 'a' against itself"),
        (Claim("w", "a", "b", points=math.nan), "claims.points needs a number"),
        (Claim("w", "a", "b", at={"budget": 2.0, "train_images": 5}), "claims.at: needs one axis"),
        (Claim("w", "a", "b", at={}), "claims.at: needs one axis"),
        (Claim("w", "a", "c"), "claims.second: unknown 'c'; known: a, b"),
        (Claim("w", "a", "b", at={"budget": 9.0}), "claims.at.budget: unknown 9.0"),
        (Claim("w", "a", "b", at={"depth": 9.0}), "claims.at: unknown 'depth'"),
    ],
)
def test_a_claim_is_about_two_arms_at_one_place(claim, line):
    axes = {"budget": [2.0], "train_images": [5]}
    assert refused(claims=[claim], axes=axes).startswith(line)
