"""A trained teacher beside an objective: it is used, and is no part of what is trained or saved.

B batch, C channels, H W pixels.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn


class Held:
    """A teacher that an objective uses only: neither saved, sharded, averaged nor copied with it.

    Args:
        module: in eval mode, without gradients; its `key()` changes with any weight.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.key = module.key()

    def __deepcopy__(self, memo: dict) -> "Held":
        return self

    def __call__(self, images: Tensor) -> Any:
        """The teacher's answer; of a copy without data where only shapes are worked out."""
        if images.device.type == "meta":
            return copy.deepcopy(self.module).to("meta")(images)
        return self.module.to(images.device)(images)

    def mark(self) -> Tensor:
        """Its key as numbers, for a buffer that checkpoints keep."""
        return torch.tensor(list(bytes.fromhex(self.key)), dtype=torch.uint8)


def same_teacher(objective: Any, keys: object) -> None:
    """A run goes on with the teacher that it began with.

    Raises:
        ValueError: it is another.
    """
    stored, given = bytes(objective.teacher_key.cpu().tolist()).hex(), objective.teacher.key
    if stored != given:
        raise ValueError(
            f"{type(objective).__name__}: the teacher has changed since the run began ({stored}, "
            f"now {given}); go on with that teacher, or begin a new run"
        )
