"""What is known of encoders on Hugging Face's hub, by the beginning of their names there.

Figures: the papers that the rows name. Licences: as the hub states them, read in 2026.
"""

import re
from pathlib import Path
from typing import Any

from vit.models.weights.card import Card

IN1K, IN21K = 1_281_167, 14_197_122  # images of ImageNet-1k and -21k, all with labels
KNOWN: dict[str, dict[str, Any]] = {  # the first that fits
    "facebook/dinov2": {  # Oquab et al., arXiv:2304.07193; S, B and L were distilled from g
        "objective": "agreement between crops, masked patches (DINOv2)",
        "uses_labels": False, "data": "LVD-142M", "images": 142_000_000, "labels": 0,
        "licence": "Apache-2.0",
    },
    "facebook/dinov3-vit": {  # Simeoni et al., arXiv:2508.10104
        "objective": "agreement between crops, masked patches (DINOv3)",
        "uses_labels": False, "data": "LVD-1689M", "images": 1_689_000_000, "labels": 0,
        "licence": "DINOv3 License (Meta)",
    },
    "facebook/dino-vit": {  # Caron et al., arXiv:2104.14294
        "objective": "agreement between crops (DINO)",
        "uses_labels": False, "data": "ImageNet-1k", "images": IN1K, "labels": 0,
        "licence": "Apache-2.0",
    },
    "facebook/vit-mae": {  # He et al., arXiv:2111.06377
        "objective": "masked pixels (MAE)",
        "uses_labels": False, "data": "ImageNet-1k", "images": IN1K, "labels": 0,
        "licence": "Apache-2.0 on the hub, CC-BY-NC-4.0 in the authors' repository",
    },
    "facebook/deit-": {  # Touvron et al., arXiv:2012.12877
        "objective": "labels, and a teacher's where the name says distilled (DeiT)",
        "uses_labels": True, "data": "ImageNet-1k", "images": IN1K, "labels": IN1K,
        "licence": "Apache-2.0",
    },
    "google/vit-": {  # Dosovitskiy et al., arXiv:2010.11929; with -in21k not fine-tuned
        "objective": "labels (ViT)",
        "uses_labels": True, "data": "ImageNet-21k, then ImageNet-1k unless the name ends in21k",
        "images": IN21K, "labels": IN21K, "licence": "Apache-2.0",
    },
}  # fmt: skip


def hub_name(path: Path, config: dict[str, Any]) -> str:
    """Publisher and name, from config.json or the hub's cache; else the name of the folder."""
    said = str(config.get("_name_or_path", ""))
    if re.fullmatch(r"[\w.-]+/[\w.-]+", said):
        return said
    for folder in path.parts:
        if folder.startswith("models--"):
            return folder.removeprefix("models--").replace("--", "/", 1)
    return path.parent.name if path.is_file() and path.stem.endswith("model") else path.name


def hub_card(name: str, classes: tuple[str, ...]) -> Card:
    """What is known of weights by their name on the hub; unknown stays unknown."""
    about = next((KNOWN[start] for start in KNOWN if name.startswith(start)), {})
    source = f"https://huggingface.co/{name}" if "/" in name else ""
    return Card(name, **about, source=source, classes=classes)
