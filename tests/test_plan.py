"""Plans, counted by hand, of a study whose dry runs are made up instead of built."""

import copy
from unittest.mock import Mock

import pytest

from vit.compare.command import UPSTREAM, Command
from vit.compare.dry_run import DryRun
from vit.compare.job import Job, Repetition
from vit.compare.plan import Planner
from vit.compare.results import Results
from vit.compare.store import Store
from vit.compare.study import (
    Arm,
    Budget,
    ConfigPatch,
    Finetuning,
    Pretraining,
    Primary,
    Study,
    Tuning,
)
from vit.compare.tuning import choose_rates
from vit.data import Digits

ARMS = {
    "scratch": Arm("scratch"),
    "long": Arm("long", longer=True),
    "labels": Arm("labels", pretrain="supervised.yaml"),
    "patches": Arm("patches", pretrain="mpp.yaml"),
}


def value(job: Job | Command, key: str) -> object:
    """A setting of a command, or the file of an option; None where it is not there."""
    command = job.command if isinstance(job, Job) else job
    if key in command.files:
        return command.files[key].config
    return next(reversed(command.values(key)), None)


def dry_run(command: Command) -> DryRun:
    """Digits behind source.yaml and pool.yaml; 100 FLOPs an image, 300 for mpp.yaml."""
    data = Digits(batch_size=value(command, "data.batch_size") or 64,
                  labels_per_class=value(command, "data.labels_per_class"))  # fmt: skip
    recipe = value(command, "config")
    settings = {
        "data": {"class_path": "vit.data.Digits", "init_args": {"batch_size": data.batch_size}},
        "model": {"optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-3}},
                  "encoder": {"class_path": "vit.models.ViT", "init_args": {"width": 64}}},
        "trainer": {"max_steps": 1, "max_epochs": None},
    }  # fmt: skip
    if lr := value(command, "model.optimizer.lr"):
        settings["model"]["optimizer"]["init_args"]["lr"] = float(lr)
    settings["model"]["recipe"] = recipe
    for key in ("model", "model.encoder"):  # a study's own settings, as a class
        for given in command.values(key)[-1:]:
            if isinstance(given, dict):
                settings["model"]["encoder"] = given.get("encoder", given)
    for key in ("fold", "train"):
        settings["data"]["init_args"][key] = value(command, f"data.{key}")
    return DryRun(copy.deepcopy(settings), data, 300.0 if recipe == "mpp.yaml" else 100.0,
                  recipe != "mpp.yaml", 7, "whole", None)  # fmt: skip


def planner(budget: Budget, **changes) -> Planner:
    settings = {
        "question": "?", "arms": list(ARMS), "encoder": "tiny.yaml",
        "transfer": {"task": ConfigPatch("task.yaml", {"labels_per_class": 5})},
        "finetune": Finetuning("finetune.yaml", 30), "primary": Primary("task"),
        "pretrain": Pretraining(ConfigPatch("source.yaml"), ConfigPatch("pool.yaml")),
        "budget": budget, "protocols": [], "controls": [], "tuning": Tuning(1), "seeds": 2,
        "label_draws": 1,
    }  # fmt: skip
    return Planner(Study(**settings | changes), ARMS, dry_run, lambda name: {})


def lengths(plan: Planner) -> dict[str, int]:
    jobs = plan.all_jobs({}, [0])
    return {f"{job.arm} {job.stage}": value(job, "trainer.max_steps")
            for job in jobs if job.verb == "fit" and job.seed == 0}  # fmt: skip


def test_equal_flops_are_unequal_steps():
    """64 images a step: 6,400 FLOPs for labels, 19,200 for patches; 5,000 for 50 images."""
    assert lengths(planner(Budget(flops=192_000.0))) == {
        "labels pretrain": 30, "patches pretrain": 10, "scratch transfer": 30,
        "long transfer": 30 + 38, "labels transfer": 30, "patches transfer": 30,
    }  # fmt: skip


def test_equal_images_are_equal_steps():
    steps = lengths(planner(Budget(images=6400)))
    assert steps["labels pretrain"] == steps["patches pretrain"] == 100
    assert steps["long transfer"] == 30 + 128


def test_epochs_count_passes_over_what_is_pre_trained_on():
    """1,293 images are 20 steps; the long arm gets as many images, not passes over its 50."""
    steps = lengths(planner(Budget(epochs=10.0)))
    assert steps["labels pretrain"] == 200
    assert steps["long transfer"] == 30 + 200 * 64 // 50


def test_labels_choose_the_labelled_data_and_the_others_the_pool():
    plan = planner(Budget(images=640))
    jobs = {job.arm: job for job in plan.all_jobs({}, [0]) if job.stage == "pretrain"}
    assert value(jobs["labels"], "data") == "source.yaml"
    assert value(jobs["patches"], "data") == "pool.yaml"
    assert jobs["labels"].labels == 1293
    assert jobs["patches"].labels == 0


def test_a_task_starts_from_its_own_arm_and_seed():
    jobs = planner(Budget(images=640)).all_jobs({}, [0])
    before = {(job.arm, job.seed): job.id for job in jobs if job.stage == "pretrain"}
    for job in jobs:
        if job.stage != "transfer":
            continue
        upstream = before.get((job.arm, job.seed))
        assert job.needs == ((upstream,) if upstream else ())
        assert (value(job, "model.pretrained") == UPSTREAM) == bool(upstream)


def test_draws_are_shared_by_arms_and_differ_between_seeds():
    jobs = planner(Budget(images=640), label_draws=3).all_jobs({}, [0])
    drawn = {}
    for job in jobs:
        if job.stage == "transfer":
            drawn.setdefault((job.arm, job.seed), []).append(job.draw)
    assert set(map(tuple, drawn.values())) == {(0, 1, 2), (3, 4, 5)}
    assert all(len(draws) == 3 for draws in drawn.values())


def test_few_labels_are_drawn_five_times_unless_the_study_says_otherwise():
    """What is not drawn is run once: the seed is all that repeats it."""
    whole = {"few": ConfigPatch("task.yaml", {"labels_per_class": 5}), "all": ConfigPatch("x.yaml")}
    plan = planner(Budget(images=640), label_draws=None, transfer=whole, primary=Primary("few"))
    draws = {(job.data, job.seed): [] for job in plan.all_jobs({}, [0]) if job.data}
    for job in plan.all_jobs({}, [0]):
        if (job.arm, job.stage) == ("scratch", "transfer"):
            draws[job.data, job.seed].append(job.draw)
    assert draws == {("few", 0): [0, 1, 2, 3, 4], ("few", 1): [5, 6, 7, 8, 9],
                     ("all", 0): [0], ("all", 1): [5]}  # fmt: skip
    plain = {"task": ConfigPatch("task.yaml")}
    assert planner(Budget(images=640), label_draws=None, transfer=plain).study.draws == 1
    axis = {"labels_per_class": [2.0]}
    plan = planner(Budget(images=640), label_draws=None, transfer=plain, axes=axis)
    finals = [job for job in plan.all_jobs({}, [0]) if (job.arm, job.stage, job.seed) ==
              ("scratch", "transfer", 1)]  # fmt: skip
    assert [job.draw for job in finals if job.point is None] == [5]
    assert [job.draw for job in finals if job.point] == [5, 6, 7, 8, 9]


def test_every_draw_of_every_seed_validates_on_images_of_its_own():
    plan = planner(Budget(images=640), label_draws=2, protocols=["knn"], tuning=Tuning(3))
    jobs = plan.all_jobs({}, [-1, 0, 1])
    assert {value(job, "data.val_draw") for job in jobs if job.stage == "pretrain"} == {None}
    for job in jobs:
        if job.stage in ("tune", "transfer", "probe", "control"):
            assert (value(job, "data.val_draw") or 0) == job.draw
    splits = {job.draw: job.about["splits"] for job in jobs if job.stage == "control"} or {
        job.draw: job.about["splits"] for job in jobs if job.stage == "probe"
    }
    assert len({one["val"] for one in splits.values()}) == len(splits) == 4
    assert len({one["test"] for one in splits.values()}) == 1


def test_validation_that_somebody_gave_is_everybodys(monkeypatch):
    monkeypatch.setattr(Digits, "redraws", False)
    jobs = planner(Budget(images=640), label_draws=2).all_jobs({}, [0])
    assert {value(job, "data.val_draw") for job in jobs} == {None}


def test_an_axis_uses_the_learning_rate_of_the_same_draw_at_the_declared_point():
    plan = planner(Budget(images=640), axes={"labels_per_class": [2.0]}, label_draws=2)
    chosen = {Repetition("scratch", "task", 1, 3, None): 1}
    finals = [job for job in plan.all_jobs(chosen, [0]) if job.stage == "transfer"]
    tuned = {(job.arm, job.draw, job.point) for job in finals if job.trial}
    assert tuned == {("scratch", 3, None), ("scratch", 3, ("labels_per_class", 2.0))}
    plain = {"task": ConfigPatch("task.yaml")}
    plan = planner(Budget(images=640), transfer=plain, axes={"labels_per_class": [2.0]},
                   label_draws=2)  # fmt: skip
    chosen = {Repetition("scratch", "task", 1, 2, None): 1}
    finals = [job for job in plan.all_jobs(chosen, [0]) if job.stage == "transfer"]
    assert {(job.draw, bool(job.point)) for job in finals if job.trial} == {
        (2, False), (2, True), (3, True)
    }  # fmt: skip


def test_trials_are_steps_of_the_factor_and_the_chosen_one_is_not_run_twice():
    plan = planner(Budget(images=640), tuning=Tuning(3, 3.0), label_draws=2)
    trials = [job for job in plan.tuning_jobs([-1, 0, 1]) if job.stage == "tune"]
    assert len(trials) == 2 * 2 * 4 * 3
    assert len({job.id for job in trials}) == 2 * 2 * 3 * 3  # the long arm's are those of scratch
    rates = {job.trial: value(job, "model.optimizer.lr") for job in trials}
    assert float(rates[1]) == pytest.approx(3e-3)
    assert float(rates[-1]) == pytest.approx(1e-3 / 3, rel=1e-5)
    chosen = {job.repetition: 1 for job in trials}
    jobs = plan.all_jobs(chosen, [-1, 0, 1])
    finals = [job for job in jobs if job.stage == "transfer" and job.arm != "long"]
    best = [job for job in trials if job.trial == 1 and job.arm != "long"]
    assert [job.id for job in finals] == [job.id for job in best]


@pytest.mark.parametrize("final", [{}, {"train": "all"}])
@pytest.mark.parametrize("trials", [1, 3, 4])
@pytest.mark.parametrize("budget", [Budget(flops=192_000.0), Budget(images=6400)])
def test_an_arm_without_pre_training_spends_what_one_with_it_spends(budget, trials, final):
    task = {"task": ConfigPatch("task.yaml", {"labels_per_class": 5}, final)}
    plan = planner(budget, tuning=Tuning(trials), transfer=task)
    steps = list(range(trials))
    store = Mock(spec=Store, summary=lambda job: {"val/accuracy": job.trial / 10, "seconds": 1.0})
    store.correct.return_value = store.folder.return_value = None
    choice = choose_rates(plan.tuning_jobs(steps), store, steps)
    jobs = plan.all_jobs(choice.chosen, steps)
    results = Results(plan.study, list(ARMS), jobs, store, choice)
    spent = {arm: results.of(arm, "task", "finetune")[0] for arm in ("long", "labels")}
    fits = trials + bool(final and trials > 1)  # of 30 steps of 50 images, 100 FLOPs an image
    before = 192_000 if budget.flops else 640_000
    assert spent["labels"].total_flops == before + fits * 30 * 50 * 100
    assert spent["long"].total_flops == pytest.approx(spent["labels"].total_flops, abs=50 * 100)
    assert spent["long"].images_seen == pytest.approx(spent["labels"].images_seen, abs=50)


def test_an_axis_is_walked_alone_and_every_point_has_its_label():
    plan = planner(Budget(images=640), axes={"labels_per_class": [2.0], "budget": [3.0]})
    jobs = [job for job in plan.all_jobs({}, [0]) if job.stage == "transfer" and job.seed == 0]
    assert {job.point for job in jobs} == {None, ("labels_per_class", 2.0), ("budget", 3.0)}
    few = next(job for job in jobs if job.point == ("labels_per_class", 2.0))
    assert value(few, "data.labels_per_class") == 2
    ids = {job.point: job.id for job in jobs if job.arm == "scratch"}
    assert ids[None] == ids["budget", 3.0] != ids["labels_per_class", 2.0]


def test_test_splits_are_read_once_by_each_final_and_by_no_trial():
    plan = planner(Budget(images=640), tuning=Tuning(3, 3.0))
    jobs = plan.all_jobs({}, [-1, 0, 1])
    finals = {job.id for job in jobs if job.stage == "transfer"}
    tested = [job.needs[0] for job in jobs if job.verb == "test"]
    assert sorted(tested) == sorted(finals)


def test_folds_are_trained_and_tested_apart_and_pre_trained_on_by_nobody():
    plan = planner(Budget(images=640), folds=3)
    jobs = plan.all_jobs({}, [0])
    fits = [job for job in jobs if job.verb == "fit"]
    assert len(fits) == 2 * 3 * (2 + 4)  # seeds x folds x (pre-trainings, tasks)
    for job in fits:
        assert value(job, "data.folds") == 3
        assert value(job, "data.fold") == job.fold
        if job.needs:
            (before,) = {fit.fold for fit in fits if fit.id == job.needs[0]}
            assert before == job.fold
    assert {job.fold for job in planner(Budget(images=640)).all_jobs({}, [0])} == {None}


def test_each_fold_chooses_without_the_images_that_it_tests():
    plan = planner(Budget(images=640), folds=3, tuning=Tuning(3))
    trials = [job for job in plan.tuning_jobs([-1, 0, 1]) if job.stage == "tune"]
    assert {job.fold for job in trials} == {0, 1, 2}
    assert all(value(job, "data.fold") == job.fold for job in trials)
    chosen = {job.repetition: job.fold - 1 for job in trials}
    finals = [job for job in plan.all_jobs(chosen, [-1, 0, 1]) if job.stage == "transfer"]
    assert {(job.fold, job.trial) for job in finals} == {(0, -1), (1, 0), (2, 1)}


def test_the_final_fit_alone_has_the_final_settings():
    task = ConfigPatch("task.yaml", {"labels_per_class": 5}, {"train": "all"})
    plan = planner(Budget(images=640), tuning=Tuning(3), transfer={"task": task})
    jobs = plan.all_jobs({}, [-1, 0, 1])
    trains = {
        (job.stage, value(job, "data.train")) for job in jobs if job.data and job.verb == "fit"
    }
    assert trains == {("tune", None), ("transfer", "all")}
    other = planner(Budget(images=640), tuning=Tuning(3))
    ids = {}
    for job in other.all_jobs({}, [-1, 0, 1]):
        ids.setdefault(job.stage, set()).add(job.id)
    assert ids["tune"] & ids["transfer"]  # without such settings a trial is the final fit


def test_long_planning_says_how_far_it_is(monkeypatch, capsys):
    monkeypatch.setattr("vit.compare.dry_run.INTERVAL", -1.0)
    planner(Budget(images=640)).all_jobs({}, [0])
    assert "planning: 1 commands looked at" in capsys.readouterr().err


def test_a_number_that_is_none_is_named():
    labelled = ConfigPatch("source.yaml", {"label_draw": "x"})
    plan = planner(Budget(images=640), pretrain=Pretraining(labelled))
    with pytest.raises(ValueError, match=r"--data.label_draw needs a whole number, got 'x'"):
        plan.all_jobs({}, [0])


def test_a_budget_that_no_machine_pays_for_is_refused():
    for budget in (Budget(flops=1e30), Budget(images=10**13), Budget(epochs=1e9)):
        with pytest.raises(ValueError, match=r"budget: .* steps, at most 1e"):
            planner(budget).all_jobs({}, [0])
    with pytest.raises(ValueError, match=r"budget: .* steps, at most"):
        planner(Budget(images=640), axes={"budget": [1e306]}).all_jobs({}, [0])


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
        ids.append({job.arm: job.id for job in plan.all_jobs({}, [0]) if job.stage == "transfer"})
    assert ids[0]["patches"] != ids[1]["patches"]
