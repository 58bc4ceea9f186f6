"""Views of images, cut for a whole batch at once on the device.

Crop, rotation, scale, shift and flip of an image are one affine map, so one resampling makes any
of them. Draws come from keys, one per image: the same view on any rank, in any batch.

B batch, C channels, H W pixels of the source, h w pixels of the view.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from vit.batch import ViewSpec
from vit.data.erasing import Erasing
from vit.data.photometric import recoloured
from vit.data.randaugment import RandAugment
from vit.data.random_crop import random_crop
from vit.randomness import uniform


@dataclass(frozen=True)
class Augmentation:
    """Geometric changes of each training image, drawn evenly from +- the values.

    Args:
        degrees: rotation.
        shift: fraction of the side.
        scale: relative size, 0.1 for 0.9 to 1.1.
        flip: mirror every second image, left to right.
        crop_area: fraction of the image's area that a random crop covers, from and to (0.05 and 1
            in the ViT paper); for views that are no crops already.
        crop_ratio: a random place covers so large a fraction of both sides (BiT: 384 of 448 px); of
            images that are files, for views that are no crops already.
        padding: pixels of black on each side, from which a crop of the image's own size is cut
            (4 is the habit for CIFAR); for views that are no crops already.
        randaugment: operations after all of these; not for objectives whose targets are pixels.
        erasing: noise in a box at the very end; not for those objectives either.
    """

    degrees: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    flip: bool = False
    crop_area: tuple[float, float] | None = None
    crop_ratio: float | None = None
    padding: int = 0
    randaugment: RandAugment | None = None
    erasing: Erasing | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.scale < 1:
            raise ValueError(f"Augmentation: scale must be in [0, 1), got {self.scale}")
        if self.crop_area and not 0 < self.crop_area[0] <= self.crop_area[1] <= 1:
            raise ValueError(
                f"Augmentation: crop_area must rise within (0, 1], got {self.crop_area}"
            )
        if self.crop_ratio is not None and not 0 < self.crop_ratio < 1:
            raise ValueError(f"Augmentation: crop_ratio must be in (0, 1), got {self.crop_ratio}")
        if sum(map(bool, (self.crop_area, self.crop_ratio, self.padding))) > 1:
            raise ValueError(
                "Augmentation: only one of crop_area, crop_ratio and padding may be given"
            )
        if min(self.degrees, self.shift, self.padding) < 0 or self.padding > 1024:
            raise ValueError(
                "Augmentation: degrees, shift and padding must be at least 0, padding at most "
                f"1,024, got {self.degrees}, {self.shift} and {self.padding}"
            )

    @property
    def resamples(self) -> bool:
        """Does it need more than moving whole pixels?"""
        return bool(self.degrees or self.shift or self.scale or self.crop_area)


def cut_view(
    images: Tensor,
    key: Int[Tensor, " B"],
    view: ViewSpec,
    augmentation: Augmentation,
    size: tuple[int, int],
) -> Float[Tensor, "B C h w"] | UInt8[Tensor, "B C h w"]:
    """One training view of each image: in [0, 1], or uint8 where pixels only moved.

    Args:
        images: B C H W, uint8.
        key: one per image; a different one for each view.
        view: what the objective asks for.
        augmentation: the data's own; applied inside the crop where there is one.
        size: height and width where the view names none.
    """
    size = (view.size, view.size) if view.size else size
    if augmentation.crop_ratio:
        raise ValueError(
            "data.augmentation: crop_ratio is for images that are files; use padding here"
        )
    if not view.resample:
        augmentation = replace(augmentation, degrees=0.0, scale=0.0, randaugment=None)
    cropped = view.area or augmentation.crop_area
    if not cropped and (augmentation.padding or not augmentation.resamples):
        images = move(images, uniform(key, 3), augmentation.padding, augmentation.flip)
        augmentation = replace(augmentation, flip=False)
        changed = augmentation.resamples or view.recolours or augmentation.randaugment
        if tuple(images.shape[-2:]) == size and not changed:
            return images  # still whole numbers: normalised in one go
    more = augmentation.randaugment
    extra = more.draws if more else 0
    draw = uniform(key, 18 + extra)  # nine for the geometry, the rest for colours
    pixels = images.float() / 255
    if not cropped:
        pixels = resize(pixels, size)  # antialiased, as evaluation does it
    if cropped or augmentation.resamples or augmentation.flip:
        # where a view does not resample, the grid falls on pixels, and this only moves them
        theta = affine(draw[:, :9], tuple(pixels.shape[-2:]), view, augmentation)
        grid = F.affine_grid(theta, [len(images), images.shape[1], *size], align_corners=False)
        pixels = F.grid_sample(pixels, grid, padding_mode="zeros", align_corners=False)
    if view.recolours:
        pixels = recoloured(pixels, torch.cat([draw[:, 9:13], draw[:, 13 + extra :]], 1), view)
    return more(pixels, draw[:, 13 : 13 + extra]) if more else pixels


def move(
    images: UInt8[Tensor, "B C H W"], u: Float[Tensor, "B 3"], padding: int, flip: bool
) -> UInt8[Tensor, "B C H W"]:
    """Shift by up to `padding` whole pixels and mirror every second image.

    Rows of pixels are picked out of the padded images by one index_select over all places where a
    row could begin; indexing the windows themselves takes four times as long.
    """
    batch, channels, height, width = images.shape
    numbers = torch.arange(batch, device=images.device)
    if padding:
        padded = F.pad(images, [padding] * 4)
        down, right = (u[:, :2] * (2 * padding + 1)).long().unbind(1)
        tall, wide = padded.shape[-2:]
        rows = torch.arange(channels, device=images.device)[:, None] * tall * wide
        rows = rows + torch.arange(height, device=images.device) * wide  # C H
        starts = (numbers * channels * tall * wide + down * wide + right)[:, None, None] + rows
        places = padded.flatten().as_strided((padded.numel() - width + 1, width), (1, 1))
        images = places.index_select(0, starts.flatten()).view(batch, channels, height, width)
    if flip:  # picked by number, not by mask: a mask would make the device wait for its count
        both = torch.cat([images, images.flip(-1)])
        images = both.index_select(0, numbers + batch * (u[:, 2] < 0.5))
    return images


def resize(images: Float[Tensor, "B C H W"], size: tuple[int, int]) -> Float[Tensor, "B C h w"]:
    """Evaluation's transform: squeeze to a size, antialiased; identity where it fits."""
    if tuple(images.shape[-2:]) == size:
        return images
    return F.interpolate(images, size=size, mode="bilinear", antialias=True)


def affine(
    u: Float[Tensor, "B 9"],
    size: tuple[int, int],
    view: ViewSpec,
    augmentation: Augmentation,
) -> Float[Tensor, "B 2 3"]:
    """Maps from a view's coordinates to the image's, both in [-1, 1] (as F.affine_grid needs).

    Args:
        u: even draws in [0, 1).
        size: height and width of the image.
        view: what the objective asks for.
        augmentation: the data's own.
    """
    area = view.area or augmentation.crop_area
    height, width = size
    half_h, half_w = height / 2, width / 2
    centre_x = centre_y = torch.zeros_like(u[:, 0])
    crop_h, crop_w = torch.full_like(u[:, 0], half_h), torch.full_like(u[:, 0], half_w)
    if area:
        sides = (torch.full_like(u[:, 0], side) for side in size)
        crop_h, crop_w, centre_y, centre_x = random_crop(u[:, :4], *sides, area)
    angle = (2 * u[:, 4] - 1) * math.radians(augmentation.degrees)
    zoom = 1 / (1 + (2 * u[:, 5] - 1) * augmentation.scale)
    shift = (2 * u[:, 7:] - 1) * augmentation.shift  # B 2
    shift_x, shift_y = shift[:, 0] * width, shift[:, 1] * height
    if not view.resample:
        shift_x, shift_y = shift_x.round(), shift_y.round()
    centre_x, centre_y = centre_x + shift_x, centre_y + shift_y
    mirror = torch.where(u[:, 6] < 0.5, -1.0, 1.0) if augmentation.flip else torch.ones_like(zoom)
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    rows = [
        cos * crop_w * mirror / half_w,
        -sin * crop_h / half_w,
        centre_x / half_w,
        sin * crop_w * mirror / half_h,
        cos * crop_h / half_h,
        centre_y / half_h,
    ]
    return torch.stack(rows, 1).view(-1, 2, 3)
