"""A run is validated after its last step, whatever the interval between validations."""

from typing import Any

from lightning.pytorch import Callback, Trainer

from vit.module import ViTModule


class LastStep(Callback):
    """What a run reports last are its final weights; Lightning would stop at the last interval."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: ViTModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Lightning validates where it is asked to stop, if this epoch may be validated at all."""
        if trainer.global_step >= pl_module.total_steps:
            trainer.should_stop = True
            if trainer.check_val_every_n_epoch is not None:
                trainer.check_val_every_n_epoch = 1
