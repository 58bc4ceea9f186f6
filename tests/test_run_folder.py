"""The run folder: new each time, held by one process, and whole on a full disk."""

import fcntl
import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest
import torch

from launch import Ended, launch
from vit.callbacks import run_folder
from vit.callbacks.run_folder import (
    hold,
    new_folder,
    read_config,
    read_json,
    write_config,
    write_json,
)

TINY = (
    *("--trainer.max_epochs", "2", "--trainer.limit_train_batches", "4"),
    *("--trainer.check_val_every_n_epoch", "1", "--trainer.val_check_interval", "1.0"),
    *("--trainer.log_every_n_steps", "1", "--trainer.accelerator", "cpu"),
    *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
    *("--data.batch_size", "24", "--test_after_fit", "false"),
    *("--model.encoder.width", "32", "--model.encoder.depth", "2", "--model.encoder.heads", "2"),
)
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


def fit(cwd: Path, name: str, *extra: str, **how) -> Path:
    """The folder of a run, however it ended."""
    launch(
        "fit", "--config", "configs/quickstart.yaml", *TINY, *extra, "--name", name,
        cwd=cwd, **how,
    )  # fmt: skip
    (run,) = (cwd / "logs" / name).iterdir()
    return run


def resume(run: Path, **how) -> Ended:
    return launch("fit", "--resume", str(run), cwd=run.parents[2], **how)


def complaint(ended: Ended) -> str:
    """The one line of a run that could not go on."""
    lines = [line for line in ended.out.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "Traceback" not in ended.out
    return lines[0]


def same(first: Path, second: Path) -> bool:
    """Weights bit for bit, metrics byte for byte."""
    a, b = (
        torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for run in (first, second)
    )
    metrics = [(run / "metrics.csv").read_bytes() for run in (first, second)]
    return metrics[0] == metrics[1] and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    """A run that nobody stopped."""
    return fit(tmp_path_factory.mktemp("straight"), "run")


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """A run that was stopped after its second of eight steps."""
    return fit(tmp_path_factory.mktemp("stopped"), "run", signal_at=(1, signal.SIGTERM))


@pytest.fixture
def stopped(template, tmp_path) -> Path:
    """A copy of it, to spoil."""
    copy = tmp_path / "logs" / "run" / template.name
    shutil.copytree(template, copy)
    return copy


# ---- names ----------------------------------------------------------------------------------


def test_folders_of_the_same_second_differ(tmp_path, monkeypatch):
    class Still(datetime):
        @classmethod
        def now(cls):
            return cls(2030, 1, 2, 3, 4, 5)

    monkeypatch.setattr(run_folder, "datetime", Still)
    made = [new_folder(tmp_path / "name", 7) for _ in range(3)]
    stem = "2030-01-02_03-04-05_seed7"
    assert [folder.name for folder in made] == [stem, f"{stem}_2", f"{stem}_3"]
    assert all(folder.is_dir() for folder in made)


# ---- small files ----------------------------------------------------------------------------


def test_json_comes_back_and_what_is_not_finite_is_null(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1, "b": float("nan"), "c": float("inf"), "d": [2]})
    assert read_json(tmp_path / "a.json") == {"a": 1, "b": None, "c": None, "d": [2]}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert read_json(tmp_path / "nothing.json") == {}


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '{"a": 1}}'])
def test_damaged_json_is_named(tmp_path, text):
    path = tmp_path / "summary.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"{path} is damaged .* remove it"):
        read_json(path)


@needs_full
def test_json_that_meets_a_full_disk_leaves_the_old_one(tmp_path):
    path = tmp_path / "summary.json"
    write_json(path, {"a": 1})
    (tmp_path / f"summary.json.{os.getpid()}.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        write_json(path, {"a": 2})
    assert caught.value.filename == str(path)
    assert read_json(path) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["summary.json"]


def test_a_damaged_summary_is_one_line(stopped):
    (stopped / "summary.json").write_text('{"status": ')
    ended = resume(stopped)
    assert ended.code == 2
    assert "summary.json is damaged" in complaint(ended)


# ---- one process a folder -------------------------------------------------------------------


def test_a_folder_is_held_once(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "HELD", [])
    hold(tmp_path)
    with pytest.raises(ValueError, match=f"{tmp_path} is in use by another process"):
        hold(tmp_path)
    fcntl.flock(run_folder.HELD[0], fcntl.LOCK_UN)
    hold(tmp_path)


def test_a_run_being_trained_cannot_be_resumed_by_another_process(tmp_path):
    often, asleep = ("--checkpoint_every", "2"), {"signal_at": (3, signal.SIGSTOP)}
    starter = threading.Thread(target=fit, args=(tmp_path, "run", *often), kwargs=asleep)
    starter.start()
    while not list(tmp_path.glob("logs/run/*/checkpoints/last.ckpt")):
        assert starter.is_alive()
        time.sleep(0.02)
    (trainer,) = multiprocessing.active_children()
    (run,) = (tmp_path / "logs" / "run").iterdir()
    ended = resume(run)
    trainer.kill()
    starter.join()
    assert ended.code == 2
    assert complaint(ended).endswith("is in use by another process")
    assert not (run / "summary.json").exists()
    assert resume(run).code == 0


# ---- full disks and people ------------------------------------------------------------------


def test_a_checkpoint_that_meets_a_full_disk_spoils_nothing(stopped, straight):
    last = stopped / "checkpoints" / "last.ckpt"
    before = last.read_bytes()
    ended = resume(stopped, largest=len(before) - 1000)
    assert ended.code == 1
    told = complaint(ended)
    assert "File too large" in told
    assert "checkpoints/new.ckpt;" in told
    assert f"python train.py fit --resume {stopped}" in told
    assert json.loads((stopped / "summary.json").read_text())["status"] == "failed"
    assert last.read_bytes() == before
    assert not list(stopped.rglob("*.part"))
    assert resume(stopped).code == 0
    assert same(straight, stopped)


def test_metrics_that_somebody_cut_are_refused_and_put_back_they_do(stopped, straight):
    table = stopped / "metrics.csv"
    whole = table.read_bytes()
    table.write_bytes(whole[:-1])
    ended = resume(stopped)
    assert ended.code == 2
    told = complaint(ended)
    assert f"metrics.csv holds {len(whole) - 1} bytes, the checkpoint knew {len(whole)}" in told
    assert table.read_bytes() == whole[:-1]
    table.write_bytes(whole)
    assert resume(stopped).code == 0
    assert same(straight, stopped)


def test_an_edited_config_is_warned_about_and_ignored(stopped, straight):
    config = stopped / "config.yaml"
    text = config.read_text()
    assert text.count("lr: 0.003") == 1
    config.write_text(text.replace("lr: 0.003", "lr: 0.3"))
    ended = resume(stopped)
    assert ended.code == 0, ended.everything
    warnings = [line for line in ended.out.splitlines() if "arning" in line]
    assert len(warnings) == 1
    assert "config.yaml was edited; a run goes on with the settings it began with" in warnings[0]
    assert same(straight, stopped)


def test_settings_cut_or_changed_anywhere_are_not_the_ones_that_were_written(tmp_path):
    text = "model:\n  lr: 1\ndata:\n  labels_per_class: 50\n"
    write_config(tmp_path, text)
    assert read_config(tmp_path) == text
    whole = (tmp_path / "config.yaml").read_bytes()
    spoiled = [whole[:end] for end in range(len(whole))]
    spoiled += [whole + b"seed_everything: 1\n", whole.replace(b"50", b"10"), text.encode()]
    for content in spoiled:
        (tmp_path / "config.yaml").write_bytes(content)
        with pytest.raises(ValueError, match=r"config\.yaml is damaged or was edited; .* --config"):
            read_config(tmp_path)


def test_a_full_disk_leaves_no_half_settings_to_go_on_with(tmp_path):
    run = fit(tmp_path, "run", largest=1500)
    assert not list(run.glob("config.yaml*"))
    told = resume(run)
    assert told.code == 2
    assert "is not a run folder (it has no config.yaml" in complaint(told)


def test_a_run_killed_before_its_first_checkpoint_knows_its_settings(tmp_path, straight):
    run = fit(tmp_path, "killed", kill_at=1)
    assert not (run / "checkpoints").exists()
    config = run / "config.yaml"
    whole = config.read_text()
    config.write_text(whole[: whole.index("test_after_fit")])
    told = resume(run)
    assert told.code == 2
    assert "config.yaml is damaged or was edited" in complaint(told)
    config.write_text(whole)
    assert resume(run).code == 0
    assert same(straight, run)


@pytest.mark.parametrize(
    ("words", "largest", "file"),
    [
        (("test", "--from"), 1500, "correct.csv"),
        (("predict", "--from"), 4000, "predictions.csv"),
        (("evaluate", "--protocols", "knn", "--from"), 4000, "cache/"),
        (("evaluate", "--protocols", "knn", "--cache", "none", "--from"), 1200, "correct.val.csv"),
        (("prepare", "--data", "configs/data/digits.yaml", "--to", "shards", "--out"), 4000,
         "train-000000.tar"),
    ],
    ids=["test", "predict", "features", "evaluate", "shards"],
)  # fmt: skip
def test_a_full_disk_is_one_line_with_its_place_whatever_is_written(
    straight, tmp_path, words, largest, file
):
    shutil.copytree(straight, tmp_path / "logs/a/run", symlinks=True)
    ended = launch(*words, "logs/a/run", cwd=tmp_path, largest=largest)
    assert ended.code == 1, ended.out
    told = complaint(ended)
    assert told.startswith("error: File too large: ")
    assert file in told
    assert told.endswith("; make room or choose another place, and type it again")
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("kind", ["file", "dangling link", "below a file"])
def test_logs_that_cannot_be_a_folder_are_named(tmp_path, kind):
    logs = tmp_path / "logs"
    if kind == "dangling link":
        logs.symlink_to(tmp_path / "nowhere")
    else:
        logs.write_text("")
    with pytest.raises(ValueError, match=f"--logs: {logs}.* is a file, or a link to nowhere"):
        new_folder(logs / "a/b" if kind == "below a file" else logs, 0)


def test_another_run_s_checkpoint_is_not_gone_on_with(stopped, tmp_path):
    other = fit(tmp_path, "other", "--seed_everything", "1", kill_at=5)
    shutil.copy(other / "checkpoints/last.ckpt", stopped / "checkpoints/last.ckpt")
    ended = resume(stopped)
    assert ended.code == 2
    assert "last.ckpt is of another run than" in complaint(ended)
