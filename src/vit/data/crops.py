"""Views of images that differ in size, cut one by one in a worker, on decoded uint8 pixels.

What can be done to a whole batch (mirroring, colours, rotation) waits for the device; see
transforms.py. H W pixels of the image, S side of a view.
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional as F

from vit.data.random_crop import Box, random_boxes, random_places

Interpolation = Literal["bilinear", "bicubic"]


@dataclass(frozen=True)
class Cut:
    """One view of every image.

    Args:
        size: S.
        area: a random crop covers so large a fraction, from and to; None: the whole image.
        purpose: what its draws are for; different views have different ones.
        center_crop_ratio: of whole images only the middle square, this fraction of the short side;
            None: everything, squeezed.
        interpolation: of the resize, always antialiased.
        crop_ratio: a random place covers so large a fraction of both sides; None: the whole image.
        fill: what is shown keeps its shape, and the square around it has this colour (RGB, 0 to
            255): a letterbox; None: it is squeezed into the square.
    """

    size: int
    area: tuple[float, float] | None = None
    purpose: str = ""
    center_crop_ratio: float | None = None
    interpolation: Interpolation = "bilinear"
    crop_ratio: float | None = None
    fill: tuple[int, int, int] | None = None

    def boxes(self, uniforms: Tensor, sizes: Tensor) -> list[Box]:
        """The random crop of each image.

        Args:
            uniforms: B 4, in [0, 1).
            sizes: B 2, heights and widths.
        """
        if self.area:
            return random_boxes(uniforms, sizes, self.area)
        return random_places(uniforms, sizes, self.crop_ratio)

    def whole(self, image: UInt8[Tensor, "3 H W"]) -> UInt8[Tensor, "3 S S"]:
        """The view without draws: the image shrinks, then its middle is cut, as published."""
        if self.center_crop_ratio is None:
            return self._fit(image)
        height, width = image.shape[1:]
        short = round(self.size / self.center_crop_ratio)
        long = int(short * max(height, width) / min(height, width))
        sides = (short, long) if height <= width else (long, short)
        image = self._resize(image, *sides)
        top, left = (round((side - self.size) / 2) for side in sides)
        return image[:, top : top + self.size, left : left + self.size]

    def boxed(self, image: UInt8[Tensor, "3 H W"], box: Box) -> UInt8[Tensor, "3 S S"]:
        """A crop; `image` keeps the decoder's order in memory, which the resize is fastest on."""
        top, left, height, width = box
        return self._fit(image[:, top : top + height, left : left + width])

    def _fit(self, image: UInt8[Tensor, "3 _h _w"]) -> UInt8[Tensor, "3 S S"]:
        """All of it in the square."""
        if self.fill is None:
            return self._resize(image, self.size, self.size)
        long = max(image.shape[1:])
        height, width = (max(round(self.size * side / long), 1) for side in image.shape[1:])
        top, left = (self.size - height) // 2, (self.size - width) // 2
        square = image.new_tensor(self.fill)[:, None, None].repeat(1, self.size, self.size)
        square[:, top : top + height, left : left + width] = self._resize(image, height, width)
        return square

    def _resize(self, image: Tensor, height: int, width: int) -> Tensor:
        size = (height, width)
        # of one image that keeps its three bytes a pixel together: the fastest there is
        return F.interpolate(image[None], size, mode=self.interpolation, antialias=True)[0]


def letterbox_colour(mean: tuple[float, ...]) -> tuple[int, int, int]:
    """The whole-numbered pixel that normalisation makes almost zero: the mean of RGB in [0, 1]."""
    red, green, blue = (min(max(round(255 * value), 0), 255) for value in mean)
    return red, green, blue


def shrinkable(boxes: list[Box], cuts: list[Cut], shrinks: tuple[int, ...]) -> int:
    """The largest factor to decode an image smaller by at which no crop is enlarged."""
    room = min(min(box[2:]) / cut.size for box, cut in zip(boxes, cuts, strict=True))
    return next((n for n in shrinks if n <= room), 1)


def shrunk(box: Box, fraction: float, height: int, width: int) -> Box:
    """The same place in an image that came smaller, H W then."""
    top, left, tall, wide = (round(value * fraction) for value in box)
    tall, wide = min(max(tall, 1), height), min(max(wide, 1), width)
    return min(top, height - tall), min(left, width - wide), tall, wide
