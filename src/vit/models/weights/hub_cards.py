"""What is known of encoders on Hugging Face's hub by their publisher and name there."""

import re
from dataclasses import replace
from pathlib import Path

from vit.models.weights.known_cards import IN21K, TUNED, Facts, known_by, supervised
from vit.models.weights.released import HALF

GOOGLE = re.compile(r"google/vit-(base|large|huge)-patch\d\d-\d+(-in21k)?")  # arXiv:2010.11929


def hub_name(path: Path) -> str:
    """Publisher and name, as the hub's cache has them; else the name of the file or folder.

    config.json's _name_or_path is not asked: in a folder that was fine-tuned it names the start.
    """
    for folder in path.parts:
        if folder.startswith("models--"):
            return folder.removeprefix("models--").replace("--", "/", 1)
    if path.is_file():
        return path.parent.name if path.stem in ("model", "pytorch_model") else path.stem
    return path.name


def known_on_hub(name: str, classes: tuple[str, ...]) -> Facts:
    """What a name on the hub tells; of an unknown one nothing but the name.

    Args:
        name: publisher and name.
        classes: of the classifier in the file.
    """
    known = known_by(name.rpartition("/")[2].replace("-", "_"))
    if google := GOOGLE.fullmatch(name):
        data = "ImageNet-21k" if google[2] else TUNED
        known = Facts(supervised(data, IN21K), HALF)
    source = f"https://huggingface.co/{name}" if "/" in name else ""
    return replace(known, card=replace(known.card, name=name, source=source, classes=classes))
