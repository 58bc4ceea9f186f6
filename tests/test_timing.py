"""Steps are timed as runs take them, and times follow from it; else they stay guesses."""

import json
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from lightning.pytorch import Trainer

from launch import ROOT
from vit.cli import time_steps as module
from vit.cli.time_steps import MOST, WARM_UP, Enough, StepClock, time_steps
from vit.compare.command import Command
from vit.compare.job import SPEED, START, Job
from vit.compare.study import ConfigPatch
from vit.compare.timing import WORTH, Timer
from vit.module import ViTModule


def fit(id_: str, recipe: str = "a.yaml", seconds: float = START + 100, **settings) -> Job:
    """A job of 1,000 images at 1e8 FLOPs each: 5 s by the guess of 2e10 FLOPs a second."""
    command = Command("fit", {"config": ConfigPatch(recipe)}).with_settings(settings)
    return Job(id_, command, "transfer", "x", 0, flops=1e11, images=1000, seconds=seconds,
               alone=command)  # fmt: skip


def ten_milliseconds(folder: str, argv: list[str]) -> int:
    """Twice the 5 ms an image that were guessed; only recipe a can be begun."""
    if "a.yaml" not in argv:
        return 1
    text = json.dumps({"start": 2.0, "per_image": 0.01})
    (Path(folder) / "timing.json").write_text(text)
    return 0


def seconds(timer: Timer, jobs: list[Job]) -> list[float]:
    return [job.seconds for job in timer.timed(jobs)]


def test_times_follow_from_the_steps_that_were_timed():
    """2 s for the start and twice the 100 s of steps; what could not be begun goes by the rest."""
    assert SPEED == 2e10
    timer = Timer(ten_milliseconds, at_a_time=2, gpus=0)
    jobs = [fit("1"), fit("2", seed_everything=1), fit("3", "b.yaml")]
    timer.measure(jobs)
    assert timer.kinds == 2  # another seed takes no other time
    assert seconds(timer, jobs) == pytest.approx([202.0] * 3)
    assert timer.line.startswith("from a few timed steps of 1 of 2 kinds of training")


def test_a_short_study_is_not_timed():
    timer = Timer(ten_milliseconds, at_a_time=2, gpus=0)
    jobs = [fit("1", seconds=START + WORTH), fit("2", seconds=START + WORTH - 1)]
    timer.measure(jobs)
    assert seconds(timer, jobs) == [job.seconds for job in jobs]
    assert timer.line == "guessed from floating-point operations; nothing was timed"


@pytest.fixture
def now(monkeypatch) -> SimpleNamespace:
    clock = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock.seconds)
    return clock


def timed(clock: StepClock, now: SimpleNamespace, lengths: list[float], accumulate: int = 1) -> int:
    """How many batches were begun until the clock had enough."""
    data = SimpleNamespace(batch_size=8)
    trainer = Mock(spec=Trainer, datamodule=data, accumulate_grad_batches=accumulate)
    on_cpu = Mock(spec=ViTModule, device=torch.device("cpu"))
    for count, length in enumerate(lengths):
        try:
            clock.on_train_batch_start(trainer, on_cpu, None, count)
        except Enough:
            return count
        now.seconds += length
    clock.on_train_end(trainer, on_cpu)
    return len(lengths)


def test_the_first_steps_are_not_timed(now):
    """Two slow ones, then .5 s each: after 2 s of them it is enough, 4 steps of 8 images."""
    clock = StepClock(begun=97.0)
    assert timed(clock, now, [9.0, 5.0, *[0.5] * 20]) == WARM_UP + 4
    assert (clock.start, clock.seconds, clock.images) == (3.0, 2.0, 32.0)


def test_fast_steps_are_enough_after_a_hundred(now):
    clock = StepClock(begun=100.0)
    assert timed(clock, now, [0.001] * 500, accumulate=2) == WARM_UP + MOST
    assert clock.images == MOST * 8 / 2


def test_a_short_fit_ends_by_itself(now):
    clock = StepClock(begun=100.0)
    timed(clock, now, [9.0, 5.0, 0.25, 0.25])
    assert (clock.seconds, clock.images) == (0.5, 16.0)


def test_real_steps_are_timed_and_leave_nothing(tmp_path, monkeypatch):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    timer = Timer(time_steps, at_a_time=1, gpus=0)
    monkeypatch.setattr("vit.compare.timing.LIMIT", 120.0)  # a busy machine is slow to begin
    job = fit("1", "configs/pretrain/supervised.yaml", **{"trainer.max_steps": 30})
    timer.measure([job])
    (one,) = timer.timings.values()
    assert 0 < one.start < 120
    assert one.ratio > 0
    assert [path.name for path in tmp_path.iterdir()] == ["configs"]
