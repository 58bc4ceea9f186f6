"""The evaluation transform as tensors all through, so that a graph can hold it for any picture.

A resize, its antialiasing, a centre crop and a letterbox are separable: one matrix for the rows and
one for the columns, computed from the picture's size. Weights are those of Pillow and of torch's
antialiased `interpolate`; where whole pixels are wanted, they are rounded to 16 bits as torch does
it for uint8, and each of the two steps ends in whole pixels, columns first. So the pixels are those
of `Preprocessing`; one in a million is another level, where float32 falls short of a half.

B batch, C channels, H W pixels of the picture, h w those that the model sees.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float64, UInt8
from torch import Tensor, nn

from vit.data.crops import letterbox_colour
from vit.data.preprocessing import Preprocessing

Side = int | torch.SymInt  # of a picture; open while the graph is traced
MOST_BITS = 22  # of the fraction of a rounded weight, as Pillow and torch have it
HALF = 0.5 + 2.0**-18  # a half in whole numbers may be a little less in float32
LUMA = (19595.0, 38470.0, 7471.0)  # of 65536, as Pillow makes grey of RGB


class Placed(NamedTuple):
    """Along one axis: the picture is resized to `length`, and seen from `start` on; float64."""

    length: Tensor
    start: Tensor


class FromPixels(nn.Module):
    """Pictures as they are decoded to what a network says of them.

    Args:
        preprocess: how evaluation shows a picture.
        network: from normalised pixels to tensors.
    """

    def __init__(self, preprocess: Preprocessing, network: nn.Module) -> None:
        super().__init__()
        spec = preprocess.spec
        self.size = tuple(spec.image_size)
        self.grey = spec.channels == 1
        self.ratio = preprocess.center_crop_ratio
        self.letterbox = preprocess.letterbox
        # without `rounded`, Preprocessing squeezes with its one transform of data in memory
        self.whole = preprocess.rounded or preprocess.letterbox
        self.kernel = preprocess.interpolation if self.whole else "bilinear"
        self.network = network
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (spec.mean, spec.std))
        # names of their own: the ONNX exporter calls its constants `fill`, `scale` and the like
        self.register_buffer("pixel_scale", 1 / (255 * std))
        self.register_buffer("pixel_bias", -mean / std)
        self.register_buffer("steps", 2.0 ** torch.arange(1, MOST_BITS + 1, dtype=torch.float64))
        self.register_buffer("luma", torch.tensor(LUMA))
        colour = letterbox_colour(spec.mean) if self.letterbox else (0,) * spec.channels
        self.register_buffer("box_colour", torch.tensor(colour).float().view(1, -1, 1, 1))
        self.eval()

    def forward(self, images: UInt8[Tensor, "B H W 3"]) -> tuple[Tensor, ...]:
        """The network's answers to RGB pictures of one size."""
        rows, columns = self.places(images.shape[1], images.shape[2])
        pixels = images.permute(0, 3, 1, 2).float()  # B 3 H W
        if self.grey:
            grey = (images.float() * self.luma).sum(-1) + 2.0**15
            pixels = torch.floor(grey / 2.0**16)[:, None]  # B 1 H W
        across = self.weights(columns, images.shape[2], self.size[1]).float()
        pixels = self.stepped(pixels @ across.T)  # B 3 H w; in float32, as large pictures are large
        down = self.weights(rows, images.shape[1], self.size[0])
        pixels = self.stepped(down @ pixels.double()).float()  # B 3 h w
        if self.letterbox:
            seen = inside(rows, self.size[0])[:, None] & inside(columns, self.size[1])
            pixels = torch.where(seen, pixels, self.box_colour)
        return self.network(pixels * self.pixel_scale + self.pixel_bias)

    def stepped(self, pixels: Tensor) -> Tensor:
        """Whole pixels again, halves upwards as uint8 resizing has it."""
        return torch.floor(pixels + HALF).clamp(0, 255) if self.whole else pixels

    def places(self, height: Side, width: Side) -> tuple[Placed, Placed]:
        """How large the picture becomes, and where what is seen of it begins; see `Cut`."""
        sides = [torch.scalar_tensor(side, dtype=torch.float64) for side in (height, width)]
        targets = [torch.scalar_tensor(side, dtype=torch.float64) for side in self.size]
        if self.ratio is not None:
            short = torch.scalar_tensor(round(self.size[0] / self.ratio), dtype=torch.float64)
            least, most = torch.minimum(*sides), torch.maximum(*sides)
            long = torch.floor(short * most / least)
            lengths = [torch.where(side <= least, short, long) for side in sides]
            pairs = zip(lengths, targets, strict=True)
            return tuple(Placed(n, torch.round((n - seen) / 2)) for n, seen in pairs)
        if self.letterbox:
            most = torch.maximum(*sides)
            lengths = [torch.round(targets[0] * side / most).clamp(min=1) for side in sides]
            pairs = zip(lengths, targets, strict=True)
            return tuple(Placed(n, -torch.floor((seen - n) / 2)) for n, seen in pairs)
        return tuple(Placed(seen, torch.zeros_like(seen)) for seen in targets)

    def weights(self, placed: Placed, source: Side, seen: int) -> Float64[Tensor, "_h _H"]:
        """What each pixel that is seen takes of each pixel of the picture, along one axis."""
        scale = torch.scalar_tensor(source, dtype=torch.float64) / placed.length
        last = (placed.length - 1)[None]
        wanted = torch.arange(seen, dtype=torch.float64) + placed.start
        # at the borders weights are largest, and the largest sets how all of them are rounded
        wanted = torch.cat([wanted, torch.zeros_like(last), last])  # h + 2
        wanted = wanted.clamp(min=0).minimum(last)  # what lies beyond a letterbox fills
        there = torch.arange(source, dtype=torch.float64) + 0.5
        distance = there - ((wanted + 0.5) * scale)[:, None]  # in pixels of the picture
        weights = KERNELS[self.kernel](distance / scale.clamp(min=1))
        weights = weights / weights.sum(1, keepdim=True)
        if self.whole:
            fits = 0.5 + weights.max() * self.steps < 2.0**15
            step = torch.where(fits, self.steps, torch.ones_like(self.steps)).max()
            weights = torch.floor(weights.abs() * step + 0.5) * weights.sign() / step
        return weights[:seen]


def inside(placed: Placed, seen: int) -> Tensor:
    """Which of the pixels that are seen belong to the picture."""
    wanted = torch.arange(seen, dtype=torch.float64) + placed.start
    return (wanted >= 0) & (wanted < placed.length)


def triangle_kernel(distance: Tensor) -> Tensor:
    """The kernel of bilinear resizing."""
    return (1 - distance.abs()).clamp(min=0)


def cubic_kernel(distance: Tensor) -> Tensor:
    """The kernel of bicubic resizing, Keys's with a = -0.5 as Pillow has it."""
    x = distance.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = -0.5 * (((x - 5) * x + 8) * x - 4)
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


KERNELS = {"bilinear": triangle_kernel, "bicubic": cubic_kernel}
