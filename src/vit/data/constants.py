"""Small tables on the device, sent there once: a copy each step would make the host wait."""

from functools import cache

import torch
from torch import Tensor


@cache
def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """float32 numbers, one a channel: 1 C 1 1."""
    with torch.inference_mode(False):  # made in an evaluation, it serves training too
        return torch.tensor(values, device=device).view(1, -1, 1, 1)
