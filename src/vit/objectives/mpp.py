"""Masked patch prediction: predict the mean colour of corrupted patches from the others.

Paper: Dosovitskiy et al., arXiv:2010.11929, section 4.6 and appendix B.1.2. Its code was never
released; what the text leaves open is a documented setting here, with these defaults: bins divide
the un-normalised [0, 1] range evenly, the mean comes before the quantisation, exactly half of the
patches are corrupted, patches kept as they are count in the loss as in BERT, and corruption
happens before positions are added, so that a patch's place is always true.
Differs from it: a second LayerNorm, of its own, stands before the head (the text names none);
nothing else is known beyond those choices. The paper's two other targets are here too.

B batch, N patches, K corrupted patches, D width, C channels, S colours of a patch, L kinds of them,
P numbers of a patch's pixels.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vit.batch import Batch, DataSpec, ViewSpec
from vit.models.base import TokenEncoder
from vit.objectives.base import Losses, Objective
from vit.objectives.parts.heads import LinearHead
from vit.objectives.parts.masking import block_mask, from_neighbours, hidden_count, random_order
from vit.patches import patchify, unpatchify
from vit.randomness import uniform


@dataclass(frozen=True)
class Corruption:
    """Which patches are corrupted, and what becomes of them.

    Args:
        ratio: fraction of the patches that are corrupted. Paper: 0.5.
        masked: fraction of the corrupted that become the mask token. Paper: 0.8.
        replaced: fraction of the corrupted that become another patch. Paper: 0.1; the rest is kept.
        partner: where that other patch is taken from, in training; evaluation takes the same image.
        shape: random: single patches (paper); block: rectangles (BEiT).
    """

    ratio: float = 0.5
    masked: float = 0.8
    replaced: float = 0.1
    partner: Literal["batch", "image"] = "batch"
    shape: Literal["random", "block"] = "random"

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise ValueError(f"Corruption: ratio must be in (0, 1), got {self.ratio}")
        if min(self.masked, self.replaced) < 0 or self.masked + self.replaced > 1:
            raise ValueError(
                "Corruption: masked and replaced must be fractions whose sum is at most 1, "
                f"got {self.masked} and {self.replaced}"
            )


class MaskedPatchPrediction(Objective):
    """Corrupt half of the patches; predict the mean colour, or more, of each corrupted one.

    Args:
        encoder: with patch tokens.
        spec: the data; its mean and deviation undo the normalisation for the colours.
        corruption: which patches are corrupted, and how.
        bins: levels a channel; L = bins ** channels. Paper: 8, so 512 colours.
        target: mean_colour (the paper's choice), 4x4_colours (of the patch shrunk to 4x4, all at
            once) or pixels (all of them, by least squares, in normalised units).
    """

    views = (ViewSpec(resample=False),)
    best: ClassVar[tuple[str, str]] = ("val/loss", "min")
    trivial_baseline: ClassVar[tuple[str, str]] = ("val/accuracy", "val/always_most_common")

    def __init__(
        self,
        encoder: TokenEncoder,
        spec: DataSpec,
        corruption: Corruption = Corruption(),
        bins: int = 8,
        target: Literal["mean_colour", "4x4_colours", "pixels"] = "mean_colour",
    ) -> None:
        super().__init__(encoder, spec)
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
        self.cells = 4 if target == "4x4_colours" else 1  # of a patch's side
        if encoder.patch_size % self.cells:
            raise ValueError(
                f"MaskedPatchPrediction: a patch of {encoder.patch_size} px has no 4x4 colours; "
                "set a patch_size that 4 divides, or target: mean_colour"
            )
        self.corruption = corruption
        self.bins = bins
        self.colours = colours
        self.target = target
        if target == "pixels":
            self.trivial_baseline = ("val/explained", "val/explained_by_neighbours")
        outputs = encoder.patch_size**2 * spec.channels
        outputs = outputs if target == "pixels" else colours * self.cells**2
        self.mask_token = nn.Parameter(torch.empty(encoder.width))
        self.norm = nn.LayerNorm(encoder.width)
        self.head = LinearHead(encoder.width, outputs)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, batch: Batch, progress: float) -> Losses:
        """One step."""
        places = self.places(batch, math.prod(self.encoder.grid))  # B K
        predicted = self.predict_corrupted(batch, places)  # B K numbers
        score = self.score_pixels if self.target == "pixels" else self.score_colours
        per_image = score(batch.images, places, predicted)
        return Losses(per_image["loss"].mean(), per_image, {})

    def score_colours(
        self, images: Tensor, places: Int[Tensor, "B K"], predicted: Float[Tensor, "B K SL"]
    ) -> dict[str, Tensor]:
        """Cross-entropy and fraction right of each image; in evaluation what guessing needs too."""
        all_labels = self.colour_classes(images)  # B N S
        labels = all_labels.gather(1, for_gather(places, all_labels.shape[2]))  # B K S
        logits = predicted.unflatten(2, (labels.shape[2], self.colours))  # B K S L
        losses = F.cross_entropy(logits.flatten(0, 2), labels.flatten(), reduction="none")
        right = (logits.argmax(-1) == labels).float()
        scores = {"loss": losses.view(len(labels), -1).mean(1), "accuracy": right.mean((1, 2))}
        if not self.training:
            means = self.seen_around(images, places)  # B K C
            guess = self.quantise(means)[..., None]  # B K 1
            scores["histogram"] = F.one_hot(labels, self.colours).float().mean((1, 2))  # B L
            scores["from_neighbours"] = (guess == labels).float().mean((1, 2))
        return scores

    def score_pixels(
        self, images: Tensor, places: Int[Tensor, "B K"], predicted: Float[Tensor, "B K P"]
    ) -> dict[str, Tensor]:
        """Mean squared error of each image; in evaluation that of two guesses too."""
        size = self.encoder.patch_size
        patches = patchify(images.float(), size)
        target = patches.gather(1, for_gather(places, patches.shape[2]))
        scores = {"loss": (predicted - target).square().mean((1, 2))}
        if not self.training:
            means = (self.seen_around(images, places) - self.mean) / self.std
            guess = means.repeat(1, 1, size * size)
            scores["neighbours"] = (guess - target).square().mean((1, 2))
            scores["spread"] = (target - target.mean((1, 2), keepdim=True)).square().mean((1, 2))
        return scores

    def summary(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss and what it must beat: how uneven the colours are, what neighbours predict."""
        means = dict(means)
        if "histogram" not in means:
            variance, neighbours = means.pop("spread").clamp(min=1e-12), means.pop("neighbours")
            explained = 1 - means["loss"] / variance
            return means | {
                "explained": explained,
                "explained_by_neighbours": 1 - neighbours / variance,
            }
        histogram = means.pop("histogram")
        entropy = -(histogram * histogram.clamp(min=1e-12).log()).sum()
        return means | {"marginal_entropy": entropy, "always_most_common": histogram.max()}

    def seen_around(
        self, images: Float[Tensor, "B C H W"], places: Int[Tensor, "B K"]
    ) -> Float[Tensor, "B K C"]:
        """The mean colour, in [0, 1], of the intact patches around each corrupted one."""
        means = F.avg_pool2d(self.pixels(images), self.encoder.patch_size)
        means = means.flatten(2).transpose(1, 2)  # B N C
        mask = torch.zeros_like(means[..., 0], dtype=torch.bool).scatter(1, places, True)
        around = from_neighbours(means, mask, self.encoder.grid)
        return around.gather(1, for_gather(places, means.shape[2]))

    def colour_classes(self, images: Float[Tensor, "B C H W"]) -> Int[Tensor, "B N S"]:
        """The colour class of every patch, or of its 4x4 parts: see `quantise`."""
        (rows, columns), cells = self.encoder.grid, self.cells
        means = F.avg_pool2d(self.pixels(images), self.encoder.patch_size // cells)
        label = self.quantise(means.movedim(1, -1)).view(-1, rows, cells, columns, cells)
        return label.transpose(2, 3).reshape(len(images), rows * columns, cells * cells)

    def quantise(self, colours: Float[Tensor, "... C"]) -> Int[Tensor, "..."]:
        """Bins of the channels, the first channel leading."""
        # 1e-4: a level that lies on a bin's edge must not fall below it by rounding
        levels = (colours * self.bins + 1e-4).floor().clamp(0, self.bins - 1).long()
        label = levels[..., 0]
        for channel in range(1, levels.shape[-1]):
            label = label * self.bins + levels[..., channel]
        return label

    def places(self, batch: Batch, patches: int) -> Int[Tensor, "B K"]:
        """Which patches are corrupted: exactly as many in every image."""
        count, key = hidden_count(patches, self.corruption.ratio), batch.keys("mpp corrupted")
        if self.corruption.shape == "random":
            return random_order(key, patches)[:, :count]
        mask = block_mask(key, self.encoder.grid, torch.full_like(key, count))
        return torch.argsort((~mask).to(torch.uint8), dim=1, stable=True)[:, :count]

    def corrupt(
        self, patches: Float[Tensor, "B N D"], batch: Batch, places: Int[Tensor, "B K"]
    ) -> Float[Tensor, "B N D"]:
        """Replace the embeddings at `places`: mask token, another patch, or itself."""
        count, total = places.shape[1], patches.shape[1]
        draw = uniform(batch.keys("mpp kind"), 2 * count)
        kind, other = draw[:, :count], draw[:, count:]
        masked, replaced = self.corruption.masked, self.corruption.replaced
        corrupted = torch.where(
            (kind < masked)[..., None],
            self.mask_token.to(patches.dtype),
            torch.where(
                (kind < masked + replaced)[..., None],
                self.partners(patches, places, other, within=total, batch=batch),
                patches.gather(1, places[..., None].expand(-1, -1, patches.shape[2])),
            ),
        )  # B K D
        return patches.scatter(1, places[..., None].expand_as(corrupted), corrupted)

    def partners(
        self,
        patches: Float[Tensor, "B N D"],
        places: Int[Tensor, "B K"],
        draw: Float[Tensor, "B K"],
        within: int,
        batch: Batch,
    ) -> Float[Tensor, "B K D"]:
        """Another patch for each place, never itself."""
        rows = torch.arange(len(patches), device=places.device)[:, None] * within
        if self.corruption.partner == "batch" and batch.epoch is not None:
            itself, pool, first = rows + places, len(patches) * within, 0
        else:
            itself, pool, first = places, within, rows
        chosen = (draw * (pool - 1)).long().clamp(max=pool - 2)
        chosen = chosen + (chosen >= itself) + first
        return patches.flatten(0, 1)[chosen]

    def predict_corrupted(
        self, batch: Batch, places: Int[Tensor, "B K"]
    ) -> Float[Tensor, "B K numbers"]:
        """The prediction of the corrupted patches: S L logits, or P pixels."""
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
        mask = torch.zeros(pixels.shape[:2], dtype=torch.bool, device=pixels.device)
        mask = mask.scatter(1, places, True)
        filled = self.as_pixels(self.predict_corrupted(batch, places))
        predicted = pixels.scatter(1, places[..., None].expand_as(filled), filled)
        return {
            "input": images,
            "corrupted": unpatchify(grey(pixels, mask), size, grid),
            "predicted": unpatchify(predicted, size, grid),
        }

    def as_pixels(self, predicted: Float[Tensor, "B K numbers"]) -> Float[Tensor, "B K P"]:
        """Predictions as pixels in [0, 1]."""
        size, cells, channels = self.encoder.patch_size, self.cells, len(self.mean)
        if self.target == "pixels":
            shown = predicted.unflatten(2, (size * size, channels)) * self.std + self.mean
            return shown.clamp(0, 1).flatten(2)
        label = predicted.unflatten(2, (cells * cells, self.colours)).argmax(-1)  # B K S
        colours = self.dequantise(label).unflatten(2, (cells, cells))  # B K cells cells C
        repeat = size // cells
        return colours.repeat_interleave(repeat, 2).repeat_interleave(repeat, 3).flatten(2)

    def dequantise(self, label: Int[Tensor, "..."]) -> Float[Tensor, "... C"]:
        """The middle of each channel's bin, in [0, 1]."""
        levels = []
        for _ in range(len(self.mean)):
            levels.append(label % self.bins)
            label = label // self.bins
        return (torch.stack(levels[::-1], -1) + 0.5) / self.bins


def grey(pixels: Float[Tensor, "B N P"], mask: Bool[Tensor, "B N"]) -> Float[Tensor, "B N P"]:
    """Hidden patches in mid-grey."""
    return torch.where(mask[..., None], 0.5, pixels)


def for_gather(places: Int[Tensor, "B K"], width: int) -> Int[Tensor, "B K width"]:
    """The same places for each of so many numbers, as gather needs them."""
    return places[..., None].expand(-1, -1, width)
