"""Which patches are hidden. True = hidden, here and everywhere.

B batch, N patches, K kept patches.
"""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vit.randomness import uniform


def hidden_count(patches: int, share: float) -> int:
    """How many of N patches a share hides: rounded, at least one, and one stays visible."""
    return min(max(int(patches * share + 0.5), 1), patches - 1)


def random_order(key: Int[Tensor, " B"], patches: int) -> Int[Tensor, "B N"]:
    """A random order of the patches for each image, a function of its key alone."""
    return uniform(key, patches).argsort(stable=True, dim=1)  # ties fall alike on every device


def random_mask(key: Int[Tensor, " B"], patches: int, share: float) -> Bool[Tensor, "B N"]:
    """Hide exactly the same number of patches of every image, drawn for each from its key."""
    rank = random_order(key, patches).argsort(1)
    return rank < hidden_count(patches, share)


def kept_patches(mask: Bool[Tensor, "B N"], count: int) -> Int[Tensor, "B K"]:
    """Positions of the `count` visible patches in raster order; every row must have as many."""
    return torch.argsort(mask.to(torch.uint8), dim=1, stable=True)[:, :count]
