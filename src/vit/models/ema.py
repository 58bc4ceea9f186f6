"""A slowly following copy of a module, for objectives whose targets come from a teacher."""

import copy
from typing import Any

import torch
from torch import nn


class EMA(nn.Module):
    """An exponential moving average of a student, without gradient and always in eval mode.

    Built before sharding (a sharded module cannot be copied) and sharded by the same plan, so
    that student and teacher hold the same slices and the update needs no communication.

    Args:
        student: the module to copy and follow.
    """

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.copy = copy.deepcopy(student).requires_grad_(False)

    def train(self, mode: bool = True) -> "EMA":
        """Stay in eval mode whatever the parent is told."""
        return super().train(False)

    def forward(self, *inputs: Any) -> Any:
        if self.copy.training:  # a new module's; set here because Lightning warns of it earlier
            self.copy.eval()
        with torch.no_grad():
            return self.copy(*inputs)

    @torch.no_grad()
    def follow(self, student: nn.Module, momentum: float) -> None:
        """teacher <- momentum x teacher + (1 - momentum) x student; buffers are copied."""
        ours, theirs = list(self.copy.parameters()), list(student.parameters())
        torch._foreach_lerp_(ours, theirs, 1 - momentum)
        for mine, other in zip(self.copy.buffers(), student.buffers(), strict=True):
            mine.copy_(other)


def ema_warmup(momentum: float, step: int) -> float:
    """What an average uses at a step counted from 1: less at first, so that the start fades."""
    return min(momentum, (1 + step) / (10 + step))
