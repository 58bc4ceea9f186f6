"""Colours, blur and solarisation of a whole batch of views at once, on the device.

Papers: Chen et al. (SimCLR), arXiv:2002.05709, appendix A; Grill et al. (BYOL), arXiv:2006.07733,
appendix B, whose blur and solarisation DINO and iBOT took over.

B batch, C channels, h w pixels of the view.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vit.batch import ViewSpec
from vit.data.randaugment import greyscale

SIGMA = (0.1, 2.0)  # pixels; drawn evenly, as in DINO's code
REACH = 6  # pixels on each side, three times the largest sigma


def recoloured(
    images: Float[Tensor, "B C h w"], u: Float[Tensor, "B 7"], view: ViewSpec
) -> Float[Tensor, "B C h w"]:
    """All that a view asks for, in the papers' order; images in [0, 1]."""
    if view.photometric:
        images = jitter(images, u[:, :4], view.photometric)
    if view.blur:
        soft = blurred(images, SIGMA[0] + (SIGMA[1] - SIGMA[0]) * u[:, 4])
        images = torch.where((u[:, 5] < view.blur)[:, None, None, None], soft, images)
    if view.solarise:
        inverted = torch.where(images < 0.5, images, 1 - images)
        images = torch.where((u[:, 6] < view.solarise)[:, None, None, None], inverted, images)
    return images


def blurred(
    images: Float[Tensor, "B C h w"], sigma: Float[Tensor, " B"]
) -> Float[Tensor, "B C h w"]:
    """Each image under its own Gaussian, mirrored at the border; one axis after the other."""
    reach = min(REACH, images.shape[-2] - 1, images.shape[-1] - 1)
    place = torch.arange(-reach, reach + 1, device=images.device)
    weight = torch.exp(-0.5 * (place / sigma[:, None]).square())
    weight = (weight / weight.sum(1, keepdim=True)).T[..., None, None, None]  # taps B 1 1 1
    wide = F.pad(images, [reach] * 4, mode="reflect")
    for axis in (-2, -1):
        size = images.shape[axis]
        wide = sum(w * wide.narrow(axis, k, size) for k, w in enumerate(weight))
    return wide


def jitter(
    images: Float[Tensor, "B C h w"], u: Float[Tensor, "B 4"], strength: float
) -> Float[Tensor, "B C h w"]:
    """Brightness, contrast and (RGB) saturation by factors of 1 +- 0.8 strength, image by image.

    The factors are those of SimCLR's colour distortion (Chen et al., arXiv:2002.05709, appendix
    A); its hue rotation is left out. Of RGB images a share of 0.2 strength turns grey.
    """
    u = u[:, :, None, None, None]  # B 4 1 1 1
    brightness, contrast, saturation = (1 + 0.8 * strength * (2 * u[:, i] - 1) for i in range(3))
    images = (images * brightness).clamp(0, 1)
    middle = images.mean((1, 2, 3), keepdim=True)
    images = ((images - middle) * contrast + middle).clamp(0, 1)
    if images.shape[1] != 3:
        return images
    grey = greyscale(images)
    images = ((images - grey) * saturation + grey).clamp(0, 1)
    return torch.where(u[:, 3] < 0.2 * strength, grey, images)
