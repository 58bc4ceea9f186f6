"""A bound on the gradient before each step."""

from dataclasses import dataclass
from typing import Literal

from torch import nn


@dataclass(frozen=True)
class Clip:
    """Bound the gradient before each step.

    Args:
        kind: global: the length of all gradients together (ViT paper: 1); per_tensor: that of each
            tensor alone (DINO's code: 3).
        value: the bound.
    """

    kind: Literal["global", "per_tensor"] = "global"
    value: float = 1.0

    def __post_init__(self) -> None:
        if not self.value > 0:
            raise ValueError(f"Clip: value must be above 0, got {self.value}")

    def __call__(self, parameters: list[nn.Parameter]) -> None:
        """Scale the gradients in place."""
        if self.kind == "global":
            nn.utils.clip_grad_norm_(parameters, self.value)
            return
        for parameter in parameters:
            nn.utils.clip_grad_norm_([parameter], self.value)
