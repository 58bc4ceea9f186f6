"""What a run says of its mistakes is what scikit-learn says of its predictions, on any ranks."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import precision_recall_fscore_support
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from launch import Ended, launch
from pictures import folder
from test_image_folder import several
from vit.callbacks.confusion_matrix import names_of
from vit.callbacks.confusions import Mistake
from vit.data import Digits, ImageFolder
from vit.published.decode import decode

SHORT = ("fit", "--config", "configs/pretrain/supervised.yaml", "--trainer.max_steps", "20",
         "--trainer.callbacks", "ConfusionMatrix",
         "--trainer.val_check_interval", "10")  # fmt: skip
RANKS = ("--trainer", "configs/trainer/ddp.yaml", "--trainer.accelerator", "cpu",
         "--trainer.devices", "2", "--trainer.precision", "32-true")  # fmt: skip


@pytest.fixture(scope="module")
def tested(tmp_path_factory) -> tuple[Path, Ended]:
    """A short fit, and its test."""
    cwd = tmp_path_factory.mktemp("work")
    ended = launch(*SHORT, "--name", "with", "--test_after_fit", "true", cwd=cwd)
    assert ended.code == 0, ended.everything
    return cwd / ended.run, ended


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_the_table_is_scikit_learns_of_the_predictions(tested):
    run, _ = tested
    ended = launch("predict", "--from", str(run), cwd=run.parents[2])
    assert ended.code == 0, ended.everything
    predictions = rows_of(run / "predictions.csv")
    truth, guess = ([row[name] for row in predictions] for name in ("label", "prediction"))
    classes = [row["name"] for row in rows_of(run / "per_class.test.csv")]
    expected = precision_recall_fscore_support(truth, guess, labels=classes, zero_division=np.nan)
    for row, *values in zip(rows_of(run / "per_class.test.csv"), *expected, strict=True):
        given = [float(row[key] or "nan") for key in ("precision", "recall", "f1", "images")]
        assert given == pytest.approx(values, abs=1e-6, nan_ok=True)


def test_pictures_reach_the_folder_and_tensorboard_and_change_no_weight(tested):
    run, ended = tested
    assert "arning" not in ended.everything
    names = {f"{name}_{split}" for name in ("confusion", "mistakes") for split in ("val", "test")}
    events = EventAccumulator(str(run)).Reload()
    assert set(events.Tags()["images"]) == {f"pictures/{name}" for name in names}
    for name in names:
        assert min(decode((run / f"{name.replace('_', '.')}.png").read_bytes()).shape[1:]) > 200
    plain = launch(*SHORT[:5], *SHORT[7:], "--trainer.callbacks", "null", cwd=run.parents[2])
    first, second = (
        torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for folder in (run, run.parents[2] / plain.run)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_two_ranks_write_what_one_writes_and_rank_0_alone(tested):
    run, _ = tested
    alone = (run / "per_class.test.csv").read_bytes()
    (run / "per_class.test.csv").unlink()
    ended = launch("test", "--from", str(run), *RANKS, cwd=run.parents[2], ranks=2)
    assert ended.code == 0, ended.everything
    assert (run / "per_class.test.csv").read_bytes() == alone
    assert not list(run.glob("*.part"))


def test_the_last_lines_name_the_interval_and_each_class_of_the_test_alone(tested):
    run, ended = tested
    summary = json.loads((run / "summary.json").read_text())
    low, high = summary["test/accuracy_low"], summary["test/accuracy_high"]
    assert low < summary["test/accuracy"] < high
    (line,) = [text for text in ended.out.splitlines() if text.startswith("95 % interval")]
    assert f"{100 * low:.1f} to {100 * high:.1f} %" in line
    assert f"with {summary['test/images']} images" in line
    assert ended.out.count("class by class") == 1
    below = ended.out.split("test: class by class")[1].splitlines()
    assert [text.split()[0] for text in below[2:12]] == list("0123456789")


def test_validate_writes_its_split(tested):
    run, _ = tested
    before = (run / "per_class.val.csv").read_bytes()
    (run / "per_class.val.csv").unlink()
    ended = launch("validate", "--from", str(run), cwd=run.parents[2])
    assert ended.code == 0, ended.everything
    assert (run / "per_class.val.csv").read_bytes() == before
    assert "val: class by class" in ended.out


def test_self_supervised_runs_have_no_mistakes(tmp_path):
    ended = launch("fit", "--config", "configs/pretrain/mpp.yaml", *SHORT[3:], cwd=tmp_path)
    assert ended.code == 0, ended.everything
    assert "ConfusionMatrix: skipped, it needs a classifier" in ended.out
    assert not list(tmp_path.rglob("*.png"))


def on_pictures(cwd: Path, *argv: str) -> Path:
    """The run folder of two steps on the pictures below `mine`, and of their test."""
    data = ("--data", "configs/data/image_folder.yaml", "--data.root", "mine", "--data.image_size",
            "16", "--data.batch_size", "8", "--data.workers", "0")  # fmt: skip
    steps = ("--trainer.max_steps", "2", "--trainer.val_check_interval", "2")
    ended = launch(
        *SHORT[:3], *data, *steps, *SHORT[5:7], "--test_after_fit", "true", *argv, cwd=cwd
    )
    assert ended.code == 0, ended.everything
    (run,) = (cwd / "logs").glob("*/*")  # what is skipped is said last here
    return run


def test_files_that_cannot_be_read_count_nowhere_and_the_others_keep_their_names(tmp_path):
    folder(tmp_path / "mine/train", {"cat": 12, "dog": 12})
    folder(tmp_path / "mine/val", {"cat": 3, "dog": 3, "unlabelled": 2})
    folder(tmp_path / "mine/test", {"cat": 4, "dog": 5})
    first = min((tmp_path / "mine/test/dog").iterdir())
    first.write_text("broken")
    run = on_pictures(tmp_path, "--data.on_error", "skip")
    for split, count in (("val", "3"), ("test", "4")):
        rows = rows_of(run / f"per_class.{split}.csv")
        assert [(row["name"], row["images"]) for row in rows] == [("cat", count), ("dog", count)]
    files = ImageFolder(str(tmp_path / "mine"), image_size=16).names("test")
    mistakes = [Mistake(0.9, index, 0, 1, torch.zeros(3, 4, 4)) for index in (1, 5)]
    assert names_of(mistakes, files) == ["test/cat/0001.jpg", "test/dog/0005.jpg"]
    assert names_of(mistakes, Digits().names("test")) == ["image 1", "image 5"]


def test_of_several_labels_each_has_its_row_and_there_is_no_matrix(tmp_path):
    several(tmp_path / "mine")
    run = on_pictures(tmp_path, "--model.objective.loss", "sigmoid")
    assert not list(run.glob("*.png"))
    ended = launch("predict", "--from", str(run), cwd=tmp_path)
    assert ended.code == 0, ended.everything
    rows, predictions = rows_of(run / "per_class.test.csv"), rows_of(run / "predictions.csv")
    truth, guess = (
        [[row["name"] in image[column].split(";") for row in rows] for image in predictions]
        for column in ("label", "prediction")
    )
    expected = precision_recall_fscore_support(truth, guess, zero_division=np.nan)
    for row, *values in zip(rows, *expected, strict=True):
        given = [float(row[key] or "nan") for key in ("precision", "recall", "f1", "images")]
        assert given == pytest.approx(values, abs=1e-6, nan_ok=True)
