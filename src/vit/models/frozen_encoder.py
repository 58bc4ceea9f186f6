"""A trained encoder that others learn from: it sees pixels in its own size and normalisation.

B batch, C channels, H W pixels.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vit.models.base import Encoder, Features
from vit.models.lineage import Link
from vit.models.torch_files import hash_of
from vit.models.weights import load_into, stored_encoder


class FrozenEncoder(nn.Module):
    """Features from pixels in [0, 1]; it never learns.

    Args:
        encoder: trained.
        size: height and width in pixels that it is shown, whatever it is given.
        mean: of its training data, per channel.
        std: of its training data, per channel.
        lineage: the trainings behind it, as far as they are known.
    """

    def __init__(
        self,
        encoder: Encoder,
        size: tuple[int, int],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        lineage: tuple[Link, ...] = (),
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.size = size
        self.lineage = lineage
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))
        self.requires_grad_(False).eval()

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> Features:
        """Features, never in training mode and never with a gradient."""
        with torch.no_grad():
            if tuple(pixels.shape[-2:]) != self.size:
                pixels = F.interpolate(pixels, self.size, mode="bilinear", antialias=True)
            return self.encoder((pixels - self.mean) / self.std)

    def train(self, mode: bool = True) -> "FrozenEncoder":
        """Stay in eval mode whatever the parent does."""
        return super().train(False)

    def key(self) -> str:
        """Sixteen hexadecimal digits that change with any weight."""
        return hash_of(self, 16)


def frozen_encoder(source: str, grid: tuple[int, int], channels: int) -> FrozenEncoder:
    """A trained encoder that makes as many patches of a picture as its student does.

    Args:
        source: run folder, checkpoint, released file or name.
        grid: rows and columns of the student's patches.
        channels: of the student's pictures.

    Raises:
        ValueError: it has no patches, or sees other channels.
        FileNotFoundError: there is no such file.
    """
    stored = stored_encoder(source)
    patch = stored.settings.get("patch_size")
    if not patch:
        raise ValueError(f"teacher: {stored.path} has no patches; take a Vision Transformer")
    size = (grid[0] * patch, grid[1] * patch)
    encoder = stored.build(replace(stored.spec, image_size=size))
    load_into(encoder, stored, channels)
    return FrozenEncoder(encoder, size, stored.spec.mean, stored.spec.std, stored.lineage)
