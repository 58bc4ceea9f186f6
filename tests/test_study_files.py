"""A study names files; one that is lost, or is not what it should be, is named with its key."""

from pathlib import Path

import pytest
import yaml

from launch import ROOT
from test_yaml_text import bomb
from vit.cli.compare import read_study
from vit.cli.errors import UsageError

DIGITS = {"config": "configs/data/digits.yaml"}
STUDY = {
    "question": "?",
    "arms": ["one.yaml"],
    "encoder": "configs/encoder/tiny.yaml",
    "pretrain": {"labelled": DIGITS, "unlabelled": DIGITS},
    "budget": {"images": 512},
    "transfer": {"high": DIGITS},
    "finetune": {"config": "configs/finetune/default.yaml", "steps": 8},
    "primary": {"data": "high", "protocol": "finetune"},
}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(ROOT)
    (tmp_path / "one.yaml").write_text("title: one\n")
    return tmp_path


def reading(folder: Path, text: str | None = None, **changes) -> str:
    """The one line that reading a study ends with."""
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(STUDY | changes) if text is None else text)
    with pytest.raises((UsageError, ValueError)) as told:
        read_study(["--config", str(file)])
    assert "\n" not in str(told.value)
    return str(told.value)


def test_the_study_itself_reads(folder):
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    assert list(read_study(["--config", str(folder / "study.yaml")])[1]) == ["one"]


LOST = {"config": "lost.yaml"}
TASK = {"config": "lost.yaml", "steps": 8}


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("encoder", {"encoder": "lost.yaml"}),
        ("trainer", {"trainer": "lost.yaml"}),
        ("finetune.config", {"finetune": TASK}),
        ("transfer.high.config", {"transfer": {"high": LOST}}),
        ("pretrain.labelled.config", {"pretrain": {"labelled": LOST}}),
        ("pretrain.unlabelled.config", {"pretrain": {"labelled": DIGITS, "unlabelled": LOST}}),
    ],
)
def test_a_file_that_is_lost_is_named_with_study_and_key(folder, key, changes):
    assert reading(folder, **changes).startswith(f"{folder}/study.yaml: {key}: lost.yaml: no such")


def test_a_folder_is_no_file_and_the_nearest_is_offered(folder):
    assert "encoder: configs: a folder, and a file is needed" in reading(folder, encoder="configs")
    line = reading(folder, encoder="configs/encoder/tinny.yaml")
    assert "did you mean configs/encoder/tiny.yaml?" in line
    assert reading(folder, encoder="x" * 300).startswith(f"{folder}/study.yaml: encoder: 'xxx")


@pytest.mark.parametrize("key", ["pretrain", "encoder", "pretrained"])
def test_a_file_of_an_arm_is_named_with_arm_and_key(folder, key):
    (folder / "one.yaml").write_text(f"title: one\n{key}: lost.yaml\n")
    line = reading(folder)
    assert line.startswith(f"{folder}/one.yaml: {key}: ")
    assert "lost.yaml" in line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "holds no keys; it needs some, such as title, pretrain"),
        ("# nothing\n", "holds no keys"),
        ("- one\n", "holds no keys"),
        ("title\n", "holds no keys"),
        ("title: [\n", "not YAML"),
        ("title: one\nprtrain: x\n", "prtrain"),
        ("title: {a: b}\n", "title"),
        ("title: one\nset: [1]\n", "set"),
        ("title: one\nlonger: perhaps\n", "longer"),
        (bomb(9), "more than 100,000 values"),
    ],
)
def test_a_mistake_in_an_arm_names_its_file(folder, text, line):
    (folder / "one.yaml").write_text(text)
    told = reading(folder)
    assert told.startswith(f"{folder}/one.yaml")
    assert line in told


@pytest.mark.parametrize("text", ["", "3", "[]", "\x00", "a: [", bomb(9), "[" * 100_000])
def test_a_study_that_is_none_is_named(folder, text):
    told = reading(folder, text)
    assert told.startswith(f"{folder}/study.yaml")
    assert len(told) < 400


def test_bytes_that_are_no_text_are_named(folder):
    (folder / "one.yaml").write_bytes(b"\xff\xfe\x00title")
    assert reading(folder).startswith(f"{folder}/one.yaml")


def test_an_entry_with_each_is_a_task_for_each_value(folder):
    families = {"all": DIGITS | {"each": {"image_size": [24, 16]}, "set": {"val_fraction": 0.2}}}
    text = yaml.safe_dump(STUDY | {"transfer": families | {"high": DIGITS}})
    (folder / "study.yaml").write_text(text)
    study, *_ = read_study(["--config", str(folder / "study.yaml"), "--data.batch_size", "8"])
    assert list(study.transfer) == ["24", "16", "high"]
    assert study.transfer["16"].set == {"image_size": 16, "val_fraction": 0.2, "batch_size": 8}
    assert study.transfer["24"].config == study.transfer["high"].config
    assert not study.transfer["16"].each


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"each": {"a": [1], "b": [2]}}, "transfer.all.each: needs one key and its values, got 2"),
        ({"each": {"a": []}}, "transfer.all.each: a needs words or whole numbers, each once, got"),
        ({"each": {"a": [1, "1"]}}, "each once, got [1, 1]"),
        ({"each": {"a": [0.5]}}, "a needs words or whole numbers"),
        ({"each": {"a": [{"b": 1}]}}, "a needs words or whole numbers"),
        ({"each": {"a": "b"}}, "each"),
        ({"each": {"a": ["high"]}}, "transfer: two tasks are called 'high'; rename one"),
        ({"each": {"a": [1]}, "set": {"a": 2}}, "each: a stands in set or final too"),
        ({"each": {"a": [1]}, "final": {"a": 2}}, "each: a stands in set or final too"),
        ({"each": {"a": [" "]}}, "transfer: ' ' is no name for a task"),
        ({"each": {"label_draw": [1]}}, "transfer.1.set: label_draw: the plan decides this"),
    ],
)
def test_a_mistake_in_each_is_one_line(folder, entry, line):
    assert line in reading(folder, transfer={"high": DIGITS, "all": DIGITS | entry})


def test_an_old_key_gets_its_new_name(folder):
    claims = [{"words": "somebody said", "first": "a", "second": "b"}]
    assert "it is called published (a study's claims) now" in reading(folder, claims=claims)
    (folder / "one.yaml").write_text("title: one\npretrained: x\nupstream: a year\n")
    assert "it is called checkpoint_cost (an arm's) now" in reading(folder)


def test_pre_training_data_is_no_family_of_tasks(folder):
    pretrain = {"labelled": DIGITS | {"each": {"image_size": [16]}}}
    assert "pretrain: each belongs to a task's data" in reading(folder, pretrain=pretrain)
