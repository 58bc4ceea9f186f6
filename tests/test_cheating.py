"""Ways to know the tested labels before the task, or to be tested on something easier.

Each is refused, or named, by one line before anything runs. What is attempted stands in the test's
name; nobody needs to mean it.
"""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from launch import ROOT, forget_other_class_arguments, launch
from test_overlap import encoded, moved
from vit.cli.compare import read_study
from vit.cli.dry_run import dry_run
from vit.cli.errors import UsageError
from vit.compare.command import Command
from vit.compare.imported import images_seen, labels_learned
from vit.compare.job import Job
from vit.compare.overlap import with_all_labels
from vit.compare.plan import Planner
from vit.compare.preflight import (
    check_arms,
    check_duplicates,
    check_overlaps,
    check_same_images,
)
from vit.compare.store import Store
from vit.compare.tuning import first_trials
from vit.data import Digits
from vit.data.transforms import resize
from vit.evaluate.catalogue import defaults
from vit.models.weights import stored_encoder

CONFIGS = ROOT / "configs"
CLUTTERED = {"config": str(CONFIGS / "data/digits_cluttered.yaml")}
HIGH = CLUTTERED | {"set": {"classes": [5, 6, 7, 8, 9], "labels_per_class": 5}}
LOW = CLUTTERED | {"set": {"classes": [0, 1, 2, 3, 4]}}
STUDY = {
    "question": "?",
    "arms": ["one.yaml"],
    "encoder": str(CONFIGS / "encoder/tiny.yaml"),
    "pretrain": {"labelled": LOW},
    "budget": {"images": 640},
    "transfer": {"high": HIGH},
    "finetune": {"config": str(CONFIGS / "finetune/default.yaml"), "steps": 8},
    "tuning": {"trials": 1},
    "seeds": 1,
    "protocols": [],
    "primary": {"data": "high"},
}
SUPERVISED = {"title": "labels", "pretrain": str(CONFIGS / "pretrain/supervised.yaml")}


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LightningCLI's


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    monkeypatch.chdir(ROOT)
    forget_other_class_arguments(monkeypatch)


def planned(folder: Path, arm: dict, **changes) -> tuple[Planner, dict]:
    """What a study of one arm comes to, all looks at it taken."""
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY | changes))
    (folder / "one.yaml").write_text(yaml.safe_dump({"title": "one"} | arm))
    study, arms, _ = read_study(["--config", str(folder / "study.yaml")])
    planner = Planner(study, arms, dry_run, defaults)
    dry_runs = check_arms(planner)
    overlaps = check_overlaps(planner, dry_runs)
    check_duplicates(planner, dry_runs)
    check_same_images(planner.all_jobs({}, first_trials(study.tuning.trials)))
    return planner, overlaps


def line(folder: Path, arm: dict, **changes) -> str:
    """The one line by which a study is refused."""
    with pytest.raises((ValueError, UsageError)) as told:
        planned(folder, arm, **changes)
    assert "\n" not in str(told.value)
    return str(told.value)


def test_an_honest_study_is_planned(tmp_path):
    _, overlaps = planned(tmp_path, SUPERVISED)
    assert overlaps["one", "high"].same == overlaps["one", "high"].near == 0


# ---- what an arm, or the study, may not set ------------------------------------------------------

SMUGGLED = {
    "an arm has ten times the labels": ({"finetune": {"data.labels_per_class": 50}}, {}),
    "an arm is tested on another fold": ({"finetune": {"data.fold": 1}}, {}),
    "an arm has fewer classes": ({"finetune": {"data.classes": [5, 6]}}, {}),
    "an arm's classes are nested": (
        {"finetune": {"data": {"init_args": {"classes": [5, 6]}}}},
        {},
    ),
    "an arm has larger pictures": ({"finetune": {"data.image_size": 48}}, {}),
    "an arm has less clutter": ({"finetune": {"data.clutter": 0}}, {}),
    "an arm has another data set": ({"finetune": {"data": "other.yaml"}}, {}),
    "an arm has other validation images": ({"finetune": {"data.val_draw": 3}}, {}),
    "an arm pre-trains on more": (SUPERVISED | {"set": {"data.test_fraction": 0.1}}, {}),
    "a key hides another": ({"finetune": {"model.ema=null --data.fold": 1}}, {}),
    "a value hides a key": ({"finetune": {"model.ema=null": "--data.labels_per_class=50"}}, {}),
    "probes have fewer labels than fits": (
        {},
        {"finetune": STUDY["finetune"] | {"set": {"data.labels_per_class": 50}}},
    ),
    "probes have other classes than fits": (
        {},
        {"finetune": STUDY["finetune"] | {"set": {"data.classes": [5, 6]}}},
    ),
    "the final fit is tested on another fold": (
        {},
        {"transfer": {"high": HIGH | {"final": {"fold": 1}}}},
    ),
    "the final fit has other classes": (
        {},
        {"transfer": {"high": HIGH | {"final": {"classes": [5, 6]}}}},
    ),
    "the final fit has more labels": (
        {},
        {"transfer": {"high": HIGH | {"final": {"labels_per_class": 50}}}},
    ),
}


@pytest.mark.parametrize("attempt", SMUGGLED)
def test_a_task_is_the_same_for_every_arm_and_protocol(tmp_path, attempt):
    arm, changes = SMUGGLED[attempt]
    told = line(tmp_path, arm, **changes)
    assert "the plan decides this; use " in told or "is no key" in told


def test_augmentation_and_batches_may_differ(tmp_path):
    arm = {"finetune": {"data.augmentation.degrees": 0}}
    finetune = STUDY["finetune"] | {"set": {"data.batch_size": 5, "data.augmentation.shift": 0.0}}
    planned(tmp_path, arm, finetune=finetune)


def test_a_final_fit_that_is_tested_on_other_images_is_noticed(tmp_path):
    """By a setting that no list of ours knows."""
    task = HIGH | {"final": {"clutter": 0}}
    told = line(tmp_path, {}, transfer={"high": task}, tuning={"trials": 3})
    assert "would be tested on other images than" in told


def test_jobs_with_other_labels_or_images_are_not_compared():
    one = Job("a", Command("fit"), "transfer", "one", 0, draw=0, data="t",
              splits={"train": "x", "test": "y", "content": "z"})  # fmt: skip
    two = replace(one, id="b", arm="two")
    check_same_images([one, two])
    labels = replace(two, splits=two.splits | {"train": "other"})
    with pytest.raises(ValueError, match="two transfer t seed 0 would learn from other labelled"):
        check_same_images([one, labels])
    check_same_images([one, replace(labels, seed=1), replace(labels, stage="tune")])
    for key in ("test", "content"):
        images = replace(two, seed=1, splits=two.splits | {key: "other"})
        with pytest.raises(ValueError, match="seed 1 would be tested on other images than one"):
            check_same_images([one, images])


# ---- the same labels by another road -------------------------------------------------------------


def files(root: Path, change=None, suffix: str = "png", splits: bool = False) -> Path:
    """40 of each of two classes as pictures of 48 px, perhaps changed, under other names."""
    images = Digits(canvas=24, clutter=4).open("train").images[:80]
    images = resize(images.float() / 255, (48, 48)).mul(255).byte()
    for number, image in enumerate(images if change is None else change(images)):
        split = ("train", "val", "test")[number % 3] if splits else ""
        place = root / split / ("cats", "dogs")[number % 2]
        place = place if change is None else root / ("north", "south")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(place / f"{suffix}{number:03}.{suffix}")
    return root


def pictures(root: Path, **settings) -> dict:
    how = {"root": str(root), "image_size": 48, "workers": 0} | settings
    return {"config": str(CONFIGS / "data/image_folder.yaml"), "set": how}


COPIES = {
    "renamed": (lambda x: x, "png"),
    "renamed and re-encoded": (lambda x: x, "jpg"),
    "moved by 1 px": (lambda x: moved(x, 1, 0), "png"),
    "moved by 2 px and re-encoded": (lambda x: encoded(moved(x, 2, 2), 60), "jpg"),
    "resized": (lambda x: resize(x.float() / 255, (36, 36)).mul(255).byte(), "png"),
    "mirrored": (lambda x: x.flip(-1), "png"),
}


@pytest.mark.parametrize("attempt", COPIES)
def test_a_labelled_pre_training_on_copies_of_the_task_is_refused(tmp_path, attempt):
    change, suffix = COPIES[attempt]
    task = pictures(files(tmp_path / "task"))
    copies = pictures(files(tmp_path / "copies", change, suffix))
    told = line(tmp_path, SUPERVISED, transfer={"high": task}, pretrain={"labelled": copies})
    assert told.startswith("arm one would pre-train on the labels that high tests: ")
    assert "images of the task's train split" in told


def test_unlabelled_copies_are_counted_and_reported(tmp_path):
    task = pictures(files(tmp_path / "task"))
    copies = pictures(files(tmp_path / "copies", lambda x: moved(x, 1, 0), "jpg"), fold=1)
    arm = {"pretrain": str(CONFIGS / "pretrain/mpp.yaml")}
    _, overlaps = planned(tmp_path, arm, transfer={"high": task}, pretrain={"labelled": copies})
    seen = overlaps["one", "high"]
    assert (seen.tested, seen.same) == (16, 0)
    assert seen.near > 8


@pytest.mark.parametrize("classes", [[5, 6, 7, 8, 9], [0, 1, 9]])
def test_another_rendering_of_tested_classes_is_refused_unless_it_is_declared(tmp_path, classes):
    """The same digits without their clutter, on the 8x8 pixels that nobody tests."""
    plain = {"config": str(CONFIGS / "data/digits.yaml"), "set": {"classes": classes}}
    told = line(tmp_path, SUPERVISED, pretrain={"labelled": plain})
    assert "it has the task's classes " in told
    names = [str(number) for number in classes]
    planned(tmp_path, SUPERVISED, pretrain={"labelled": plain}, shared_classes=names)


def test_copies_of_test_images_in_training_are_refused(tmp_path):
    root = files(tmp_path / "task", splits=True)
    for number, picture in enumerate(sorted(root.glob("test/*/*.png"))):
        Image.open(picture).save(root / "train" / picture.parent.name / f"x{number}.jpg")
    told = line(tmp_path, {}, transfer={"high": pictures(root)})
    assert "26 of 26 test images are training images too" in told


def test_copies_of_test_images_in_validation_are_refused(tmp_path):
    root = files(tmp_path / "task", splits=True)
    for picture in root.glob("val/*/*.png"):
        picture.unlink()
    for number, picture in enumerate(sorted(root.glob("test/*/*.png"))[::4]):
        Image.open(picture).save(root / "val" / picture.parent.name / f"x{number}.jpg")
    told = line(tmp_path, {}, transfer={"high": pictures(root)}, tuning={"trials": 3})
    assert "7 of 7 validation images are test images too, and learning rates would" in told


# ---- weights that were trained before ------------------------------------------------------------

TINY = (
    *("--trainer.max_steps", "2", "--trainer.val_check_interval", "2", "--trainer.callbacks"),
    *("null", "--data", "configs/data/digits_cluttered.yaml", "--checkpoint_every", "2"),
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Learned labels; learned none; learned none, but started from those that did."""
    cwd, made = tmp_path_factory.mktemp("runs"), {}
    for name, recipe, more in (
        ("labels", "supervised", ()),
        ("low", "supervised", ("--data.classes", "[0,1,2,3,4]")),
        ("none", "mpp", ()),
        ("after", "mpp", ("--model.encoder", "null", "--model.pretrained", "{labels}")),
    ):
        words = [word.format(**made) for word in more]
        config = f"configs/pretrain/{recipe}.yaml"
        ended = launch("fit", "--config", config, *TINY, *words, "--name", name, cwd=cwd)
        assert ended.code == 0, ended.everything
        (made[name],) = (cwd / "logs" / name).iterdir()
    return made


def imported(run: Path) -> dict:
    return {"pretrained": str(run)}


def test_a_checkpoint_carries_what_it_learned_from_and_what_came_before(runs):
    links = stored_encoder(runs["after"]).lineage
    assert [link.uses_labels for link in links] == [False, True]
    assert links[1].classes == tuple("0123456789")
    assert [len(link.hashes) for link in links] == [Digits(canvas=24, clutter=4, test_fraction=0.5)
                                                    .spec.counts["train"]] * 2  # fmt: skip


@pytest.mark.parametrize("run", ["labels", "after"])
def test_weights_that_learned_the_tested_labels_are_refused(tmp_path, runs, run):
    told = line(tmp_path, imported(runs[run]))
    assert told.startswith("arm one starts from weights that learned the labels that high tests: ")
    assert "images of the task's train split are in it" in told


@pytest.mark.parametrize(("run", "same"), [("low", 0), ("none", 0)])
def test_other_weights_are_taken_and_what_they_saw_is_counted(tmp_path, runs, run, same):
    _, overlaps = planned(tmp_path, imported(runs[run]))
    assert overlaps["one", "high"].same == same
    assert overlaps["one", "high"].tested == 448


def test_hashes_tell_where_the_data_is_gone(runs):
    """The folder was removed, or the pictures were replaced, since those weights were made."""
    (link,) = stored_encoder(runs["labels"]).lineage
    gone = link._replace(config="data: {class_path: vit.data.Gone}")
    task = Digits(canvas=24, clutter=4, test_fraction=0.5, classes=[5, 6], labels_per_class=2)
    count = len(with_all_labels(task).split_indices()["train"])
    assert labels_learned(gone, task, ()) == f"{count} images of the task's train split are in it"
    other = gone._replace(hashes=torch.zeros(1, dtype=torch.int64))
    assert "it has the task's classes 5, 6" in labels_learned(other, task, ())
    assert labels_learned(gone._replace(uses_labels=False), task, ()) == ""
    seen = copy.copy(task)
    seen.split_indices = lambda: {"test": task.split_indices()["train"]}
    assert images_seen(gone, seen)[:2] == (4, None)


@pytest.mark.parametrize("arm", [{}, SUPERVISED])
def test_a_recipe_that_starts_from_weights_is_refused(tmp_path, runs, arm):
    """Scratch would not be scratch."""
    recipe = yaml.safe_load((CONFIGS / "finetune/default.yaml").read_text())
    recipe["model"]["pretrained"] = str(runs["none"])
    for key, file in (("objective", "objective/supervised"), ("data", "data/digits")):
        (recipe["model"] if key in recipe["model"] else recipe)[key] = str(CONFIGS / f"{file}.yaml")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    finetune = {"config": str(tmp_path / "recipe.yaml"), "steps": 8}
    told = line(tmp_path, arm, finetune=finetune)
    assert f"its recipe starts from {runs['none']}" in told


def test_a_teacher_that_learned_the_tested_labels_is_refused(tmp_path, runs):
    objective = {"class_path": "vit.objectives.distillation.Distillation",
                 "init_args": {"teacher": str(runs["labels"])}}  # fmt: skip
    (tmp_path / "taught.yaml").write_text(yaml.safe_dump(objective))
    arm = SUPERVISED | {"set": {"model.objective": str(tmp_path / "taught.yaml")}}
    plain = {"config": str(CONFIGS / "data/digits.yaml")}  # has the classes that the teacher knows
    task = CLUTTERED | {"set": {"labels_per_class": 5}}
    told = line(tmp_path, arm, pretrain={"labelled": plain}, transfer={"high": task},
                shared_classes=list("0123456789"))  # fmt: skip
    assert "learned the labels that high tests" in told


# ---- results -------------------------------------------------------------------------------------


def test_a_result_of_other_test_images_is_measured_anew(tmp_path, capsys):
    """The folder's pictures were exchanged between two arms' runs; names and labels stayed."""
    from test_store import TEST, measured

    for group, key, recorded in (("splits", "test", "old"), ("content", "content", "old")):
        measured(tmp_path, **{group: {"test": recorded}})
        job = replace(TEST, splits={key: "new"})
        assert Store(tmp_path).status(job) == "new"
        told = capsys.readouterr().err
        assert "summary.test.json is of other test images (old, the study's are new)" in told
        assert Store(tmp_path).status(replace(TEST, splits={key: "old"})) == "done"
