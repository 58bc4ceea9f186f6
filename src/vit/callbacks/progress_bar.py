"""The progress bar: short names, and the time left of the whole run."""

import math
import time
from datetime import timedelta
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

SHORT = {
    "train/loss": "loss",
    "train/accuracy": "acc",
    "val/accuracy": "val",
    "val/loss": "val loss",
}


class ProgressBar(RichProgressBar):
    """Lightning's rich bar, which shows an epoch, with the time left of the whole run.

    Names are short, so that all of it fits on a line.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the whole run."""
        super().on_train_start(trainer, pl_module)
        self.began, self.first = time.perf_counter(), trainer.global_step
        steps = trainer.num_training_batches / trainer.accumulate_grad_batches
        self.epochs = math.ceil(pl_module.total_steps / steps)

    def _get_train_description(self, current_epoch: int) -> str:
        """Lightning counts to max_epochs - 1, which is -2 where max_steps ends the run."""
        return f"epoch {current_epoch + 1}/{self.epochs}"

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The values to the right of the bar."""
        logged = super().get_metrics(trainer, pl_module)
        values = {short: logged[name] for name, short in SHORT.items() if name in logged}
        if "val" in values:
            values.pop("val loss", None)
        if trainer.state.fn == "fit" and trainer.global_step > getattr(self, "first", 0):
            rate = (time.perf_counter() - self.began) / (trainer.global_step - self.first)
            seconds = rate * (pl_module.total_steps - trainer.global_step)
            values["left"] = str(timedelta(seconds=round(seconds)))
        return values
