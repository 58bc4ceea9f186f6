"""What a fit writes into metrics.csv while it goes, a row per value: steps and validations."""

from typing import Any

from lightning.pytorch import Callback, Trainer

from vit.callbacks.run_log import RunLog
from vit.module import ViTModule


class StepLogging(Callback):
    """Record training every `trainer.log_every_n_steps` optimiser steps, and each validation.

    Args:
        files: the run's logger.
    """

    def __init__(self, files: RunLog) -> None:
        self.files = files

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: ViTModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Means over the optimiser step; between two logged ones nothing waits for the device."""
        step = trainer.global_step
        if pl_module.consumed % trainer.accumulate_grad_batches:
            return
        if step % trainer.log_every_n_steps:
            pl_module.step_losses.clear()
            return
        pl_module.finite_check.check()
        metrics = pl_module.take_step_metrics()
        for name in ("train/loss", "train/accuracy"):
            if name in metrics:
                pl_module.log(name, metrics[name], prog_bar=True, logger=False)
        group = trainer.optimizers[0].param_groups[0]
        # the schedule's rate, without layer decay or the head's own factor
        metrics["train/lr"] = group["lr"] / group["lr_factor"]
        self.files.record(metrics, step, epoch_of(trainer, pl_module))

    def on_validation_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Once a step, even if Lightning repeats a validation after a resume."""
        outside = trainer.sanity_checking or trainer.state.fn != "fit"
        if outside or pl_module.validated == trainer.global_step:
            return
        pl_module.validated = trainer.global_step
        self.files.record(pl_module.results, trainer.global_step, epoch_of(trainer, pl_module))


def epoch_of(trainer: Trainer, module: ViTModule) -> int:
    """The epoch of the last batch, from our own counter."""
    return max(module.consumed - 1, 0) // trainer.num_training_batches
