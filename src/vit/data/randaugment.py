"""RandAugment for a whole batch at once, on the device.

Paper: Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search
space", arXiv:1909.13719; operations and magnitudes as in torchvision's RandAugment (31 levels,
nearest-neighbour geometry, black outside).
Differs from it: every image of the batch has its own operations, drawn from its key; brightness
and the like are not rounded to whole 255ths.

All images pass through six stages, in each of which an image whose operation is another one stays
as it is. That costs more arithmetic than sorting images by operation, and no wait for the device.

B batch, C channels, H W pixels.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from vit.data.normalisation import constant

LEVELS = 30  # of a magnitude at which colours are as strong as they get; 10 in timm and TensorFlow
OPERATIONS = tuple(
    "identity shear_x shear_y translate_x translate_y rotate brightness color contrast sharpness "
    "posterize solarize autocontrast equalize".split()
)
NUMBER = {name: number for number, name in enumerate(OPERATIONS)}
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as torchvision's grey conversion


@dataclass(frozen=True)
class RandAugment:
    """How many operations an image gets, and how strong.

    Args:
        operations: drawn one after the other, each evenly from fourteen. Paper: 2.
        magnitude: 0 to 60, the same for all; above 30 only geometry grows. On torchvision's scale,
            which has 9 by default; timm's and TensorFlow's 10 is 30 here.
        probability: that an operation drawn is applied. torchvision: 1; timm: 0.5.
    """

    operations: int = 2
    magnitude: float = 9.0
    probability: float = 1.0

    def __post_init__(self) -> None:
        if self.operations < 1:
            raise ValueError(f"RandAugment: operations must be at least 1, got {self.operations}")
        if not 0 <= self.magnitude <= 2 * LEVELS:
            raise ValueError(f"RandAugment: magnitude must be in [0, 60], got {self.magnitude}")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"RandAugment: probability must be in [0, 1], got {self.probability}")

    @property
    def draws(self) -> int:
        """Even numbers in [0, 1) it needs for an image."""
        return 3 * self.operations

    def __call__(
        self, images: Float[Tensor, "B C H W"], u: Float[Tensor, "B draws"]
    ) -> Float[Tensor, "B C H W"]:
        """Images in [0, 1] in, images in [0, 1] out."""
        for draw in u.split(3, dim=1):
            operation = (draw[:, 0] * len(OPERATIONS)).long()
            operation = torch.where(draw[:, 1] < self.probability, operation, 0)
            sign = torch.where(draw[:, 2] < 0.5, -1.0, 1.0)
            images = apply_operation(images, operation, self.magnitude / LEVELS, sign)
        return images


def apply_operation(
    images: Float[Tensor, "B C H W"],
    operation: Int[Tensor, " B"],
    strength: float,
    sign: Float[Tensor, " B"],
) -> Float[Tensor, "B C H W"]:
    """Each image after one operation.

    Args:
        images: in [0, 1].
        operation: index into OPERATIONS.
        strength: of geometry, 0 to 2; of colours, to 1.
        sign: +1 or -1, for those that have two directions.
    """

    def where(name: str) -> Tensor:
        return (operation == NUMBER[name]).view(-1, 1, 1, 1)

    images = geometry(images, operation, strength, sign)
    strength = min(strength, 1.0)
    images = blend(images, operation, 1 + 0.9 * strength * sign)
    step = 2 ** round(4 * strength)  # 8 to 4 bits are left
    levels = (images * 255).round()
    images = torch.where(where("posterize"), (levels / step).floor() * step / 255, images)
    above = where("solarize") & (images >= 1 - strength)
    images = torch.where(above, 1 - images, images)
    images = torch.where(where("autocontrast"), stretched(images), images)
    return torch.where(where("equalize"), equalised(images), images)


def geometry(
    images: Float[Tensor, "B C H W"],
    operation: Int[Tensor, " B"],
    strength: float,
    sign: Float[Tensor, " B"],
) -> Float[Tensor, "B C H W"]:
    """Shear about the top left corner, whole-pixel shift, rotation about the middle."""
    height, width = images.shape[-2:]

    def amount(name: str, value: float) -> Tensor:
        return torch.where(operation == NUMBER[name], value * sign, 0.0)

    shear_x, shear_y = amount("shear_x", 0.3 * strength), amount("shear_y", 0.3 * strength)
    shift_x = amount("translate_x", strength * width * 150 // 331)
    shift_y = amount("translate_y", strength * height * 150 // 331)
    angle = amount("rotate", math.radians(30 * strength))
    # from a place in the result to one in the source, in pixels from the middle
    across = [angle.cos(), shear_x - angle.sin(), shear_x * height / 2 - shift_x]
    down = [shear_y + angle.sin(), angle.cos(), shear_y * width / 2 - shift_y]
    # affine_grid counts from -1 to 1
    across = [across[0], across[1] * height / width, across[2] * 2 / width]
    down = [down[0] * width / height, down[1], down[2] * 2 / height]
    theta = torch.stack(across + down, 1).view(-1, 2, 3)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="nearest", align_corners=False)


def blend(
    images: Float[Tensor, "B C H W"], operation: Int[Tensor, " B"], factor: Float[Tensor, " B"]
) -> Float[Tensor, "B C H W"]:
    """Brightness, colour, contrast, sharpness: towards or away from a dull version."""
    grey = images if images.shape[1] != 3 else greyscale(images)
    dull = {
        "brightness": torch.zeros_like(images[:, :1]),
        "color": grey,
        "contrast": grey.mean((1, 2, 3), keepdim=True),
        "sharpness": smoothed(images),
    }
    other = images
    for name, picture in dull.items():
        other = torch.where((operation == NUMBER[name]).view(-1, 1, 1, 1), picture, other)
    return (other + factor.view(-1, 1, 1, 1) * (images - other)).clamp(0, 1)


def greyscale(images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1 H W"]:
    """Brightness of RGB images."""
    return (images * constant(LUMA, images.device)).sum(1, keepdim=True)


def smoothed(images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Pillow's SMOOTH filter, 3x3 with 5 in the middle of ones; the border stays."""
    channels = images.shape[1]
    kernel = torch.ones(channels, 1, 3, 3, device=images.device)
    kernel[:, :, 1, 1] = 5
    inner = F.conv2d(images, kernel / 13, groups=channels)
    result = images.clone()
    result[:, :, 1:-1, 1:-1] = inner
    return result


def stretched(images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Each channel from its darkest to its brightest pixel spread over [0, 1]."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    return torch.where(high > low, (images - low) / (high - low).clamp(min=1e-6), images)


def equalised(images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Each channel's histogram of 256 levels made even, by Pillow's rule."""
    levels = (images * 255).round().long().flatten(2)  # B C HW
    ones = torch.ones_like(levels)
    histogram = torch.zeros(*levels.shape[:2], 256, dtype=torch.int64, device=levels.device)
    histogram.scatter_add_(2, levels, ones)
    last = histogram.gather(2, levels.amax(2, keepdim=True))  # of the brightest level there is
    step = (levels.shape[2] - last) // 255
    before = histogram.cumsum(2) - histogram  # pixels darker than a level
    table = ((before + step // 2) // step.clamp(min=1)).clamp(max=255)
    even = table.gather(2, levels).view_as(images) / 255
    return torch.where((step > 0)[..., None], even, images)
