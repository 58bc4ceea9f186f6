"""Cluttered images: small ones at a random place on a dark canvas, among pieces of others.

After the "cluttered translated MNIST" of Mnih et al., "Recurrent Models of Visual Attention",
arXiv:1406.6247, section 4.2. Placement follows from an image's number alone, so the result is a
data set, the same in every epoch and every run, and not an augmentation.

N images, S side of the canvas in pixels.
"""

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional as F

from vit.randomness import keys, uniform

SIZES = (10, 14)  # smallest and largest side of a placed image, in pixels
PIECE = 4  # side of a piece of clutter
CUT_FROM = 12  # side to which the image that a piece is cut from is scaled


def cluttered(
    images: UInt8[Tensor, "N 1 _h _w"], canvas: int, pieces: int
) -> UInt8[Tensor, "N 1 S S"]:
    """Each image once, scaled and placed, with `pieces` pieces of other images around it.

    Args:
        images: all of the source; an image's number is its place here.
        canvas: S.
        pieces: how many 4x4 pieces.
    """
    if not SIZES[1] <= canvas <= 1024 or pieces > 1000:
        raise ValueError(
            f"cluttered: canvas must be from {SIZES[1]} to 1,024 px and clutter at most 1,000, "
            f"got {canvas} and {pieces}"
        )
    count = len(images)
    key = keys(0, None, torch.arange(count), "canvas")
    draw = uniform(key, 3 + 5 * pieces)  # N x; three for the image, five a piece
    sides = SIZES[0] + (draw[:, 0] * (SIZES[1] - SIZES[0] + 1)).long()
    board = torch.zeros(count, canvas, canvas, dtype=torch.uint8)
    for side in range(SIZES[0], SIZES[1] + 1):
        rows = (sides == side).nonzero()[:, 0]
        top, left = ((draw[rows, i] * (canvas - side + 1)).long() for i in (1, 2))
        paste(board, rows, scaled(images[rows], side), top, left)
    numbers, large = torch.arange(count), scaled(images, CUT_FROM)
    for piece in range(pieces):
        other, *where = draw[:, 3 + 5 * piece :][:, :5].unbind(1)
        other = (numbers + 1 + (other * (count - 1)).long()) % count  # never the image itself
        down, right = (2 + (u * (CUT_FROM - PIECE - 3)).long() for u in where[:2])  # not the rim
        top, left = ((u * (canvas - PIECE + 1)).long() for u in where[2:])
        square = torch.arange(PIECE)
        rows, columns = down[:, None, None] + square[:, None], right[:, None, None] + square
        cut = large[other[:, None, None], rows, columns]
        paste(board, numbers, cut, top, left)
    return board[:, None]


def scaled(images: UInt8[Tensor, "N 1 _h _w"], side: int) -> UInt8[Tensor, "N _s _s"]:
    """Images resized to side x side, bilinear."""
    grown = F.interpolate(images.float(), size=(side, side), mode="bilinear", antialias=True)
    return grown.round().clamp(0, 255).to(torch.uint8)[:, 0]


def paste(board: Tensor, rows: Tensor, tiles: Tensor, top: Tensor, left: Tensor) -> None:
    """Lay a tile on each named row of the board, in place; the brighter pixel wins."""
    square = torch.arange(tiles.shape[-1])
    down = top[:, None, None] + square[:, None]
    right = left[:, None, None] + square
    where = (rows[:, None, None], down, right)
    board[where] = torch.maximum(board[where], tiles)
