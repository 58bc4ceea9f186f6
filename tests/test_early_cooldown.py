"""Early stopping: when it begins, how long it takes, and that a killed run ends where it would."""

from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch
from lightning.pytorch import Trainer

from launch import Ended, launch
from vit.callbacks.best_metric import BestMetric
from vit.callbacks.early_cooldown import EarlyCooldown
from vit.compare.identity import fit_identity
from vit.data.base import Images
from vit.models.weights import open_checkpoint
from vit.module import ViTModule
from vit.optim.schedules import Constant, Schedule, WarmupStableDecay

PATIENT = (
    *("fit", "--config", "configs/pretrain/supervised.yaml", "--trainer.max_steps", "60"),
    *("--model.schedule", "WarmupStableDecay", "--model.schedule.patience", "2"),
    *("--model.schedule.warmup", "0.05", "--model.schedule.cooldown", "0.25"),
    *("--trainer.accelerator", "cpu", "--data.batch_size", "24", "--checkpoint_every", "2"),
    *("--trainer.check_val_every_n_epoch", "null", "--trainer.val_check_interval", "3"),
    *("--trainer.log_every_n_steps", "1", "--trainer.callbacks", "null"),
    *("--model.encoder.width", "32", "--model.encoder.depth", "2", "--model.encoder.heads", "2"),
    *("--model.optimizer.lr", "0", "--best_metric", "val/accuracy"),  # nothing ever improves
)


def run(cwd: Path, name: str, *more: str, **how) -> tuple[Ended, Path]:
    ended = launch(*PATIENT, "--name", name, *more, cwd=cwd, **how)
    (folder,) = (cwd / "logs" / name).iterdir()
    return ended, folder


def validated(
    schedule: Schedule, figures: list[float], total: int = 1000, losses: list[float] | None = None
) -> int:
    """How long a run is in the end that is validated every ten steps, as far as it goes."""
    trainer, module = MagicMock(spec=Trainer), MagicMock(spec=ViTModule)
    trainer.state, trainer.sanity_checking = SimpleNamespace(fn="fit"), False
    trainer.fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace(max_steps=total))
    trainer.is_global_zero, trainer.datamodule = True, MagicMock(spec=Images)
    module.schedule, module.total_steps = schedule, total
    module.spec = SimpleNamespace(classes=("a", "b"))
    watcher = EarlyCooldown(BestMetric("val/x"))
    for number, value in enumerate(figures, 1):
        trainer.global_step = 10 * number
        if trainer.global_step > module.total_steps:
            break
        module.progress = trainer.global_step / module.total_steps
        module.results = {"val/x": value}
        if losses:
            module.results["val/loss"] = losses[number - 1]
        for _ in range(2):  # Lightning may repeat one after a resume
            watcher.on_validation_end(trainer, module)
    assert trainer.fit_loop.epoch_loop.max_steps == module.total_steps
    return module.total_steps


def test_the_cool_down_begins_after_so_many_validations_without_a_better_one():
    patient = WarmupStableDecay(cooldown=0.2, patience=3)
    flat = [0.1, 0.2, 0.2, 0.1, 0.2, 0.9, 0.9]
    assert validated(patient, flat) == 63  # at step 50, which is four fifths of 62.5
    assert validated(patient, [0.1, 0.2, 0.2, 0.1, 0.3, 0.2, 0.2]) == 1000
    assert validated(patient, flat, total=60) == 60  # never longer than it was
    assert validated(WarmupStableDecay(warmup=0.1, patience=3), flat) == 1000  # still warming up
    assert validated(WarmupStableDecay(), flat) == 1000
    assert validated(Constant(), flat) == 1000


def test_a_loss_that_falls_is_better_too_and_one_that_hardly_does_is_not():
    patient = WarmupStableDecay(cooldown=0.2, patience=2)
    assert validated(patient, [0.5] * 5, losses=[1.0, 0.9, 0.8, 0.7, 0.6]) == 1000
    assert validated(patient, [0.5] * 5, losses=[1.0, 0.999, 0.998, 0.997, 0.996]) == 38
    assert validated(patient, [0.5] * 5, losses=[1.0, 1.1, 0.9, 1.0, 0.95]) == 63


def test_the_rate_stands_until_the_cool_down_and_falls_as_one_minus_a_root():
    schedule = WarmupStableDecay(warmup=0.1, cooldown=0.2)
    values = [schedule(place) for place in (0.0, 0.05, 0.1, 0.5, 0.8, 0.85, 0.95, 1.0)]
    expected = [0, 0.5, 1, 1, 1, 0.5, 1 - 0.75**0.5, 0]
    assert values == pytest.approx(expected, abs=1e-6)
    for wrong in ({"cooldown": 1.0}, {"warmup": 0.9}, {"patience": 0}):
        with pytest.raises(ValueError, match="WarmupStableDecay: "):
            WarmupStableDecay(**wrong)


def test_a_run_that_no_longer_improves_cools_down_and_ends(tmp_path):
    ended, folder = run(tmp_path, "straight", "--model.optimizer.lr", "1e-9")
    assert ended.code == 0, ended.out
    line = "early stopping: 2 validations without a better val/accuracy; the learning rate falls to"
    assert f"{line} 0 until step 12, the last one" in ended.out
    assert open_checkpoint(folder / "checkpoints/last.ckpt", whole=True)["global_step"] == 12
    rows = [row.split(",") for row in (folder / "metrics.csv").read_text().splitlines()]
    rates = [float(row[3]) for row in rows if row[2] == "train/lr"]
    assert rates[3:10] == pytest.approx([1e-9] * 7)
    assert rates[10:] == pytest.approx([1e-9 * (1 - (k / 3) ** 0.5) for k in (1, 2)])
    assert any(row[0] == "12" and row[2] == "val/accuracy" for row in rows)


@pytest.mark.parametrize("killed", [4, 8, 9, 11])
def test_a_run_killed_before_or_in_its_cool_down_ends_as_if_never_killed(tmp_path, killed):
    _, straight = run(tmp_path, "straight", "--model.optimizer.lr", "1e-5")
    _, again = run(tmp_path, "killed", "--model.optimizer.lr", "1e-5", kill_at=killed)
    ended = launch("fit", "--resume", str(again), cwd=tmp_path)
    assert ended.code == 0, ended.out
    first, second = (
        open_checkpoint(folder / "checkpoints/last.ckpt", whole=True)
        for folder in (straight, again)
    )
    assert first["global_step"] == second["global_step"] == 12
    assert all(torch.equal(first["state_dict"][k], v) for k, v in second["state_dict"].items())
    assert (straight / "metrics.csv").read_bytes() == (again / "metrics.csv").read_bytes()


def test_what_ends_a_run_belongs_to_its_identity():
    settings = {
        "seed_everything": 0, "trainer": {}, "best_metric": None,
        "data": {"class_path": "vit.data.Digits"},
        "model": {"schedule": {"class_path": "vit.optim.schedules.WarmupStableDecay"}},
    }  # fmt: skip
    other = settings | {"best_metric": "val/macro_f1"}
    patient = {"schedule": settings["model"]["schedule"] | {"init_args": {"patience": 3}}}
    ids = [
        str(fit_identity(each, {}, None))
        for each in (settings, other, settings | {"model": patient})
    ]
    assert len(set(ids)) == 3
