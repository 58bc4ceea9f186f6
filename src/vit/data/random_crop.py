"""Random crops: how large, of which shape, and where.

The arithmetic is here alone. A batch on the device resamples at the exact place (transforms.py);
files are cut in a worker at whole pixels (files.py). Draws are made by the caller.

B batch.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

LONGEST = math.log(4 / 3)  # of aspects, width / height, in logarithms; the shortest is 3/4
Box = tuple[int, int, int, int]  # top, left, height, width in pixels


def random_crop(
    u: Float[Tensor, "B 4"],
    height: Float[Tensor, " B"],
    width: Float[Tensor, " B"],
    area: tuple[float, float],
) -> tuple[Float[Tensor, " B"], ...]:
    """Half height, half width, and how far down and right the centre lies of the image's.

    A crop covers a fraction of the area drawn evenly from `area`, with an aspect between 3/4 and
    4/3 with which it fits into the image (Szegedy et al., arXiv:1409.4842, section 6; torchvision
    redraws where it does not fit), at a place drawn evenly.

    Args:
        u: even draws in [0, 1).
        height: of each image, in pixels.
        width: of each image, in pixels.
        area: smallest and largest fraction of the image.
    """
    low, high = area
    covered = (low + (high - low) * u[:, 0]) * height * width
    # the aspects (width / height, in logarithms) with which that area fits into the image
    least, most = (covered / height**2).log(), (width**2 / covered).log()
    first = torch.minimum(least.clamp(min=-LONGEST), most)
    last = torch.maximum(most.clamp(max=LONGEST), least)
    aspect = torch.exp(first + (last - first) * u[:, 1])
    wide = (covered * aspect).sqrt().minimum(width) / 2
    tall = (covered / aspect).sqrt().minimum(height) / 2
    right = (2 * u[:, 2] - 1) * (width / 2 - wide)
    down = (2 * u[:, 3] - 1) * (height / 2 - tall)
    return tall, wide, down, right


def random_boxes(
    u: Float[Tensor, "B 4"], sizes: Int[Tensor, "B 2"], area: tuple[float, float]
) -> list[Box]:
    """Random crops in whole pixels.

    Args:
        u: even draws in [0, 1).
        sizes: heights and widths of the images.
        area: smallest and largest fraction of the image.
    """
    height, width = sizes.double().unbind(1)
    half_h, half_w, down, right = random_crop(u.double(), height, width, area)
    tall = (2 * half_h).round().clamp(min=1).minimum(height)
    wide = (2 * half_w).round().clamp(min=1).minimum(width)
    top = (height / 2 + down - half_h).round().clamp(min=0).minimum(height - tall)
    left = (width / 2 + right - half_w).round().clamp(min=0).minimum(width - wide)
    return [tuple(box) for box in torch.stack([top, left, tall, wide], 1).long().tolist()]


def random_places(u: Float[Tensor, "B 4"], sizes: Int[Tensor, "B 2"], ratio: float) -> list[Box]:
    """Random places in whole pixels that cover the same fraction of height and width.

    Args:
        u: even draws in [0, 1), of which the last two count.
        sizes: heights and widths of the images.
        ratio: fraction of each side.
    """
    tall, wide = (sizes * ratio).round().clamp(min=1).long().unbind(1)
    top, left = (u[:, 2:] * (sizes - torch.stack([tall, wide], 1) + 1)).long().unbind(1)
    return [tuple(box) for box in torch.stack([top, left, tall, wide], 1).tolist()]
