"""Images to patches and back, and the tables that say where a patch stands.

B batch, C channels, H W pixels, h w grid, N = h w patches, P = p p C numbers per patch, D width.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Resize = Literal[
    "bilinear_corners", "bicubic", "bicubic_antialias", "bicubic_corners", "bicubic_offset"
]


def grid_of(height: int, width: int, patch: int) -> tuple[int, int]:
    """Rows and columns of patches; an error where the patch does not divide the image."""
    if height % patch or width % patch:
        raise ValueError(
            f"patches: a {height}x{width} image does not divide into patches of {patch}; "
            "set image_size to a multiple of patch_size"
        )
    return height // patch, width // patch


def patchify(images: Float[Tensor, "B C H W"], patch: int) -> Float[Tensor, "B N P"]:
    """Patches in raster order; inside a patch: row, column, channel (channel last, as in MAE)."""
    batch, channels, height, width = images.shape
    rows, columns = grid_of(height, width, patch)
    cut = images.reshape(batch, channels, rows, patch, columns, patch)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows * columns, patch * patch * channels)


def unpatchify(
    patches: Float[Tensor, "B N P"], patch: int, grid: tuple[int, int]
) -> Float[Tensor, "B C H W"]:
    """The inverse of `patchify`."""
    rows, columns = grid
    cut = patches.reshape(len(patches), rows, columns, patch, patch, -1)
    return cut.permute(0, 5, 1, 3, 2, 4).reshape(
        len(patches), cut.shape[-1], rows * patch, columns * patch
    )


def sincos(grid: tuple[int, int], width: int) -> Float[Tensor, "N D"]:
    """Fixed two-dimensional sine-cosine positions.

    MAE's variant: [sin(column), cos(column), sin(row), cos(row)], frequencies 10000^(-k / (D/4)).
    MoCo-v3 swaps the halves; big_vision spaces the frequencies by k / (D/4 - 1).
    """
    if width % 4:
        raise ValueError(f"sincos: width must be a multiple of 4, got {width}")
    frequency = 10000 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    row, column = torch.meshgrid(
        torch.arange(grid[0]).double(), torch.arange(grid[1]).double(), indexing="ij"
    )
    angles = [place.flatten()[:, None] * frequency for place in (column, row)]
    return torch.cat([f(angle) for angle in angles for f in (torch.sin, torch.cos)], 1).float()


def rope(grid: tuple[int, int], width: int, base: float) -> Float[Tensor, "2 N d"]:
    """Cosines and sines of the angles by which a patch's queries and keys are rotated.

    DINOv3's variant (Simeoni et al., arXiv:2508.10104, section 3.2): the middles of the patches,
    from -1 to 1 along each side whatever the grid; [row, column] angles, twice.

    Args:
        grid: rows and columns of patches.
        width: numbers of a head; a multiple of 4.
        base: of the frequencies.
    """
    frequency = base ** -(torch.arange(width // 4) / (width // 4))
    places = [2 * (torch.arange(count) + 0.5) / count - 1 for count in grid]
    place = torch.stack(torch.meshgrid(*places, indexing="ij"), -1).flatten(0, 1)  # N 2
    angles = (2 * torch.pi * place[..., None] * frequency).flatten(1).repeat(1, 2)  # N d
    return torch.stack([angles.cos(), angles.sin()])


def resize_grid(
    table: Float[Tensor, "N D"], old: tuple[int, int], new: tuple[int, int], rule: Resize
) -> Float[Tensor, "M D"]:
    """Resample one vector per patch from an old grid to a new one.

    Args:
        table: one row per patch of the old grid, raster order.
        old: rows and columns the table was made for.
        new: rows and columns it is resampled to.
        rule: `bilinear_corners` is the ViT paper's (scipy zoom of order 1); `bicubic` DeiT's and
            MAE's; `bicubic_antialias` timm's; `bicubic_corners` torchvision's; `bicubic_offset`
            that of DINO and DINOv2, whose scale is a tenth of a patch too large.
    """
    if old == new:
        return table
    image = table.T.reshape(1, -1, *old)
    if rule in ("bilinear_corners", "bicubic_corners"):
        mode = rule.removesuffix("_corners")
        image = F.interpolate(image, size=new, mode=mode, align_corners=True)
    elif rule == "bicubic_offset":
        scale = tuple((n + 0.1) / o for n, o in zip(new, old, strict=True))
        image = F.interpolate(image, scale_factor=scale, mode="bicubic", align_corners=False)
    else:
        image = F.interpolate(
            image,
            size=new,
            mode="bicubic",
            align_corners=False,
            antialias=rule == "bicubic_antialias",
        )
    return image.flatten(2)[0].T
