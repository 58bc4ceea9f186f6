"""Pictures as large as the weights are used to, where `data.image_size` is null.

Who brings pictures and weights knows neither the size nor the patches of the latter.
"""

from typing import Any

from vit.compare.identity import class_named
from vit.data.file_images import FileImages
from vit.models.weights import stored_encoder

LARGEST = 224  # px: beyond it, on a laptop, minutes become hours (DINOv2's own 518 px: 7 times)


def size_for_weights(data: Any, pretrained: str | None) -> int | None:
    """Pixels to write into the settings; None: there is nothing to choose.

    Args:
        data: the setting of that name, a class with its init_args.
        pretrained: what `model.pretrained` names.
    """
    settings = data.get("init_args") or {}
    if not pretrained or settings.get("image_size", LARGEST) is not None:
        return None
    if not issubclass(class_named(data["class_path"]), FileImages):
        return None  # data in memory have a size of their own
    stored = stored_encoder(pretrained)
    patch = stored.settings.get("patch_size") or 1
    return max(min(stored.spec.image_size[0], LARGEST) // patch, 1) * patch
