"""Masked patch prediction: tell the mean colour of corrupted patches from the others.

Paper: Dosovitskiy et al., arXiv:2010.11929, section 4.6 and appendix B.1.2. Its code was never
released; what the text leaves open is a documented setting here, with these defaults: bins divide
the un-normalised [0, 1] range evenly, the mean comes before the quantisation, exactly half of the
patches are corrupted, patches kept as they are count in the loss as in BERT, and corruption
happens before positions are added, so that a patch's place is always true.
Differs from it: nothing known beyond those choices.

B batch, N patches, K corrupted patches, D width, C channels, L colours.
"""

import math
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vit.batch import Batch, DataSpec, ViewSpec
from vit.masking import hidden_count, random_order
from vit.models.base import TokenEncoder
from vit.models.heads import LinearHead
from vit.objectives.base import Losses, Objective
from vit.patches import patchify, unpatchify
from vit.randomness import uniform


class MaskedPatchPrediction(Objective):
    """Corrupt half of the patches; predict the mean colour of each corrupted one.

    Args:
        encoder: with patch tokens.
        spec: the data; its mean and deviation undo the normalisation for the colours.
        corrupted: share of patches. Paper: 0.5.
        masked: share of the corrupted that become the mask token. Paper: 0.8.
        replaced: share of the corrupted that become another patch. Paper: 0.1; the rest is kept.
        partner: where that other patch is taken from, in training; evaluation takes the same image.
        bins: levels a channel; L = bins ** channels. Paper: 8, so 512 colours.
    """

    views = (ViewSpec(resample=False),)
    best: ClassVar[tuple[str, str]] = ("val/loss", "min")
    floor: ClassVar[tuple[str, str]] = ("val/accuracy", "val/always_most_common")

    def __init__(
        self,
        encoder: TokenEncoder,
        spec: DataSpec,
        corrupted: float = 0.5,
        masked: float = 0.8,
        replaced: float = 0.1,
        partner: Literal["batch", "image"] = "batch",
        bins: int = 8,
    ) -> None:
        super().__init__(encoder, spec)
        if not 0 < corrupted < 1:
            raise ValueError(f"MaskedPatchPrediction: corrupted must be in (0, 1), got {corrupted}")
        if min(masked, replaced) < 0 or masked + replaced > 1:
            raise ValueError(
                "MaskedPatchPrediction: masked and replaced are shares whose sum is at most 1, "
                f"got {masked} and {replaced}"
            )
        if math.prod(encoder.grid) < 2:
            raise ValueError(
                "MaskedPatchPrediction: the image is one patch, so nothing would be left to "
                "predict from; set a smaller patch_size"
            )
        colours = bins**spec.channels
        if bins < 2 or colours > 65536:
            raise ValueError(
                f"MaskedPatchPrediction: {bins} bins on {spec.channels} channels make {colours} "
                "colours; choose bins so that they are 2 to 65536"
            )
        self.corrupted, self.masked, self.replaced = corrupted, masked, replaced
        self.partner, self.bins, self.colours = partner, bins, colours
        self.mask_token = nn.Parameter(torch.empty(encoder.width))
        self.norm = nn.LayerNorm(encoder.width)
        self.head = LinearHead(encoder.width, colours)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, batch: Batch, progress: float) -> Losses:
        """One step."""
        labels = self.labels(batch.images)  # B N
        places = self.places(batch, labels.shape[1])  # B K
        logits = self.logits(batch, places)  # B K L
        labels = labels.gather(1, places)  # B K
        losses = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none").mean(1)
        per_image = {"loss": losses, "accuracy": (logits.argmax(-1) == labels).float().mean(1)}
        if not self.training:
            per_image["histogram"] = F.one_hot(labels, self.colours).float().mean(1)  # B L
        return Losses(losses.mean(), per_image, {})

    def summary(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """Beside loss and accuracy, what they must beat: how uneven the colours are."""
        histogram = means.pop("histogram")
        entropy = -(histogram * histogram.clamp(min=1e-12).log()).sum()
        return means | {"marginal_entropy": entropy, "always_most_common": histogram.max()}

    def labels(self, images: Float[Tensor, "B C H W"]) -> Int[Tensor, "B N"]:
        """The colour class of every patch: bins of the channel means, first channel leading."""
        pixels = self.pixels(images)
        means = F.avg_pool2d(pixels, self.encoder.patch_size).flatten(2)  # B C N
        # 1e-4: a level that lies on a bin's edge must not fall below it by rounding
        levels = (means * self.bins + 1e-4).floor().clamp(0, self.bins - 1).long()
        label = levels[:, 0]
        for channel in range(1, levels.shape[1]):
            label = label * self.bins + levels[:, channel]
        return label

    def places(self, batch: Batch, patches: int) -> Int[Tensor, "B K"]:
        """Which patches are corrupted: exactly as many in every image."""
        count = hidden_count(patches, self.corrupted)
        return random_order(batch.keys("mpp corrupted"), patches)[:, :count]

    def corrupt(
        self, patches: Float[Tensor, "B N D"], batch: Batch, places: Int[Tensor, "B K"]
    ) -> Float[Tensor, "B N D"]:
        """Replace the embeddings at `places`: mask token, another patch, or itself."""
        count, total = places.shape[1], patches.shape[1]
        draw = uniform(batch.keys("mpp kind"), 2 * count)
        kind, other = draw[:, :count], draw[:, count:]
        fates = torch.where(
            (kind < self.masked)[..., None],
            self.mask_token.to(patches.dtype),
            torch.where(
                (kind < self.masked + self.replaced)[..., None],
                self.partners(patches, places, other, within=total, batch=batch),
                patches.gather(1, places[..., None].expand(-1, -1, patches.shape[2])),
            ),
        )  # B K D
        return patches.scatter(1, places[..., None].expand_as(fates), fates)

    def partners(
        self,
        patches: Float[Tensor, "B N D"],
        places: Int[Tensor, "B K"],
        draw: Float[Tensor, "B K"],
        within: int,
        batch: Batch,
    ) -> Float[Tensor, "B K D"]:
        """For each place another patch, never itself."""
        rows = torch.arange(len(patches), device=places.device)[:, None] * within
        if self.partner == "batch" and batch.epoch is not None:
            own, pool, first = rows + places, len(patches) * within, 0
        else:
            own, pool, first = places, within, rows
        chosen = (draw * (pool - 1)).long().clamp(max=pool - 2)
        chosen = chosen + (chosen >= own) + first
        return patches.flatten(0, 1)[chosen]

    def logits(self, batch: Batch, places: Int[Tensor, "B K"]) -> Float[Tensor, "B K L"]:
        """Predicted colours of the corrupted patches."""
        patches = self.corrupt(self.encoder.embed(batch.images), batch, places)
        tokens = self.encoder.encode(self.encoder.add_position(patches))[:, -patches.shape[1] :]
        read = tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[2]))
        return self.head(self.norm(read)).float()

    def pictures(self, batch: Batch) -> dict[str, Float[Tensor, "B C H W"]]:
        """The input, what the encoder may see (grey: corrupted), and the predicted colours."""
        size, grid = self.encoder.patch_size, self.encoder.grid
        images = self.pixels(batch.images)
        pixels = patchify(images, size)  # B N P
        places = self.places(batch, pixels.shape[1])
        hidden = torch.zeros(pixels.shape[:2], dtype=torch.bool, device=pixels.device)
        hidden = hidden.scatter(1, places, True)
        colours = self.colour(self.logits(batch, places).argmax(-1))  # B K C
        filled = colours.repeat(1, 1, size * size)  # channel last inside a patch
        predicted = pixels.scatter(1, places[..., None].expand_as(filled), filled)
        return {
            "input": images,
            "corrupted": unpatchify(grey(pixels, hidden), size, grid),
            "predicted": unpatchify(predicted, size, grid),
        }

    def colour(self, label: Int[Tensor, "B K"]) -> Float[Tensor, "B K C"]:
        """The middle of each channel's bin, in [0, 1]."""
        levels = []
        for _ in range(len(self.mean)):
            levels.append(label % self.bins)
            label = label // self.bins
        return (torch.stack(levels[::-1], -1) + 0.5) / self.bins


def grey(pixels: Float[Tensor, "B N P"], hidden: Bool[Tensor, "B N"]) -> Float[Tensor, "B N P"]:
    """Hidden patches in mid-grey."""
    return torch.where(hidden[..., None], 0.5, pixels)
