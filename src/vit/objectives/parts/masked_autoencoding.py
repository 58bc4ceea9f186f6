"""What masked autoencoding is made of: a quarter is encoded, a light decoder predicts the rest.

Paper: He et al., "Masked Autoencoders Are Scalable Vision Learners", arXiv:2111.06377, section 3.

B batch, C channels, N patches, K kept patches, T tokens, D width, E decoder width, P numbers per
patch.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vit.batch import Batch, DataSpec, ViewSpec
from vit.models.base import TokenEncoder
from vit.models.block import MLP, Attention, Block, DropPath
from vit.objectives.base import Objective
from vit.objectives.parts.masking import hidden_count, random_order
from vit.patches import patchify, sincos, unpatchify


class MaskedAutoencoding(Objective):
    """The encoder sees the patches that are kept; a light decoder predicts the others' pixels.

    Args:
        encoder: with patch tokens, each made from its own pixels alone.
        spec: the data.
        mask_ratio: fraction of the patches that the encoder does not see. Paper: 0.75.
        decoder_width: E. Paper: 512.
        decoder_depth: blocks. Paper: 8.
        decoder_heads: attention heads. Paper: 16.
        normalise: each target patch has mean 0 and deviation 1. Paper: better so (table 1d).
    """

    views = (ViewSpec(resample=False),)

    def __init__(
        self,
        encoder: TokenEncoder,
        spec: DataSpec,
        mask_ratio: float = 0.75,
        decoder_width: int = 512,
        decoder_depth: int = 8,
        decoder_heads: int = 16,
        normalise: bool = True,
    ) -> None:
        super().__init__(encoder, spec)
        name = type(self).__name__
        if not 0 < mask_ratio < 1:
            raise ValueError(
                f"{name}: mask_ratio must be in (0, 1), got {mask_ratio}; the paper uses 0.75"
            )
        if not encoder.local_embedding:
            raise ValueError(f"{name}: this encoder's stem mixes patches, so hidden pixels leak")
        if math.prod(encoder.grid) < 2:
            raise ValueError(f"{name}: the image is one patch; set a smaller patch_size")
        if min(decoder_depth, decoder_width, decoder_heads) < 1 or decoder_width % (
            4 * decoder_heads
        ):
            raise ValueError(
                f"{name}: decoder_depth must be at least 1 and decoder_width a multiple of 4 x "
                f"decoder_heads, got {decoder_depth}, {decoder_width} and {decoder_heads}"
            )
        if normalise and encoder.patch_size**2 * spec.channels < 2:
            raise ValueError(
                f"{name}: a patch of one number has no deviation; set normalise: false"
            )
        self.mask_ratio = mask_ratio
        self.normalise = normalise
        self.narrow = nn.Linear(encoder.width, decoder_width)
        self.mask_token = nn.Parameter(torch.empty(decoder_width))
        self.register_buffer("position", sincos(encoder.grid, decoder_width), persistent=False)
        self.blocks = nn.Sequential(
            *(
                Block(
                    decoder_width,
                    Attention(decoder_width, decoder_heads),
                    MLP(decoder_width, 4 * decoder_width, "exact", dropout=0.0),
                    norm_eps=1e-6,
                    dropout=0.0,
                    drop_path=DropPath(0.0),
                    layer_scale=None,
                )
                for _ in range(decoder_depth)
            )
        )
        self.norm = nn.LayerNorm(decoder_width, eps=1e-6)
        self.to_pixels = nn.Linear(decoder_width, encoder.patch_size**2 * spec.channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.mask_token, std=0.02)
        for layer in (self.narrow, self.to_pixels):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def kept(self, batch: Batch) -> Int[Tensor, "B K"]:
        """Which patches the encoder sees: equally many of every image."""
        count = math.prod(self.encoder.grid)
        return random_order(batch.keys("mae"), count)[
            :, : count - hidden_count(count, self.mask_ratio)
        ]

    def target(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B N P"]:
        """What is predicted of each patch; the variance is the unbiased one, as in the code."""
        patches = patchify(images.float(), self.encoder.patch_size)
        if not self.normalise:
            return patches
        mean, variance = patches.mean(-1, keepdim=True), patches.var(-1, keepdim=True)
        return (patches - mean) / (variance + 1e-6).sqrt()

    def predicted(
        self, images: Float[Tensor, "B C H W"], kept: Int[Tensor, "B K"]
    ) -> Float[Tensor, "B N P"]:
        """Every patch's target, predicted from the kept ones alone."""
        patches = self.encoder.add_position(self.encoder.embed(images))  # B N D
        code = self.narrow(self.encoder.encode(patches, kept))  # B T E
        code = code.to(self.mask_token.dtype)  # float32 under autocast: the blocks add to it
        front = code.shape[1] - kept.shape[1]
        seen = code[:, front:]
        full = self.mask_token.expand(len(code), patches.shape[1], -1)
        full = full.scatter(1, kept[..., None].expand_as(seen), seen)
        full = full + self.position.to(full.dtype)
        read = self.norm(self.blocks(torch.cat([code[:, :front], full], 1)))
        return self.to_pixels(read[:, front:]).float()

    def errors(self, batch: Batch) -> dict[str, Float[Tensor, " B"]]:
        """The mean square error of each image's hidden patches, and that of predicting zero."""
        kept, target = self.kept(batch), self.target(batch.images)
        mask = torch.ones_like(target[..., 0]).scatter(1, kept, 0.0)  # B N
        error = (self.predicted(batch.images, kept) - target).square().mean(-1)
        trivial = target.square().mean(-1)
        return {
            "loss": (error * mask).sum(1) / mask.sum(1),
            "nothing": (trivial * mask).sum(1) / mask.sum(1),
        }

    def pictures(self, batch: Batch) -> dict[str, Float[Tensor, "B C H W"]]:
        """The input, what is seen (grey: hidden), and hidden patches rebuilt.

        Of normalised targets only the pattern inside a patch is predicted: its mean and deviation
        are then the true ones, which the decoder did not know.
        """
        size, grid, kept = self.encoder.patch_size, self.encoder.grid, self.kept(batch)
        pixels = patchify(batch.images.float(), size)
        mask = torch.ones_like(pixels[..., :1]).scatter(1, kept[..., None], 0.0) > 0
        rebuilt = self.predicted(batch.images, kept)
        if self.normalise:
            mean, variance = pixels.mean(-1, keepdim=True), pixels.var(-1, keepdim=True)
            rebuilt = rebuilt * (variance + 1e-6).sqrt() + mean
        shown = {
            "input": pixels,
            "seen": torch.where(mask, 0.0, pixels),
            "rebuilt": torch.where(mask, rebuilt, pixels),
        }
        return {
            name: self.pixels(unpatchify(patches, size, grid)).clamp(0, 1)
            for name, patches in shown.items()
        }
