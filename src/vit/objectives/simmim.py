"""SimMIM: rebuild the pixels of hidden patches, with mask tokens inside the encoder.

Paper: Xie et al., "SimMIM: a Simple Framework for Masked Image Modeling", arXiv:2111.09886,
section 3: large square mask units, a linear head, L1 on hidden pixels only.
Differs from it: our ViT keeps its absolute positions (the paper's has a shared relative position
bias, LayerScale and mean pooling).

B batch, N patches, P numbers per patch, D width, C channels, U side of the grid of mask units.
"""

import math
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vit.batch import Batch, DataSpec, ViewSpec
from vit.models.base import TokenEncoder
from vit.objectives.base import Losses, Objective
from vit.objectives.parts.masking import from_neighbours, random_mask
from vit.patches import patchify, unpatchify


class SimMIM(Objective):
    """Predict hidden pixels from a full-length sequence with mask tokens.

    Args:
        encoder: with patch tokens, each made from its own pixels alone.
        spec: the data.
        mask_ratio: fraction of the mask units that are hidden, rounded up. Paper: 0.6.
        unit: side of a mask unit in patches. Paper: 2 (32 px with patches of 16).
    """

    views = (ViewSpec(resample=False),)
    best: ClassVar[tuple[str, str]] = ("val/loss", "min")
    trivial_baseline: ClassVar[tuple[str, str]] = ("val/explained", "val/explained_by_mean_colour")

    def __init__(
        self, encoder: TokenEncoder, spec: DataSpec, mask_ratio: float = 0.6, unit: int = 2
    ) -> None:
        super().__init__(encoder, spec)
        if not 0 < mask_ratio < 1:
            raise ValueError(
                f"SimMIM: mask_ratio must be in (0, 1), got {mask_ratio}; the paper uses 0.6"
            )
        if not encoder.local_embedding:
            raise ValueError("SimMIM: this encoder's stem mixes patches, so hidden pixels leak")
        if unit < 1:
            raise ValueError(f"SimMIM: unit must be at least 1 patch, got {unit}")
        if math.prod(encoder.grid) < 2 * unit**2:
            raise ValueError(f"SimMIM: a grid {encoder.grid} is less than two units of {unit}")
        if encoder.grid[0] % unit or encoder.grid[1] % unit:
            raise ValueError(f"SimMIM: unit {unit} does not divide the grid {encoder.grid}")
        self.mask_ratio = mask_ratio
        self.unit = unit
        self.mask_token = nn.Parameter(torch.empty(encoder.width))
        self.to_pixels = nn.Linear(encoder.width, encoder.patch_size**2 * spec.channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def mask(self, batch: Batch) -> Bool[Tensor, "B N"]:
        """Hidden patches, in whole units."""
        rows, columns = (side // self.unit for side in self.encoder.grid)
        total = rows * columns
        fraction = math.ceil(round(total * self.mask_ratio, 6)) / total
        units = random_mask(batch.keys("simmim"), total, fraction).view(-1, rows, columns)
        return units.repeat_interleave(self.unit, 1).repeat_interleave(self.unit, 2).flatten(1)

    def predicted(
        self, images: Float[Tensor, "B C H W"], mask: Bool[Tensor, "B N"]
    ) -> Float[Tensor, "B N P"]:
        """Every patch's pixels, as the encoder sees them from the visible ones."""
        patches = self.encoder.embed(images)  # B N D
        patches = torch.where(mask[..., None], self.mask_token.to(patches.dtype), patches)
        tokens = self.encoder.encode(self.encoder.add_position(patches))
        return self.to_pixels(tokens[:, -mask.shape[1] :]).float()

    def forward(self, batch: Batch, progress: float) -> Losses:
        """One step."""
        mask = self.mask(batch)
        target = patchify(batch.images.float(), self.encoder.patch_size)  # B N P
        error = (self.predicted(batch.images, mask) - target).abs().mean(-1)
        losses = (error * mask).sum(1) / mask.sum(1)
        per_image = {"loss": losses}
        if not self.training:
            for name, guess in self.guesses(target, mask).items():
                guess_error = (guess - target).abs().mean(-1)
                per_image[name] = (guess_error * mask).sum(1) / mask.sum(1)
        return Losses(losses.mean(), per_image, {})

    def guesses(
        self, target: Float[Tensor, "B N P"], mask: Bool[Tensor, "B N"]
    ) -> dict[str, Float[Tensor, "B N P"]]:
        """Predictions without learning: the mean colour of all that is seen, or of neighbours."""
        size = self.encoder.patch_size
        colours = target.unflatten(2, (size * size, -1)).mean(2)  # B N C
        seen = (~mask)[..., None].float()
        image = (colours * seen).sum(1, keepdim=True) / seen.sum(1, keepdim=True)
        near = from_neighbours(colours, mask, self.encoder.grid)
        flat = {"mean_colour": image.expand_as(colours), "neighbours": near}
        return {name: guess.repeat(1, 1, size * size) for name, guess in flat.items()}

    def summary(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """Fraction of the error that is saved, beside one mean colour for all that is hidden."""
        means = dict(means)
        mean_colour, neighbours = means.pop("mean_colour").clamp(min=1e-12), means.pop("neighbours")
        return means | {
            "explained": 1 - means["loss"] / mean_colour,
            "explained_by_neighbours": 1 - neighbours / mean_colour,
            "explained_by_mean_colour": torch.zeros(()),
        }

    def pictures(self, batch: Batch) -> dict[str, Float[Tensor, "B C H W"]]:
        """The input, what is hidden (mid-grey), and the hidden pixels rebuilt."""
        mask, size, grid = self.mask(batch), self.encoder.patch_size, self.encoder.grid
        pixels = patchify(batch.images.float(), size)
        rebuilt = torch.where(mask[..., None], self.predicted(batch.images, mask), pixels)
        shown = {
            "input": pixels,
            "hidden": torch.where(mask[..., None], 0.0, pixels),
            "rebuilt": rebuilt,
        }
        return {
            name: self.pixels(unpatchify(patches, size, grid)).clamp(0, 1)
            for name, patches in shown.items()
        }
