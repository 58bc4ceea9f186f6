"""Images that look alike: copies that were re-encoded, moved, mirrored or resized.

Coarse pictures of 8x8 name candidates, moved by a few pixels each way; each is confirmed on a
picture of 32x32, by its correlation and that of its gradients. Measured on real pictures:

| pictures | px | taken for copies of different ones | copies that are known |
| --- | --- | --- | --- |
| cluttered digits, 898 against 899 | 24 | 0 | all |
| flowers, 240 against 240 | 48 | 0 (10 flagged are one picture twice) | 95.8 to 100 % |
| ImageNet, 82 against 83 | 48 | 0 | 95.1 to 100 % |
| CIFAR-10, 10,000 against 10,000 | 32 | 0 (60 flagged are one picture twice) | 98.0 to 100 % |
| digits, 898 against 899 | 8 | 0.4 % | JPEG 95: all, JPEG 50: 46 %, moved: none |

The copies: JPEG of quality 50 to 95, moved by 1 or 2 px each way, 0.75 or 1.5 times the size, and
pairs of these. Pictures below 16 px hold too little: moved, two of a class differ by less than
copies do, so only copies that were not moved are known. The perceptual hash of the library
imagehash (64 bits) was tried for candidates: 2 px move a picture of 24 px by 26 bits, different
pictures differ by 32. 10,000 against 10,000 take 10 s on one core.

N and M images, P pairs, S side of the small picture in pixels, K candidates.
"""

from itertools import product
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

SIDE = 32  # S
REACH = 3  # pixels of S by which pictures are moved, each way: 2 px of a picture of 24 px
STEPS = (-2, 0, 2)  # moves of the coarse picture
CANDIDATES = 5  # K
ROWS, PAIRS = 512, 8192  # images, and pairs, that are looked at at once
TINY = 16  # px: below it different pictures differ by no more than moved ones
ALIKE = (0.93, 0.85)  # correlation of two pictures that look alike, and of their gradients
TINY_ALIKE = (0.99, 0.98)  # of tiny ones, which are not moved


class Looks(NamedTuple):
    """How images look.

    Args:
        small: N S S, grey.
        tiny: N, are they smaller than TINY?
    """

    small: UInt8[Tensor, "N S S"]
    tiny: Bool[Tensor, " N"]


def looks_of(images: UInt8[Tensor, "N C _h _w"]) -> Looks:
    """The looks of images of one size."""
    grey = images.float().mean(1, keepdim=True)
    small = F.interpolate(grey, (SIDE, SIDE), mode="bilinear", antialias=True)
    tiny = torch.full((len(images),), min(images.shape[-2:]) < TINY)
    return Looks(small.round().clamp(0, 255).to(torch.uint8)[:, 0], tiny)


def which_look_alike(before: Looks, after: Looks) -> Bool[Tensor, " M"]:
    """Which of M images look like one of N."""
    alike = torch.zeros(len(after.small), dtype=torch.bool)
    coarse_before = coarse(before.small)
    for small in (after.small, after.small.flip(-1)):
        for rows in torch.arange(len(small)).split(ROWS):
            first, second = candidates(coarse_before, small[rows])
            for part in torch.arange(len(first)).split(PAIRS):
                one, other = rows[first[part]], second[part]
                tiny = after.tiny[one] | before.tiny[other]
                confirmed = same_picture(small[one], before.small[other], tiny)
                alike[one[confirmed]] = True
    return alike


def candidates(
    before: Float[Tensor, "N 64"], after: UInt8[Tensor, "M S S"]
) -> tuple[Int[Tensor, " P"], Int[Tensor, " P"]]:
    """Pairs of M images and the K of N that correlate best with each, at the best move."""
    best = torch.full((len(after), len(before)), -1.0)
    for moves in product(STEPS, repeat=2):
        moved = torch.roll(after, moves, (1, 2))
        best = torch.maximum(best, coarse(moved) @ before.T)
    scores, others = best.topk(min(CANDIDATES, len(before)))
    first, place = (scores > ALIKE[1]).nonzero().unbind(1)
    return first, others[first, place]


def same_picture(
    first: UInt8[Tensor, "P S S"], second: UInt8[Tensor, "P S S"], tiny: Bool[Tensor, " P"]
) -> Bool[Tensor, " P"]:
    """Do two pictures correlate, and their gradients too, at one move?"""
    inside = SIDE - 2 * REACH
    fixed = standardised(first[:, REACH:-REACH, REACH:-REACH])
    edges = gradients(second)  # a pixel less on each side
    fixed_edges = standardised(gradients(first)[:, :, REACH:-REACH, REACH:-REACH])
    alike = torch.zeros(len(first), dtype=torch.bool)
    for top, left in product(range(2 * REACH + 1), repeat=2):
        window = second[:, top : top + inside, left : left + inside]
        moved = edges[:, :, top : top + inside - 2, left : left + inside - 2]
        picture = (fixed * standardised(window)).sum(1)
        edge = (fixed_edges * standardised(moved)).sum(1)
        alike |= (picture > ALIKE[0]) & (edge > ALIKE[1]) & ~tiny
        if top == left == REACH:
            alike |= (picture > TINY_ALIKE[0]) & (edge > TINY_ALIKE[1]) & tiny
    return alike


def coarse(small: UInt8[Tensor, "N S S"]) -> Float[Tensor, "N 64"]:
    """The inner part of pictures in 8x8 fields, standardised."""
    inner = small[:, None, REACH:-REACH, REACH:-REACH].float()
    return standardised(F.adaptive_avg_pool2d(inner, 8))


def standardised(pictures: Tensor) -> Float[Tensor, "P _n"]:
    """Rows of mean 0 and length 1."""
    rows = pictures.flatten(1).float()
    rows = rows - rows.mean(1, keepdim=True)
    return F.normalize(rows, dim=1)


def gradients(pictures: UInt8[Tensor, "P _h _w"]) -> Float[Tensor, "P 2 _a _b"]:
    """Differences of neighbours, across and down; a pixel is lost at each rim."""
    x = pictures.float()
    across = x[:, 1:-1, 2:] - x[:, 1:-1, :-2]
    down = x[:, 2:, 1:-1] - x[:, :-2, 1:-1]
    return torch.stack([across, down], 1)
