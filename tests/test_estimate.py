"""The estimate before a fit: it says what the fit takes, and changes nothing of it."""

import re
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch
from lightning.pytorch import Trainer

from launch import launch
from vit.callbacks.estimate import StepTimes, estimate_line, in_minutes, validations
from vit.models.weights import open_checkpoint
from vit.module import ViTModule
from vit.optim.schedules import Cosine, WarmupStableDecay

FIT = (
    *("--trainer.max_steps", "12", "--trainer.callbacks", "null"),
    *("--trainer.accelerator", "cpu", "--data.batch_size", "24", "--threads", "1"),
    *("--model.encoder.width", "32", "--model.encoder.depth", "2", "--model.encoder.heads", "2"),
    *("--trainer.log_every_n_steps", "1"),
)


def fit(cwd: Path, name: str, recipe: str, *more: str) -> tuple[str, dict, bytes]:
    ended = launch("fit", "--config", f"configs/pretrain/{recipe}.yaml", *FIT, *more,
                   "--name", name, cwd=cwd)  # fmt: skip
    assert ended.code == 0, ended.out
    folder = cwd / ended.run
    content = open_checkpoint(folder / "checkpoints/last.ckpt", whole=True)
    return ended.out, content["state_dict"], (folder / "metrics.csv").read_bytes()


@pytest.mark.parametrize(
    ("recipe", "more"),
    [
        ("supervised", ("--model.encoder.dropout", "0.1", "--model.ema", "0.9")),
        ("mpp", ("--trainer.accumulate_grad_batches", "2")),
        ("dino", ()),
    ],
)
def test_a_run_is_bit_for_bit_the_same_with_and_without(tmp_path, recipe, more):
    _, weights, figures = fit(tmp_path, "without", recipe, *more)
    told, same, again = fit(tmp_path, "with", recipe, *more, "--estimate", "true")
    assert re.search(
        r"^estimate: about \d+ seconds \(.*12 steps.*\), 0\.\d GB$", told, re.MULTILINE
    )
    assert weights.keys() == same.keys()
    assert all(torch.equal(weights[name], value) for name, value in same.items())
    assert figures == again


def trainer(batches: int = 30, every: int | None = 1, interval: int = 30, **more) -> MagicMock:
    mock = MagicMock(spec=Trainer)
    mock.global_step, mock.enable_validation = 0, True
    mock.num_training_batches, mock.val_check_batch = batches, interval
    mock.check_val_every_n_epoch, mock.accumulate_grad_batches = every, 1
    mock.datamodule = SimpleNamespace(spec=SimpleNamespace(counts={"val": 100}))
    for name, value in more.items():
        setattr(mock, name, value)
    return mock


def test_the_line_is_the_arithmetic_of_steps_and_validations():
    module = MagicMock(spec=ViTModule)
    module.total_steps, module.schedule = 1800, Cosine()
    times = StepTimes(step=0.4, image=0.01, gigabytes=1.83)  # 720 s, and 60 x 100 x 0.01 s
    expected = "estimate: about 13 minutes (60 epochs of 30 steps, 0.4 s each), 1.8 GB"
    assert estimate_line(trainer(), module, times) == expected
    module.schedule = WarmupStableDecay(patience=3)
    assert estimate_line(trainer(), module, times).startswith("estimate: at most about 13 minutes")
    half = estimate_line(trainer(global_step=900), module, times)
    assert "about 6.5 minutes (30 epochs of 30 steps" in half


def test_validations_are_counted_as_lightning_runs_them():
    assert validations(trainer(), 300) == 10
    assert validations(trainer(every=5), 300) == 2
    assert validations(trainer(every=None, interval=20), 300) == 15
    assert validations(trainer(interval=10), 300) == 30
    assert validations(trainer(enable_validation=False), 300) == 0


def test_times_are_said_in_the_unit_that_people_use():
    expected = {0.2: "1 seconds", 45.0: "45 seconds", 130.0: "2.2 minutes", 720.0: "12 minutes",
                9000.0: "2.5 hours", 90000.0: "25 hours"}  # fmt: skip
    assert {seconds: in_minutes(seconds) for seconds in expected} == expected
