"""A picture file to pixels with Pillow and NumPy alone, as whoever uses an export does it.

The text of one of these functions stands in the example beside an export, so that what is verified
is what is handed on. Each says the same as `Preprocessing`, for one kind of data set.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from vit.data.preprocessing import Preprocessing


def decode_turned(path: Path) -> np.ndarray:
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode[0] in "IF":  # 16 bits, or fractions
        scale = 1 / 257 if image.mode[0] == "I" else 255 if np.max(image) <= 1 else 1
        image = Image.fromarray((np.asarray(image) * scale).round().clip(0, 255).astype(np.uint8))
    elif "A" in image.mode or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.new("RGBA", layer.size, "white")
        image.alpha_composite(layer)
    return np.asarray(image.convert("RGB"))  # H W 3, uint8


def decode_as_stored(path: Path) -> np.ndarray:
    image = Image.open(path)
    if image.mode[0] in "IF":  # 16 bits, or fractions
        scale = 1 / 257 if image.mode[0] == "I" else 255 if np.max(image) <= 1 else 1
        image = Image.fromarray((np.asarray(image) * scale).round().clip(0, 255).astype(np.uint8))
    return np.asarray(image.convert("RGB"))  # H W 3, uint8


def decode_grey(path: Path) -> np.ndarray:
    image = Image.open(path)
    return np.asarray(image.convert("L").convert("RGB"))  # H W 3, uint8


def decoder_of(preprocess: Preprocessing) -> Callable[[Path], np.ndarray]:
    """Which of them shows a model what it was trained to see."""
    if preprocess.spec.channels == 1:
        return decode_grey
    return decode_turned if preprocess.apply_exif_and_alpha else decode_as_stored
