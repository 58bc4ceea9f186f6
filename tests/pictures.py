"""Real image files, drawn by the tests."""

import io
from pathlib import Path

import numpy as np
from PIL import Image


def picture(number: int = 0, width: int = 40, height: int = 30, mode: str = "RGB") -> Image.Image:
    """Smooth colours that tell one number, and left from right and top from bottom, apart."""
    y, x = np.mgrid[:height, :width]
    hue = 40 * (number % 6)
    planes = [x * 200 / width, y * 200 / height, np.full((height, width), hue)]
    return Image.fromarray(np.stack(planes, -1).astype(np.uint8)).convert(mode)


def saved(image: Image.Image, kind: str = "JPEG", **how) -> bytes:
    """The bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **how)
    return stream.getvalue()


def folder(root: Path, counts: dict[str, int], kind: str = "JPEG", **how) -> Path:
    """So many pictures below each folder, numbered through."""
    number = 0
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            suffix = {"JPEG": "jpg", "PNG": "png"}[kind]
            path = root / name / f"{number:04d}.{suffix}"
            path.write_bytes(saved(picture(number, **how), kind))
            number += 1
    return root
