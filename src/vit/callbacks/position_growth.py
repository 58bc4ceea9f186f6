"""Say at the end of a self-supervised run that its learned positions outgrew the rest.

Masked pre-training on small images can leave a position table several times the size it was drawn
with, while all other weights keep theirs; fine-tuning then begins below random weights, and above
them again once table and class token are drawn anew (`model.pretrained_positions: fresh`).
"""

from typing import Any

from lightning.pytorch import Callback, Trainer
from torch import Tensor

from vit.models.vit import ViT
from vit.module import ViTModule

OUTGROWN = 2.0  # times the growth of the patch embedding


class PositionGrowth(Callback):
    """Compare the sizes of position table and patch embedding with those of the start.

    A run that starts from pre-trained weights is compared with these.
    """

    def __init__(self) -> None:
        self.start: dict[str, float] = {}

    @property
    def state_key(self) -> str:
        """One name in the checkpoint."""
        return "PositionGrowth"

    def on_train_start(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """A resumed run keeps the sizes that it began with."""
        self.start = self.start or sizes(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """One line, where there is something to say."""
        now = sizes(pl_module)  # on every rank: it gathers what is sharded
        if pl_module.objective.uses_labels or not now or not all(self.start.values()):
            return
        table, patches = (now[name] / self.start[name] for name in ("table", "patches"))
        if table > OUTGROWN * patches and trainer.is_global_zero:
            print(
                f"positions: their table grew to {table:.1f} times its size, the patch embedding "
                f"to {patches:.1f}; fine-tune with --model.pretrained_positions fresh, or "
                "pre-train with position: sincos",
                flush=True,
            )

    def state_dict(self) -> dict[str, Any]:
        """The sizes at the start."""
        return {"start": self.start}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them from the checkpoint."""
        self.start = state_dict["start"]


def sizes(module: ViTModule) -> dict[str, float]:
    """Norms of table and patch embedding; empty where no positions are learned."""
    encoder = module.objective.encoder
    if not isinstance(encoder, ViT):
        return {}
    table = dict(encoder.named_parameters()).get("pos_embed")
    if table is None:
        return {}
    return {"table": norm(table), "patches": norm(encoder.patch_embed.proj.weight)}


def norm(weights: Tensor) -> float:
    """The norm of the whole of it, also where it is sharded."""
    whole = weights.full_tensor() if hasattr(weights, "full_tensor") else weights
    return float(whole.detach().norm())
