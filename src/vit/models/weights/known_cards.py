"""What is known of released weights by the name that their publisher gave them.

Sources: AugReg (Steiner et al., arXiv:2106.10270), ViT (arXiv:2010.11929), DeiT (arXiv:2012.12877),
DeiT III (arXiv:2204.07118), MAE (arXiv:2111.06377), DINO (arXiv:2104.14294), DINOv2
(arXiv:2304.07193), DINOv3 (arXiv:2508.10104), SWAG (arXiv:2201.08371), SigLIP (arXiv:2303.15343),
and the model cards beside the files. What is not known stays open.
"""

import re
from dataclasses import dataclass, replace
from typing import Any

from vit.models.weights.card import Card
from vit.models.weights.released import HALF, IMAGENET

IN1K, IN21K, LVD142M, IG3B = 1_281_167, 14_197_122, 142_109_386, 3_600_000_000  # pictures


@dataclass(frozen=True)
class Facts:
    """What a name tells.

    Args:
        card: how the weights came to be.
        normalisation: mean and deviation of their pictures.
        center_crop_ratio: in their evaluation; None: nobody said.
        epochs: of their training over the card's pictures, at 224 px.
    """

    card: Card
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET
    center_crop_ratio: float | None = None
    epochs: int | None = None


def supervised(data: str, images: int, licence: str = "apache-2.0", **more: Any) -> Card:
    """A card of weights that were trained on a label of every picture."""
    about = {"objective": "labels", "uses_labels": True, "labels": images} | more
    return Card("", data=data, images=images, licence=licence, **about)


def unlabelled(objective: str, data: str, images: int | None, licence: str) -> Card:
    """A card of weights that were trained without labels."""
    return Card(
        "", objective, uses_labels=False, data=data, images=images, labels=0, licence=licence
    )


TUNED = "ImageNet-21k, then ImageNet-1k"
KNOWN = (  # the first whose pattern is in the name counts
    (r"augreg\d?_in21k_ft_in1k", Facts(supervised(TUNED, IN21K), HALF, 0.9, 300)),
    (r"augreg_in21k|-i21k-300ep(?!.*--imagenet2012)",
     Facts(supervised("ImageNet-21k", IN21K), HALF, 0.9, 300)),
    (r"-i21k-300ep.*--imagenet2012", Facts(supervised(TUNED, IN21K), HALF, 0.9, 300)),
    (r"augreg_in1k|-i1k-300ep", Facts(supervised("ImageNet-1k", IN1K), HALF, 0.9, 300)),
    (r"orig_in21k_ft_in1k", Facts(supervised(TUNED, IN21K), HALF, 0.9)),
    (r"orig_in21k", Facts(supervised("ImageNet-21k", IN21K), HALF, 0.9)),
    (r"sam_in1k", Facts(supervised("ImageNet-1k", IN1K), HALF, 0.9)),
    (r"deit3.*in22k", Facts(supervised("ImageNet-21k, then ImageNet-1k", IN21K), IMAGENET, 1.0)),
    (r"deit3", Facts(supervised("ImageNet-1k", IN1K), IMAGENET, 0.9)),
    (r"deit.*distilled",
     Facts(supervised("ImageNet-1k", IN1K, objective="labels and a RegNetY-16GF's answers"),
           IMAGENET, 0.9, 300)),
    (r"deit_(tiny|small|base)", Facts(supervised("ImageNet-1k", IN1K), IMAGENET, 0.9, 300)),
    (r"mae_finetuned",
     Facts(supervised("ImageNet-1k", IN1K, "cc-by-nc-4.0",
                      objective="masked pixels (MAE), then labels"), IMAGENET, 0.875)),
    (r"(^|[._-])mae($|[._-])",
     Facts(unlabelled("masked pixels (MAE)", "ImageNet-1k", IN1K, "cc-by-nc-4.0"),
           IMAGENET, 0.9)),
    (r"dinov3.*sat", Facts(unlabelled("DINOv3", "SAT-493M", 493_000_000, "dinov3-license"),
                           ((0.430, 0.411, 0.296), (0.213, 0.156, 0.143)), 1.0)),
    (r"dinov3", Facts(unlabelled("DINOv3", "LVD-1689M", 1_689_000_000, "dinov3-license"),
                      IMAGENET, 1.0)),
    (r"dinov2", Facts(unlabelled("DINOv2", "LVD-142M", LVD142M, "apache-2.0"), IMAGENET, 1.0)),
    (r"(^|[._-])dino($|[._-])|dino_(deit|vit)",
     Facts(unlabelled("DINO", "ImageNet-1k", IN1K, "apache-2.0"), IMAGENET, 0.9)),
    (r"vit_[blh]_\d\d_lc_swag|_imagenet1k_swag_linear",
     Facts(supervised("Instagram, hashtags; head: ImageNet-1k", IG3B, "cc-by-nc-4.0",
                      objective="hashtags (SWAG)"), IMAGENET, 1.0)),
    (r"vit_[blh]_\d\d_swag|_imagenet1k_swag_e2e",
     Facts(supervised("Instagram, hashtags, then ImageNet-1k", IG3B, "cc-by-nc-4.0",
                      objective="hashtags (SWAG), then labels"), IMAGENET, 1.0)),
    (r"vit_[blh]_\d\d([-.]|$)",
     Facts(supervised("ImageNet-1k", IN1K, "bsd-3-clause"), IMAGENET, 0.875, 300)),
    (r"siglip",
     Facts(Card("", "pictures and their captions (SigLIP)", True, "WebLI", licence="apache-2.0"),
           HALF, 0.9)),
)  # fmt: skip


def known_by(name: str, source: str = "") -> Facts:
    """What a published name tells; a card with the name alone where it tells nothing.

    Args:
        name: of a file, or an architecture with its tag.
        source: who published it, where that is known.
    """
    for pattern, known in KNOWN:
        if re.search(pattern, name.lower()):
            return replace(known, card=replace(known.card, name=name, source=source))
    return Facts(Card(name, source=source))


def imagenet_classes() -> tuple[str, ...]:
    """The names of ImageNet's 1,000 classes, as torchvision writes them."""
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    return tuple(_IMAGENET_CATEGORIES)
