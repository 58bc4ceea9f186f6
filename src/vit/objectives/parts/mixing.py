"""Mixup and CutMix: blend each training image with another of its batch, and its label too.

Papers: Zhang et al., "mixup: Beyond Empirical Risk Minimization", arXiv:1710.09412; Yun et al.,
"CutMix", arXiv:1905.04899, algorithm 1. Differs from their code and DeiT's: weights are drawn for
each image separately (timm's "elem" mode), not once a batch, so that a draw is a function of the
image's key; the partner stands half a micro-batch further on: the order is random already, and the
next image may be the same one again (data.repeats).

B batch, C channels, H W pixels.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from scipy.special import betaincinv
from torch import Tensor, nn

from vit.batch import Batch
from vit.objectives.base import check_fractions
from vit.randomness import uniform

STEPS = 4096  # of the tables that turn even draws into Beta draws


class Mixed(NamedTuple):
    """Blended images and what they are made of.

    Args:
        images: B C H W.
        partner: B, the row each image was blended with.
        weight: B, fraction of the image itself, in [0, 1]; the partner has the rest.
    """

    images: Float[Tensor, "B C H W"]
    partner: Int[Tensor, " B"]
    weight: Float[Tensor, " B"]

    def blend(self, loss: Float[Tensor, " B"], other: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """The loss with an image's label and that with its partner's, by their weights."""
        return self.weight * loss + (1 - self.weight) * other

    def larger_part(self, labels: Tensor) -> Tensor:
        """The label (B), or labels (B L), of what each image shows most of."""
        swapped = self.weight < 0.5
        swapped = swapped[:, None] if labels.ndim == 2 else swapped
        return torch.where(swapped, labels[self.partner], labels)


class Mixing(nn.Module):
    """Blend a batch of images.

    Args:
        mixup: alpha of mixup's Beta(alpha, alpha); 0: no mixup. DeiT: 0.8; better plain ViT: 0.2.
        cutmix: alpha of CutMix's; 0: no CutMix. DeiT: 1.
        probability: fraction of the images that are blended at all. DeiT: 1.
        switch: fraction of those that get CutMix where both are on. DeiT: 0.5.
        until: fraction of the run after which nothing is blended any more; CCT stops at 0.58.
    """

    def __init__(
        self,
        mixup: float = 0.8,
        cutmix: float = 1.0,
        probability: float = 1.0,
        switch: float = 0.5,
        until: float = 1.0,
    ) -> None:
        super().__init__()
        if min(mixup, cutmix) < 0 or max(mixup, cutmix) == 0:
            raise ValueError(
                "Mixing: mixup and cutmix are at least 0 and one of them is above, "
                f"got {mixup} and {cutmix}; for none set mixing: null"
            )
        check_fractions("Mixing", probability=probability, switch=switch, until=until)
        self.probability = probability
        self.until = until
        self.switch = switch if mixup and cutmix else float(cutmix > 0)
        self.register_buffer("mixup", beta_table(mixup), persistent=False)
        self.register_buffer("cutmix", beta_table(cutmix), persistent=False)

    def forward(self, images: Float[Tensor, "B C H W"], key: Int[Tensor, " B"]) -> Mixed:
        """Blend each image with that half a micro-batch further on; `key`: one per image.

        Raises:
            ValueError: the micro-batch is one image.
        """
        if len(images) < 2:
            raise ValueError("Mixing: one image has no partner; batch_size needs 2 on each device")
        draw = uniform(key, 5)
        cut = draw[:, 1] < self.switch
        table = torch.where(cut[:, None], self.cutmix, self.mixup)  # B STEPS+1
        weight = interpolated(table, draw[:, 2])
        weight = torch.where(draw[:, 0] < self.probability, weight, 1.0)
        inside = boxes(weight, draw[:, 3:], tuple(images.shape[-2:]))  # B H W
        weight = torch.where(cut, 1 - inside.float().mean((1, 2)), weight)
        fraction = torch.where(cut[:, None, None], (~inside).float(), weight[:, None, None])
        partner = torch.arange(len(images), device=images.device).roll(-(len(images) // 2))
        mixed = images[partner].lerp(images, fraction[:, None].to(images.dtype))
        return Mixed(mixed, partner, weight)


def blended(mixing: Mixing | None, batch: Batch, progress: float) -> Mixed | None:
    """A training batch, blended; None in evaluation, after `until` and without mixing."""
    if mixing is None or batch.epoch is None or progress >= mixing.until:
        return None
    return mixing(batch.images, batch.keys("mixing"))


def mixing_pictures(
    mixing: Mixing | None, batch: Batch, pixels: Callable[[Tensor], Tensor]
) -> dict[str, Float[Tensor, "B C H W"]]:
    """What blended images look like, where there are any; `pixels` undoes the normalisation."""
    if mixing is None:
        return {}
    mixed = mixing(batch.images.float(), batch.keys("mixing")).images
    return {"mixed": pixels(mixed).clamp(0, 1)}


def beta_table(alpha: float) -> Float[Tensor, " steps"]:
    """Quantiles of Beta(alpha, alpha) at even steps of probability; ones for alpha 0."""
    if alpha == 0:
        return torch.ones(STEPS + 1)
    probability = torch.linspace(0, 1, STEPS + 1, dtype=torch.float64)
    return torch.from_numpy(betaincinv(alpha, alpha, probability.numpy())).float()


def interpolated(table: Float[Tensor, "B steps"], u: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Read each row's table at u in [0, 1), linearly between its entries."""
    place = u * STEPS
    low = place.long()
    ends = table.gather(1, torch.stack([low, low + 1], 1))
    return ends[:, 0].lerp(ends[:, 1], place - low)


def boxes(
    weight: Float[Tensor, " B"], center: Float[Tensor, "B 2"], size: tuple[int, int]
) -> Tensor:
    """True inside a box of area 1 - weight around a center in [0, 1); what sticks out is lost."""
    side = (1 - weight).sqrt()
    inside = []
    for axis, pixels in enumerate(size):
        middle = (center[:, axis] * pixels).floor()
        half = (side * pixels).floor().div(2, rounding_mode="floor")
        place = torch.arange(pixels, device=weight.device)
        inside.append((place >= (middle - half)[:, None]) & (place < (middle + half)[:, None]))
    return inside[0][:, :, None] & inside[1][:, None, :]
