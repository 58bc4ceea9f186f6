"""Runs that cannot begin are reported in one line, and the others go on."""

import fcntl
import multiprocessing
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from test_store import FIT, PROBE, TEST, fit, measured
from vit.cli import main
from vit.compare.command import UPSTREAM, Command
from vit.compare.pool import Pool, argv_of
from vit.compare.slurm import shell_line
from vit.compare.store import Store
from vit.compare.study import ConfigPatch

TASK = replace(TEST, command=Command("test").with_settings({"from": UPSTREAM}))
JUDGE = replace(PROBE, command=Command("evaluate", subject=UPSTREAM), needs=("f0",))


def worked(tmp_path, *jobs) -> tuple[dict[str, str], list[str]]:
    """What failed, and what was said."""
    said = []
    pool = Pool(Store(tmp_path), main, 1, 0, said.append)
    pool.work(list(jobs), lambda: None)
    return pool.failed, said


def tell_method(argv: list[str]) -> int:
    """In place of the command line: how this process would start its loader's workers."""
    Path(argv[1]).write_text(multiprocessing.get_start_method())
    return 0


def test_a_run_starts_its_workers_as_it_does_on_its_own(tmp_path):
    """A server of theirs would import everything again, and outlive a run that is killed."""
    file = tmp_path / "method"
    job = replace(FIT, command=Command("fit", subject=str(file)))
    Pool(Store(tmp_path / "runs"), tell_method, 1, 0, print).work([job], lambda: None)
    assert file.read_text() == multiprocessing.get_start_method()


@pytest.mark.parametrize("job", [TASK, JUDGE])
def test_a_run_before_that_is_gone_is_named(tmp_path, job):
    """Somebody removed it between the plan and the start."""
    store = Store(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"\*.f0 is gone; .* makes it again"):
        argv_of(job, store)
    folder = fit(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"last.ckpt is gone; remove .*a.f0 to make it"):
        argv_of(job, store)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").touch()
    (folder / "config.yaml").touch()
    assert str(folder) in " ".join(argv_of(job, store))


def test_a_fit_that_was_killed_before_its_first_file_begins_again(tmp_path):
    """Between making its folder and writing its settings: nothing to resume, and no dead end."""
    command = Command("fit", {"config": ConfigPatch("x.yaml")})
    job, store = replace(FIT, command=command), Store(tmp_path)
    folder = fit(tmp_path, status="interrupted")
    assert argv_of(job, store)[:3] == ["fit", "--config", "x.yaml"]
    assert shell_line(job, store).startswith("python train.py fit --config x.yaml")
    (folder / "config.yaml").touch()
    assert argv_of(job, store) == ["fit", "--resume", str(folder)]
    assert "--resume" in shell_line(job, store)


def test_a_run_without_its_settings_is_not_tested_elsewhere(tmp_path):
    folder = fit(tmp_path)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").touch()
    with pytest.raises(FileNotFoundError, match=r"config.yaml is gone; remove .*a.f0 to make it"):
        argv_of(TASK, Store(tmp_path))


def test_a_fit_whose_summary_was_edited_says_what_to_do(tmp_path):
    folder = fit(tmp_path, **{"val/accuracy": 0.9})
    (folder / "config.yaml").touch()
    failed, said = worked(tmp_path, FIT)
    assert failed[FIT.id] == (
        f"{folder}/summary.json says val/accuracy 0.9, metrics.csv 0.25; "
        f"put it back, or remove {folder.parent} to make the run again"
    )
    assert said == [f"failed: {FIT.label}: {failed[FIT.id]}"]


def test_a_file_where_a_run_should_lie_fails_that_run_alone(tmp_path):
    (tmp_path / "a.f0").write_text("")
    measured(tmp_path / "other")
    other = replace(FIT, id="f1")
    shutil.copytree(tmp_path / "other/a.f0", tmp_path / "a.f1")
    failed, said = worked(tmp_path, FIT, TASK, other)
    assert failed.keys() == {FIT.id, TASK.id}
    assert failed[FIT.id] == f"File exists: {tmp_path}/a.f0"
    assert "\n" not in "".join(said)


def test_waiting_for_another_process_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("vit.compare.pool.SILENCE", 0.5)
    folder = fit(tmp_path, status="failed").parent
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)

    def end() -> None:
        fit(tmp_path)
        os.close(handle)

    threading.Timer(2.5, end).start()
    failed, said = worked(tmp_path, FIT)
    assert not failed
    assert said == [f"waiting: {FIT.label} is being made by another process, in {folder}"]
