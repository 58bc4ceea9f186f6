"""Which patches are hidden. True = hidden, here and everywhere.

B batch, N patches, K kept patches.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from vit.randomness import uniform

RECTANGLES = 16  # drawn for each image; what they leave over is hidden patch by patch
LEAST = 4  # patches of a rectangle on small grids


def hidden_count(patches: int, fraction: float) -> int:
    """How many of N patches a fraction hides: rounded, at least one, and one stays visible."""
    return min(max(int(patches * fraction + 0.5), 1), patches - 1)


def random_order(key: Int[Tensor, " B"], patches: int) -> Int[Tensor, "B N"]:
    """A random order of the patches for each image, a function of its key alone."""
    return uniform(key, patches).argsort(stable=True, dim=1)  # ties fall alike on every device


def random_mask(key: Int[Tensor, " B"], patches: int, fraction: float) -> Bool[Tensor, "B N"]:
    """Hide exactly the same number of patches of every image, drawn for each from its key."""
    rank = random_order(key, patches).argsort(1)
    return rank < hidden_count(patches, fraction)


def kept_patches(mask: Bool[Tensor, "B N"], count: int) -> Int[Tensor, "B K"]:
    """Positions of `count` visible patches in raster order; hidden ones fill up a short row."""
    return torch.argsort(mask.to(torch.uint8), dim=1, stable=True)[:, :count]


def block_mask(
    key: Int[Tensor, " B"], grid: tuple[int, int], count: Int[Tensor, " B"]
) -> Bool[Tensor, "B N"]:
    """Hide exactly `count` patches of each image in rectangles that are laid one after the other.

    Bao et al. (BEiT), arXiv:2106.08254, algorithm 1: areas drawn evenly up to what is to be hidden,
    aspects from 0.3 to 1 / 0.3; a rectangle has at least a ninth of the grid (16 patches of 14x14,
    as in iBOT's code). Differs from it: the last rectangle is cut where the count is reached, row
    by row from its top or its bottom; all rectangles are drawn at once, so an area is not bounded
    by what is left to hide.

    Args:
        key: one per image.
        grid: rows and columns of patches.
        count: hidden patches of each image; 0 hides nothing.
    """
    rows, columns = grid
    draw = uniform(key, 4 * RECTANGLES + rows * columns + 1)
    area, aspect, down, right = draw[:, : 4 * RECTANGLES].view(-1, 4, RECTANGLES).unbind(1)
    least = max((min(grid) // 3) ** 2, LEAST)
    area = least + (count[:, None] - least).clamp(min=0) * area
    stretch = ((2 * aspect - 1) * math.log(1 / 0.3)).exp()
    tall = (area * stretch).sqrt().round().clamp(1, rows)
    wide = (area / stretch).sqrt().round().clamp(1, columns)
    inside = []
    for size, place, side in ((tall, down, rows), (wide, right, columns)):
        start = (place * (side - size + 1)).floor()[..., None]
        at = torch.arange(side, device=key.device)
        inside.append((at >= start) & (at < start + size[..., None]))  # B R side
    covered = (inside[0][..., None] & inside[1][:, :, None]).flatten(2)  # B R N
    first = torch.where(covered.any(1), covered.int().argmax(1), RECTANGLES)  # B N
    raster = torch.arange(rows * columns, device=key.device) / (rows * columns)  # [0, 1)
    in_order = torch.where(draw[:, -1:] < 0.5, raster, raster.flip(0))  # of single patches specks
    within = torch.where(first < RECTANGLES, in_order, draw[:, 4 * RECTANGLES : -1])
    rank = (first + within).argsort(1).argsort(1)
    return rank < count[:, None]


def from_neighbours(
    values: Float[Tensor, "B N C"], mask: Bool[Tensor, "B N"], grid: tuple[int, int]
) -> Float[Tensor, "B N C"]:
    """The mean of each patch's eight neighbours that are not hidden.

    Where all are hidden, the mean of every patch of the image that is not.
    """
    seen = (~mask).float()[:, None].unflatten(2, grid)  # B 1 h w
    visible = values.transpose(1, 2).unflatten(2, grid) * seen  # B C h w
    sums, counts = (
        F.avg_pool2d(x, 3, stride=1, padding=1, divisor_override=1) - x for x in (visible, seen)
    )
    everywhere = visible.sum((2, 3), keepdim=True) / seen.sum((2, 3), keepdim=True)
    means = torch.where(counts > 0, sums / counts.clamp(min=1), everywhere)
    return means.flatten(2).transpose(1, 2)
