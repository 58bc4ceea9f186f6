"""Pixels to the numbers that an encoder sees: (pixel - mean) / std, channel by channel."""

from functools import cache

import torch
from torch import Tensor

from vit.batch import DataSpec


@cache
def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """float32 numbers, one per channel: 1 C 1 1; sent to the device once, so that no step waits."""
    with torch.inference_mode(False):  # made in an evaluation, it serves training too
        return torch.tensor(values, device=device).view(1, -1, 1, 1)


def normalise(images: Tensor, spec: DataSpec) -> Tensor:
    """(pixels in [0, 1] - mean) / std, channel by channel; uint8 counts as 255ths."""
    whole = 255 if images.dtype == torch.uint8 else 1
    scale = constant(tuple(1 / (whole * std) for std in spec.std), images.device)
    bias = constant(
        tuple(-mean / std for mean, std in zip(spec.mean, spec.std, strict=True)), images.device
    )
    # in place on the copy that the cast makes: half the time of two new tensors
    scaled = images.float().mul_(scale) if whole == 255 else images * scale
    return scaled.add_(bias)
