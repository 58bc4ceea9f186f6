"""An exponential moving average of a module's weights: a teacher, or what evaluation reads."""

import copy
from typing import Any

import torch
from torch import nn


class EMA(nn.Module):
    """A copy of a module that follows it slowly, without gradient and always in eval mode.

    Built before sharding (a sharded module cannot be copied) and sharded by the same plan, so
    that both hold the same slices and the update needs no communication.

    Args:
        source: the module to copy and follow.
    """

    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        self.copy = copy.deepcopy(source).requires_grad_(False)

    def train(self, mode: bool = True) -> "EMA":
        """Stay in eval mode whatever the parent does."""
        return super().train(False)

    def forward(self, *inputs: Any) -> Any:
        if self.copy.training:  # a new module's; set here because Lightning warns of it earlier
            self.copy.eval()
        with torch.no_grad():
            return self.copy(*inputs)

    @torch.no_grad()
    def follow(self, source: nn.Module, momentum: float) -> None:
        """Set the copy to momentum x copy + (1 - momentum) x source; buffers are copied."""
        averages, sources = list(self.copy.parameters()), list(source.parameters())
        torch._foreach_lerp_(averages, sources, 1 - momentum)
        for buffer, other in zip(self.copy.buffers(), source.buffers(), strict=True):
            buffer.copy_(other)


def ema_warmup(momentum: float, step: int) -> float:
    """The momentum at a step counted from 1: less at first, so that the start fades."""
    return min(momentum, (1 + step) / (10 + step))
