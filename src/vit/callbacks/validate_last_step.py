"""When a run is validated: every so many steps, and after its last one."""

from typing import Any

from lightning.pytorch import Callback, Trainer

from vit.module import ViTModule


class ValidateLastStep(Callback):
    """What a run reports last are its final weights; Lightning would stop at the last interval."""

    def setup(self, trainer: Trainer, pl_module: ViTModule, stage: str) -> None:
        """An interval counts optimiser steps; Lightning counts micro-batches."""
        whole = isinstance(trainer.val_check_interval, int)
        if stage == "fit" and whole and trainer.check_val_every_n_epoch is None:
            trainer.val_check_interval *= trainer.accumulate_grad_batches

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: ViTModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Lightning validates where it is asked to stop, if this epoch may be validated at all."""
        if trainer.global_step >= pl_module.total_steps:
            trainer.should_stop = True
            if trainer.check_val_every_n_epoch is not None:
                trainer.check_val_every_n_epoch = 1
