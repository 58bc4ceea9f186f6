"""Say once, in one line, when a self-supervised run has collapsed."""

import sys
from typing import Any

from lightning.pytorch import Callback, Trainer

from vit.evaluate.features import frozen_features
from vit.evaluate.rankme import COLLAPSED, rankme
from vit.module import ViTModule

IMAGES = 512  # of the validation split
EARLY = 0.2  # fraction of the run in which collapse is often only a start


class CollapseMonitor(Callback):
    """Look at effective rank and the objective's monitors after validations without labels.

    Weights and random numbers of the run are not touched.
    """

    def __init__(self) -> None:
        self.warned = False

    def on_validation_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Look until the run was called collapsed."""
        objective = pl_module.eval_objective
        outside = trainer.state.fn != "fit" or trainer.sanity_checking
        if outside or self.warned or objective.uses_labels or pl_module.progress < EARLY:
            return
        context = pl_module.loader_context()
        features = frozen_features(
            objective.encoder, trainer.datamodule, "val", context, most=IMAGES
        )
        rank = rankme(features.features)
        message = objective.collapse_message(pl_module.results) or rank_message(rank)
        if message:
            self.warned = True
            if trainer.is_global_zero:
                step = trainer.global_step
                print(f"warning: collapsed at step {step:,}: {message}", file=sys.stderr)

    def state_dict(self) -> dict[str, Any]:
        """One warning is enough for a run, also when it goes on after a kill."""
        return {"said": self.warned}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it from the checkpoint."""
        self.warned = state_dict["said"]


def rank_message(rank: float) -> str | None:
    """What a low effective rank means; None where it is not low."""
    if rank >= COLLAPSED:
        return None
    return (
        f"the features of all images lie on one line (effective rank {rank:.2f}); lower the "
        "learning rate, or start again with another seed"
    )
