"""Masked autoencoder: rebuild the pixels of hidden patches from the few that are seen.

Paper: He et al., "Masked Autoencoders Are Scalable Vision Learners", arXiv:2111.06377, section 3.
Differs from it: the encoder is our ViT, whose positions may be learned; q, k and v are initialised
separately; the number of hidden patches is rounded, where its code cuts off that of the kept ones;
class token and registers, where there are some, pass through the decoder.
"""

from typing import ClassVar

import torch
from torch import Tensor

from vit.batch import Batch
from vit.objectives.base import Losses
from vit.objectives.parts.masked_autoencoding import MaskedAutoencoding


class MAE(MaskedAutoencoding):
    """Learn from hidden pixels alone; settings as there."""

    best: ClassVar[tuple[str, str]] = ("val/loss", "min")
    trivial_baseline: ClassVar[tuple[str, str]] = ("val/explained", "val/explained_by_nothing")

    def forward(self, batch: Batch, progress: float) -> Losses:
        """One step."""
        per_image = self.errors(batch)
        return Losses(per_image["loss"].mean(), per_image, {})

    def summary(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """Fraction of the targets' square that is explained; 0 everywhere explains none."""
        means = dict(means)
        explained = 1 - means["loss"] / means.pop("nothing").clamp(min=1e-12)
        return means | {"explained": explained, "explained_by_nothing": torch.zeros(())}
