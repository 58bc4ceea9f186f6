"""Colours, blur and solarisation of a whole batch of views at once, on the device.

Paper: Grill et al. (BYOL), arXiv:2006.07733, appendix B, which DINO and iBOT took over.
Differs from it: brightness, contrast, saturation and hue change in this order instead of a random
one.

B batch, C channels, h w pixels of the view.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vit.batch import ViewSpec
from vit.data.randaugment import greyscale

SIGMA = (0.1, 2.0)  # pixels; drawn evenly, as in DINO's code
CHANGED, GREY = 0.8, 0.2  # fractions of the images
REACH = 6  # pixels on each side, three times the largest sigma


def recoloured(
    images: Float[Tensor, "B C h w"], u: Float[Tensor, "B 9"], view: ViewSpec
) -> Float[Tensor, "B C h w"]:
    """Images in [0, 1] with all that a view asks for, in the papers' order."""
    if view.photometric:
        images = jitter(images, u[:, [0, 1, 2, 3, 7, 8]], view.photometric)
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
    images: Float[Tensor, "B C h w"], u: Float[Tensor, "B 6"], strength: float
) -> Float[Tensor, "B C h w"]:
    """Change the colours of four in five images; a fifth of RGB images turns grey.

    Brightness and contrast by factors of 1 +- 0.8 strength; RGB: saturation by 1 +- 0.4 strength,
    hue turned by up to 0.2 strength of the circle. At 0.5 these are BYOL's and DINO's.

    Args:
        images: in [0, 1].
        u: brightness, contrast, saturation, greyness, hue, whether colours change at all.
        strength: 0 none, 0.5 the papers', to 1.
    """
    before, u = images, u[:, :, None, None, None]  # B 6 1 1 1
    wide, narrow = 0.8 * strength, 0.4 * strength
    images = (images * (1 + wide * (2 * u[:, 0] - 1))).clamp(0, 1)
    rgb = images.shape[1] == 3
    middle = (greyscale(images) if rgb else images).mean((1, 2, 3), keepdim=True)
    images = ((images - middle) * (1 + wide * (2 * u[:, 1] - 1)) + middle).clamp(0, 1)
    if rgb:
        dull = greyscale(images)
        images = ((images - dull) * (1 + narrow * (2 * u[:, 2] - 1)) + dull).clamp(0, 1)
        images = rotate_hue(images, narrow / 2 * (2 * u[:, 4, 0] - 1))
    images = torch.where(u[:, 5] < CHANGED, images, before)
    return torch.where(u[:, 3] < GREY, greyscale(images), images) if rgb else images


def rotate_hue(
    images: Float[Tensor, "B 3 h w"], fraction: Float[Tensor, "B 1 1"]
) -> Float[Tensor, "B 3 h w"]:
    """Hue turned by a fraction of the colour circle; value and saturation stay."""
    red, green, blue = images.unbind(1)
    value, low = images.amax(1), images.amin(1)
    chroma = value - low
    safe = torch.where(chroma > 0, chroma, 1)
    hue = torch.where(  # in sixths of the circle
        value == red,
        (green - blue) / safe,
        torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    sixths = torch.stack([hue + 6 * fraction + start for start in (5, 3, 1)], 1) % 6
    return value[:, None] - chroma[:, None] * sixths.minimum(4 - sixths).clamp(0, 1)
