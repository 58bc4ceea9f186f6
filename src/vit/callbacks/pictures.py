"""Pictures of what an objective sees and says, in TensorBoard."""

from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor
from torch.nn import functional as F
from torchvision.utils import make_grid

from vit.callbacks.run import Run, callback_of
from vit.module import ViTModule

SIDE = 96  # pixels; an 8x8 digit would be a speck in TensorBoard


class Pictures(Callback):
    """The objective's pictures of the first validation images, every so many validations.

    Args:
        every: validations between two sets.
        images: how many, at most.
    """

    def __init__(self, every: int = 10, images: int = 8) -> None:
        if every < 1 or images < 1:
            raise ValueError(
                f"Pictures: every and images must be at least 1, got {every} and {images}"
            )
        self.every = every
        self.images = images
        self.count = 0  # validations so far
        self.due = True  # show what training sees at the next step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: ViTModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show what training sees: at the start, and after each set of the others."""
        if self.due:
            self.due = False
            for number, view in enumerate(batch.views, 1):
                name = f"augmented_{number}" if len(batch.views) > 1 else "augmented"
                self.show(trainer, name, pl_module.objective.pixels(view))

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: ViTModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Show the first batch only."""
        if (
            batch_idx
            or trainer.sanity_checking
            or trainer.state.fn != "fit"
            or not hasattr(pl_module.eval_objective, "pictures")
        ):
            return
        self.count += 1
        if (self.count - 1) % self.every:
            return
        with torch.no_grad():
            pictures = pl_module.eval_objective.pictures(batch)
        for name, images in pictures.items():
            self.show(trainer, name, images)
        self.due = True

    def show(self, trainer: Trainer, name: str, images: Tensor) -> None:
        """Show one row of images."""
        run = callback_of(trainer, Run)
        row = enlarged(images[: self.images].float().clamp(0, 1).cpu())
        grid = make_grid(row, nrow=self.images, padding=4, pad_value=1.0)
        run.files.picture(f"pictures/{name}", grid, trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, for a run that goes on."""
        return {"count": self.count, "wanted": self.due}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.count, self.due = state_dict["count"], state_dict["wanted"]


def enlarged(images: Tensor) -> Tensor:
    """Small images, pixel by pixel, at least SIDE pixels high."""
    factor = max(SIDE // images.shape[-2], 1)
    return F.interpolate(images, scale_factor=factor, mode="nearest")
