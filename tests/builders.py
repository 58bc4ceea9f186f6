"""Small real things that many tests need."""

import torch

from vit.batch import Batch, DataSpec
from vit.models import ViT

GREY = DataSpec(tuple("0123456789"), (8, 8), 1, (0.5,), (0.5,))
RGB = DataSpec(("cat", "dog", "fox"), (16, 16), 3, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


def small_vit(spec: DataSpec = GREY, **settings) -> ViT:
    """32 wide, 2 deep; seeded."""
    torch.manual_seed(0)
    return ViT(spec, **({"width": 32, "depth": 2, "heads": 2} | settings))


def batch_of(spec: DataSpec = GREY, count: int = 4, epoch: int | None = 0, seed: int = 0) -> Batch:
    """Random normalised images with labels."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, spec.channels, *spec.image_size, generator=generator)
    labels = torch.randint(0, len(spec.classes), (count,), generator=generator)
    return Batch([images], labels, torch.arange(count), seed=seed, epoch=epoch)
