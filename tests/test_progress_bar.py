"""The bar counts epochs of the whole run, fits a line, and says how long is left."""

import time
from unittest.mock import Mock

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import RichProgressBar

from vit.callbacks.progress_bar import ProgressBar
from vit.module import ViTModule

KNOWN = {"v_num": 3, "train/loss": 1.5, "train/accuracy": 0.4, "val/loss": 1.7, "other": 1.0}


@pytest.fixture
def bar(monkeypatch):
    """Ten seconds into a run of 400 steps, 40 of them done since it began at step 60."""
    monkeypatch.setattr(RichProgressBar, "get_metrics", lambda *_: dict(KNOWN))
    monkeypatch.setattr(RichProgressBar, "on_train_start", lambda *_: None)
    trainer = Mock(spec=Trainer)
    trainer.global_step, trainer.num_training_batches = 60, 50
    trainer.accumulate_grad_batches, trainer.state = 2, Mock(fn="fit")
    made, module = ProgressBar(), Mock(spec=ViTModule)
    module.total_steps = 400
    made.on_train_start(trainer, module)
    made.began = time.perf_counter() - 10
    trainer.global_step = 100
    return made, trainer, module


def test_time_left_follows_the_rate_of_this_start(bar):
    made, trainer, module = bar
    assert made.get_metrics(trainer, module)["left"] == "0:01:15"  # 300 steps of a quarter second


def test_names_are_short_and_validation_accuracy_takes_the_place_of_its_loss(bar, monkeypatch):
    made, trainer, module = bar
    assert list(made.get_metrics(trainer, module)) == ["loss", "acc", "val loss", "left"]
    monkeypatch.setattr(RichProgressBar, "get_metrics", lambda *_: KNOWN | {"val/accuracy": 0.5})
    assert list(made.get_metrics(trainer, module)) == ["loss", "acc", "val", "left"]


def test_epochs_are_counted_where_steps_end_the_run(bar):
    made, _, _ = bar
    assert made._get_train_description(0) == "epoch 1/16"  # 400 steps of 25 an epoch


def test_nothing_is_left_outside_a_fit(bar):
    made, trainer, module = bar
    trainer.state.fn = "test"
    assert "left" not in made.get_metrics(trainer, module)
