"""Checkpoints that a kill at any instant cannot spoil: last, the one before, and the best."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from vit.callbacks.best_metric import BestMetric
from vit.callbacks.interruption import Interruption
from vit.callbacks.run_log import RunLog
from vit.models.weights import open_checkpoint
from vit.module import ViTModule

FOLDER = "checkpoints"
NEWEST_FIRST = ("last.ckpt", "previous.ckpt", "best.ckpt")


class Checkpoints(Checkpoint):
    """Save last.ckpt after each validation and every so many steps; best.ckpt where asked for.

    Under a schedule that ends at zero the last weights are the ones to use; picking the best of
    many noisy validations lost 0.8 points on the digits (logs/records, best against last).

    A step after which a validation is due is saved when that validation is done: so a resumed run
    never finds one that was due and not run.

    Args:
        files: the run's logger, which knows the folder.
        interruption: knows whether somebody wants the run to stop; it is saved, then left.
        every_n_steps: optimiser steps between saves within an epoch.
        keep_best: also keep the best on validation. Of equally good ones the first: figures that
            count images tie often, and a later one that is no better has only been fitted more;
            so best.ckpt is also the step from which early stopping counts.
        metric: what is best.
    """

    def __init__(
        self,
        files: RunLog,
        interruption: Interruption,
        every_n_steps: int = 200,
        keep_best: bool = False,
        metric: BestMetric | None = None,
    ) -> None:
        if every_n_steps < 1:
            raise ValueError(f"checkpoint_every must be at least 1, got {every_n_steps}")
        self.files = files
        self.interruption = interruption
        self.every = every_n_steps
        self.keep_best = keep_best
        self.metric = metric or BestMetric()
        self.best: float | None = None  # the value to beat
        self.best_step = -1
        self.saved_step = -1
        self.stopping = False  # was the resumed run to stop, when it was saved?

    @property
    def state_key(self) -> str:
        """One name in the checkpoint."""
        return "Checkpoints"

    def on_train_start(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Early stopping has spoken: Lightning would train on after a resume."""
        trainer.should_stop = self.stopping
        if self.keep_best:
            # before the first step it refuses what cannot be
            self.metric.name(trainer.datamodule, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: ViTModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save between two validations, and after the last step before a probe may follow it."""
        step = trainer.global_step
        whole = pl_module.consumed % trainer.accumulate_grad_batches == 0
        if not whole or validation_follows(trainer, pl_module, batch_idx):
            return
        stop = self.interruption.wanted(trainer, pl_module)
        if stop or step % self.every == 0 or step == pl_module.total_steps:
            self.save(trainer)
        if stop:
            raise KeyboardInterrupt

    def on_validation_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Save after each validation of a fit."""
        inside = pl_module.consumed % trainer.accumulate_grad_batches  # gradients are half summed
        outside = trainer.state.fn != "fit" or trainer.sanity_checking
        if outside or inside or trainer.global_step == self.saved_step:
            return
        value = self.metric.value(trainer.datamodule, pl_module) if self.keep_best else None
        if value is not None and self.metric.is_better(value, self.best, pl_module):
            pl_module.finite_check.check()
            self.best, self.best_step = value, trainer.global_step
            trainer.save_checkpoint(self.files.folder / FOLDER / "best.ckpt")
        self.save(trainer)
        if self.interruption.wanted(trainer, pl_module):
            raise KeyboardInterrupt

    def on_train_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Save where something else ended the run: early stopping, say."""
        if trainer.global_step != self.saved_step:
            self.save(trainer)
        if self.best is not None and self.best_step >= 0 and trainer.is_global_zero:
            name = self.metric.name(trainer.datamodule, pl_module)
            percent = name.endswith(("accuracy", "top5"))
            value = f"{100 * self.best:.1f} %" if percent else f"{self.best:.4f}"
            print(f"best.ckpt: {name} {value} at step {self.best_step:,}", flush=True)

    def save(self, trainer: Trainer) -> None:
        """Keep the last one until the new one is whole. Every rank must call this."""
        trainer.lightning_module.finite_check.check()  # damaged weights replace nothing
        folder = self.files.folder / FOLDER
        new = folder / "new.ckpt"
        trainer.save_checkpoint(new)
        if trainer.is_global_zero:
            last = folder / "last.ckpt"
            if last.exists():  # a second name for it, so that last.ckpt is there at any instant
                (folder / "previous.ckpt").unlink(missing_ok=True)
                (folder / "previous.ckpt").hardlink_to(last)
            new.replace(last)
        trainer.strategy.barrier()
        self.saved_step = trainer.global_step
        if self.saved_step >= trainer.lightning_module.total_steps:
            self.interruption.stepping = False  # what follows may be stopped at any time

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Whether somebody has stopped the run; Lightning's own state leaves it out."""
        checkpoint["stopping"] = trainer.should_stop

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """The start of the training asks for it."""
        self.stopping = checkpoint.get("stopping", False)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know: the value to beat, and where it was reached."""
        return {"best": self.best, "best_step": self.best_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the value to beat from the checkpoint."""
        self.best, self.best_step = state["best"], state.get("best_step", -1)


def validation_follows(trainer: Trainer, module: ViTModule, batch_idx: int) -> bool:
    """Will Lightning validate right after this batch?"""
    if not trainer.enable_validation:
        return False
    if trainer.global_step >= module.total_steps:
        return True  # LastStep sees to it
    every_epochs, interval = trainer.check_val_every_n_epoch, trainer.val_check_batch
    if every_epochs is None:
        return (trainer.fit_loop.total_batch_idx + 1) % interval == 0
    due = (trainer.current_epoch + 1) % every_epochs == 0
    return due and (batch_idx + 1) % interval == 0


def newest_good(folder: Path) -> tuple[Path | None, list[str]]:
    """The checkpoint to go on from, and a line for each damaged one that was passed over."""
    damaged, steps = [], {}
    for name in (*NEWEST_FIRST, "new.ckpt"):
        path = folder / FOLDER / name
        if not path.is_file():
            continue
        try:
            steps[path] = open_checkpoint(path, whole=True)["global_step"]
        except ValueError as error:
            if name != "new.ckpt":
                damaged.append(str(error))
    return max(steps, key=steps.get, default=None), damaged
