"""Picture files on which exports differ from what they were made of, drawn anew each time."""

from pathlib import Path

import numpy as np
from PIL import Image

ORIENTATION = 0x0112  # EXIF tag


def write_odd_pictures(folder: Path) -> list[Path]:
    """Twelve files: odd shapes, odd colours, 16 bits, transparent, and turned by EXIF."""
    folder.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    quality = {"quality": 90}
    files = {
        "plain.jpg": (scene(375, 500), quality),
        "wide.jpg": (scene(60, 700), quality),
        "tall.png": (scene(640, 80), {}),
        "thin.png": (scene(1, 90), {}),
        "tiny.jpg": (scene(5, 7), quality),
        "one_pixel.png": (scene(1, 1), {}),
        "grey.jpg": (scene(120, 90).convert("L"), quality),
        "cmyk.jpg": (scene(90, 120).convert("CMYK"), quality),
        "palette.png": (scene(100, 100).convert("P", palette=Image.Palette.ADAPTIVE), {}),
        "alpha.png": (transparent(110, 130), {}),
        "bits16.png": (Image.fromarray(np.asarray(scene(64, 96))[..., 0].astype("u2") * 257), {}),
        "turned.jpg": (scene(80, 200), quality | {"exif": exif}),
    }
    for name, (image, how) in files.items():
        image.save(folder / name, **how)
    return [folder / name for name in files]


def scene(height: int, width: int) -> Image.Image:
    """Colours that tell left from right and top from bottom, with edges and some noise, RGB."""
    y, x = np.mgrid[:height, :width]
    stripes = 60 * ((x // 9 + y // 13) % 2)
    noise = np.random.default_rng(0).integers(0, 30, (height, width))
    planes = [150 * x / width + stripes, 180 * y / height + noise, 200 - stripes - 2 * noise]
    return Image.fromarray(np.stack(planes, -1).clip(0, 255).astype(np.uint8))


def transparent(height: int, width: int) -> Image.Image:
    """The same with a hole in it, RGBA."""
    image = scene(height, width).convert("RGBA")
    alpha = np.full((height, width), 255, np.uint8)
    alpha[height // 4 : height // 2, width // 4 : width // 2] = 40
    image.putalpha(Image.fromarray(alpha))
    return image
