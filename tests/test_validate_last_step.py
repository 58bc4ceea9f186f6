"""The last validation is that of the final weights."""

import csv
import json

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from builders import small_vit
from launch import launch
from vit.callbacks.validate_last_step import ValidateLastStep
from vit.data import Digits
from vit.module import ViTModule
from vit.objectives.supervised import Supervised

STEPS = (*("--trainer.max_epochs", "-1"), *("--trainer.check_val_every_n_epoch", "null"))


class Steps(Callback):
    """After which steps there was a validation."""

    def __init__(self) -> None:
        self.found: list[int] = []

    def on_validation_end(self, trainer, pl_module):
        self.found.append(trainer.global_step)


@pytest.mark.parametrize(
    ("settings", "validated"),
    [
        ({"max_steps": 10, "val_check_interval": 4, "check_val_every_n_epoch": None}, [4, 8, 10]),
        ({"max_steps": 8, "val_check_interval": 4, "check_val_every_n_epoch": None}, [4, 8]),
        ({"max_steps": 3, "val_check_interval": 500, "check_val_every_n_epoch": None}, [3]),
        ({"max_epochs": 2, "val_check_interval": 3, "check_val_every_n_epoch": None}, [3, 6, 8]),
        ({"max_epochs": 3, "check_val_every_n_epoch": 2}, [8, 12]),
        ({"max_epochs": 3, "max_steps": 6}, [4, 6]),
        (
            {"max_steps": 5, "val_check_interval": 4, "check_val_every_n_epoch": None,
             "accumulate_grad_batches": 2},
            [4, 5],  # an interval counts steps
        ),
        ({"max_steps": 6, "check_val_every_n_epoch": None, "limit_val_batches": 0}, []),
    ],
)  # fmt: skip
def test_validation_follows_the_last_step(settings, validated):
    module = ViTModule(Supervised, small_vit, torch.optim.SGD, spec=Digits().spec)
    steps, limits = Steps(), {"limit_train_batches": 4, "limit_val_batches": 1}
    Trainer(
        accelerator="cpu",
        callbacks=[ValidateLastStep(), steps],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **limits | settings,
    ).fit(module, Digits(batch_size=8))
    assert steps.found == validated


def test_summary_and_checkpoint_are_of_the_last_step(tmp_path):
    ended = launch(
        "fit", "--config", "configs/quickstart.yaml", *STEPS, "--trainer.max_steps", "5",
        "--trainer.val_check_interval", "4", "--test_after_fit", "false", cwd=tmp_path,
    )  # fmt: skip
    assert ended.code == 0, ended.everything
    run = tmp_path / ended.run
    with (run / "metrics.csv").open(newline="") as file:
        found = {int(r["step"]): r["value"] for r in csv.DictReader(file)
                 if r["name"] == "val/loss"}  # fmt: skip
    assert list(found) == [4, 5]
    summary = json.loads((run / "summary.json").read_text())
    assert f"{summary['val/loss']:.6g}" == f"{float(found[5]):.6g}"
    saved = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert saved["global_step"] == 5
    assert saved["callbacks"]["Run"]["metrics"]["val/loss"] == summary["val/loss"]
