"""Multi-crop: a few large views of each image, and small ones that are cheap to look at."""

from dataclasses import dataclass, replace

from vit.batch import DataSpec, ViewSpec
from vit.models.base import Encoder, TokenEncoder
from vit.objectives.base import check_fractions


@dataclass(frozen=True)
class MultiCrop:
    """Large and small views of each image (Caron et al., arXiv:2006.09882, section 3.3).

    Args:
        local_crops: small views of each image.
        global_area: fraction of the image that a large view covers, from and to.
        local_area: fraction of the image that a small view covers, from and to.
        local_size: side of the small views in pixels; null: 96/224 of the image, rounded to whole
            patches.
        photometric: strength of brightness and colour changes.
        distorted: blur and solarise as the objective's paper does; for photographs of about 224 px.
        global_crops: large views of each image, of the data's own size.
    """

    local_crops: int
    global_area: tuple[float, float]
    local_area: tuple[float, float]
    local_size: int | None = None
    photometric: float = 0.5
    distorted: bool = False
    global_crops: int = 2

    def __post_init__(self) -> None:
        for key in ("global_area", "local_area"):
            low, high = vars(self)[key]
            if not 0 < low <= high <= 1:
                raise ValueError(f"MultiCrop: {key} must rise within (0, 1], got {(low, high)}")
        for key in ("global_crops", "local_crops"):
            if not 0 <= vars(self)[key] <= 100:
                raise ValueError(f"MultiCrop: {key} must be from 0 to 100, got {vars(self)[key]}")
        check_fractions("MultiCrop", photometric=self.photometric)

    def views(self, encoder: Encoder, spec: DataSpec) -> tuple[ViewSpec, ...]:
        """The large views and, where there are some, the small ones, all without distortion.

        Raises:
            ValueError: small views are not made of whole patches of this encoder.
        """
        patch = encoder.patch_size if isinstance(encoder, TokenEncoder) else 1
        usual = max(round(min(spec.image_size) * 96 / 224 / patch), 1) * patch
        side = usual if self.local_size is None else self.local_size
        if not 0 < side <= max(spec.image_size) or side % patch:
            raise ValueError(
                f"MultiCrop: local_size must be a multiple of patch_size {patch} up to the image's "
                f"{max(spec.image_size)} px, got {side}"
            )
        large = ViewSpec(self.global_crops, None, tuple(self.global_area), self.photometric)
        small = ViewSpec(self.local_crops, side, tuple(self.local_area), self.photometric)
        return (large, small) if self.local_crops else (large,)

    def teacher_views(self, encoder: Encoder, spec: DataSpec) -> tuple[ViewSpec, ...]:
        """The views of a student whose teacher sees the two large ones (DINO, iBOT).

        Distorted as by BYOL: the first large view is always blurred, a tenth of the second's images
        and half of the small ones are; a fifth of the second's is solarised.

        Raises:
            ValueError: there are not two large views.
        """
        if self.global_crops != 2:
            raise ValueError(
                f"MultiCrop: global_crops must be 2 for a teacher, got {self.global_crops}"
            )
        large, *small = self.views(encoder, spec)
        if not self.distorted:
            return (large, *small)
        first = replace(large, count=1, blur=1.0)
        second = replace(large, count=1, blur=0.1, solarise=0.2)
        return (first, second, *(replace(view, blur=0.5) for view in small))
