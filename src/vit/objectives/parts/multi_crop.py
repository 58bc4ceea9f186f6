"""Multi-crop: a few large views of each image, and small ones that are cheap to look at."""

from dataclasses import replace

from vit.batch import DataSpec, ViewSpec
from vit.models.base import Encoder, TokenEncoder
from vit.objectives.base import in_range


def multi_crop(
    name: str,
    encoder: Encoder,
    spec: DataSpec,
    global_crops: int,
    local_crops: int,
    local_size: int | None,
    global_area: tuple[float, float],
    local_area: tuple[float, float],
    photometric: float,
    distorted: bool = False,
) -> tuple[ViewSpec, ...]:
    """Large views and, where wanted, small ones (Caron et al., arXiv:2006.09882, section 3.3).

    Args:
        name: of the objective, for messages.
        encoder: whose patches small views must be made of.
        spec: the data.
        global_crops: large views, of the data's own size.
        local_crops: small views.
        local_size: their side in pixels; None: 96/224 of the image, rounded to whole patches.
        global_area: fraction of the image that a large view covers.
        local_area: fraction of the image that a small view covers.
        photometric: strength of brightness and colour changes.
        distorted: blur and solarise as BYOL and DINO do: the first large view is always blurred, a
            tenth of the others and half of the small ones are; a fifth of the others is solarised.
    """
    for key, (low, high) in (("global_area", global_area), ("local_area", local_area)):
        if not 0 < low <= high <= 1:
            raise ValueError(f"{name}: {key} must rise within (0, 1], got {(low, high)}")
    for key, crops in (("global_crops", global_crops), ("local_crops", local_crops)):
        if not 0 <= crops <= 100:
            raise ValueError(f"{name}: {key} must be from 0 to 100, got {crops}")
    in_range(name, photometric=photometric)
    patch = encoder.patch_size if isinstance(encoder, TokenEncoder) else 1
    usual = max(round(min(spec.image_size) * 96 / 224 / patch), 1) * patch
    side = usual if local_size is None else local_size
    if not 0 < side <= max(spec.image_size) or side % patch:
        raise ValueError(
            f"{name}: local_size must be a multiple of patch_size {patch} up to the image's "
            f"{max(spec.image_size)} px, got {side}"
        )
    large = ViewSpec(global_crops, None, tuple(global_area), photometric)
    small = ViewSpec(local_crops, side, tuple(local_area), photometric)
    views = (large, small) if local_crops else (large,)
    if not distorted:
        return views
    first = replace(large, count=1, blur=1.0)
    others = replace(large, count=global_crops - 1, blur=0.1, solarise=0.2)
    return (first, others, *(replace(view, blur=0.5) for view in views[1:]))
