"""Random erasing: a box of each image gives way to noise, on the device, after normalisation.

Paper: Zhong et al., "Random Erasing Data Augmentation", arXiv:1708.04896, algorithm 1 and its
random-value variant RE-R; sides and noise as in timm's `pixel` mode, which DeiT trains with.
Differs from it: a box that would stick out is not drawn again, its aspect is drawn from those that
fit.

B batch, C channels, H W pixels.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vit.randomness import uniform

STRETCH = math.log(1 / 0.3)  # of aspects, both ways; paper: 0.3 to 1 / 0.3


@dataclass(frozen=True)
class Erasing:
    """How often, and how much.

    Args:
        probability: fraction of the images that lose a box. DeiT: 0.25; paper: 0.5.
        area: fraction of the image that the box covers, from and to. timm: 1/50 to 1/3.
    """

    probability: float = 0.25
    area: tuple[float, float] = (0.02, 1 / 3)

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 1:
            raise ValueError(f"Erasing: probability must be in (0, 1], got {self.probability}")
        if not 0 < self.area[0] <= self.area[1] < 1:
            raise ValueError(f"Erasing: area must rise within (0, 1), got {self.area}")

    def __call__(
        self, images: Float[Tensor, "B C H W"], key: Int[Tensor, " B"]
    ) -> Float[Tensor, "B C H W"]:
        """Normalised images in and out; noise has mean 0 and deviation 1, number by number."""
        channels, height, width = images.shape[1:]
        count = channels * height * width
        draw = uniform(key, 5 + count)
        tall, wide = self.sides(draw[:, 1:3], height, width)
        chosen = draw[:, 0] < self.probability
        rows = within(draw[:, 3], tall, height)[:, None, :, None]
        columns = within(draw[:, 4], wide, width)[:, None, None, :]
        inside = rows & columns & chosen[:, None, None, None]
        noise = draw[:, 5:].mul(2).sub(1 - 2**-24).erfinv().mul(math.sqrt(2))
        return torch.where(inside, noise.view_as(images).to(images.dtype), images)

    def sides(self, u: Float[Tensor, "B 2"], height: int, width: int) -> tuple[Tensor, Tensor]:
        """Height and width of each box in whole pixels."""
        low, high = self.area
        covered = (low + (high - low) * u[:, 0]) * height * width
        least = (covered / width**2).log().clamp(min=-STRETCH)
        most = (height**2 / covered).log().clamp(max=STRETCH)
        aspect = (least + (most - least) * u[:, 1]).exp()  # height / width
        tall, wide = (covered * aspect).sqrt().round(), (covered / aspect).sqrt().round()
        return tall.clamp(1, height), wide.clamp(1, width)


def within(u: Float[Tensor, " B"], length: Float[Tensor, " B"], side: int) -> Tensor:
    """B side, true from a random start on for so many pixels."""
    start = (u * (side - length + 1)).floor()[:, None]
    place = torch.arange(side, device=u.device)
    return (place >= start) & (place < start + length[:, None])
