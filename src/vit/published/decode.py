"""Bytes of an image file to pixels: whatever the file is, or one line why not.

Pillow reads everything; simplejpeg (extra `fast`) reads ordinary JPEG files with the same pixels in
two thirds of the time. torchvision's decoders are not used: its PNG decoder ends the process on a
damaged file, and all of them are deprecated.

H W pixels of the file.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator
from functools import cache
from types import ModuleType

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .gif .bmp .webp .tif .tiff .ppm .pgm .jp2 .avif".split()
)
JPEG = b"\xff\xd8"
RAW = b"vitraw1\n"  # then height and width, two bytes each, and H W C bytes: see `packed`
RAW_HEADER = len(RAW) + 4  # bytes
ORIENTATION = 274  # EXIF tag
LARGEST = 2 * Image.MAX_IMAGE_PIXELS  # pixels; Pillow refuses more
SHRINKS = (8, 4, 2, 1)  # what JPEG decoders scale by fast; other eighths are slower than none


class Memory:
    """Room for pixels that is used again: fresh pages cost a fifth of a decode."""

    def __init__(self) -> None:
        self.room = bytearray()

    def at_least(self, size: int) -> bytearray:
        """Room of at least `size` bytes; what lay there before is gone."""
        if len(self.room) < size:
            self.room = bytearray(size)
        return self.room


def decode(
    data: bytes, apply_exif_and_alpha: bool = False, shrink: int = 1, memory: Memory | None = None
) -> UInt8[Tensor, "3 _h _w"]:
    """RGB pixels of the first picture in a file.

    Args:
        data: the whole file.
        apply_exif_and_alpha: turned as its EXIF tag says, transparency over white: for people's own
            pictures. Published figures were made without either.
        shrink: of SHRINKS; a JPEG comes so many times smaller, anything else as it is.
        memory: where the pixels may lie, until the next call with it.

    Returns:
        a view into memory of H W 3, which torchvision's resize is fastest on.

    Raises:
        ValueError: it is no image, damaged, or beyond 179 million pixels.
    """
    if data[: len(RAW)] == RAW:
        return unpacked(data)
    with _careful():
        plain = data[:2] == JPEG and not (apply_exif_and_alpha and exif_orientation(data))
        pixels = _fast(data, shrink, memory) if plain else None
        pixels = _any(data, apply_exif_and_alpha, shrink) if pixels is None else pixels
        return torch.from_numpy(pixels).permute(2, 0, 1)


def size_of(data: bytes, apply_exif_and_alpha: bool = False) -> tuple[int, int]:
    """Height and width from the header alone.

    Raises:
        ValueError: it is no image.
    """
    if data[: len(RAW)] == RAW:
        return raw_size(data)[:2]
    with _careful():
        height, width = _fast_size(data) or _any_size(data)
        across = apply_exif_and_alpha and exif_orientation(data) >= 5
        return (width, height) if across else (height, width)


def packed(image: UInt8[Tensor, "_c _h _w"]) -> bytes:
    """Pixels as they are, for shards that cost no decoding."""
    size = np.array(image.shape[1:], "<u2").tobytes()
    return RAW + size + image.permute(1, 2, 0).contiguous().numpy().tobytes()


def unpacked(data: bytes) -> UInt8[Tensor, "3 _h _w"]:
    """The pixels that `packed` wrote; grey becomes RGB."""
    shape = raw_size(data)
    pixels = np.frombuffer(data, np.uint8, offset=RAW_HEADER).reshape(shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nobody writes into it
        return torch.from_numpy(pixels).permute(2, 0, 1).expand(3, -1, -1)


def raw_size(data: bytes) -> tuple[int, int, int]:
    """Height, width and channels of raw pixels, 1 or 3.

    Raises:
        ValueError: there are more or fewer pixels than that.
    """
    height, width = np.frombuffer(data[len(RAW) : RAW_HEADER], "<u2").tolist()
    channels, rest = divmod(len(data) - RAW_HEADER, max(height * width, 1))
    if rest or channels not in (1, 3):
        raise ValueError("cannot be read as an image (raw pixels are cut off)")
    return height, width, channels


@contextlib.contextmanager
def _careful() -> Iterator[None]:
    """Turn whatever Pillow stumbles over into one line, and silence what it warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd but readable files
        try:
            yield
        except Image.DecompressionBombError as error:
            raise ValueError("has more than 179 million pixels, too many to be safe") from error
        except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
            reason = "no image" if isinstance(error, UnidentifiedImageError) else str(error)
            raise ValueError(f"cannot be read as an image ({reason})") from error


def exif_orientation(data: bytes) -> int:
    """The EXIF orientation, 2 to 8; 0 where the picture stands as it is stored."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            orientation = image.getexif().get(ORIENTATION)
    except (OSError, SyntaxError, ValueError):
        return 0
    return orientation if orientation in range(2, 9) else 0


@cache
def fast() -> ModuleType | None:
    """The faster JPEG decoder, where it is installed."""
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg


def _fast(data: bytes, shrink: int, memory: Memory | None) -> np.ndarray | None:
    """Pixels H W 3 by simplejpeg; None where this file is Pillow's."""
    size = _fast_size(data)
    if size is None:
        return None
    # it takes the least eighths that keep these sides: exactly this shrink
    tall, wide = (-(-side // shrink) for side in size)
    least = {"min_height": tall, "min_width": wide, "min_factor": shrink}
    room = memory and memory.at_least(tall * wide * 3)
    try:
        return fast().decode_jpeg(data, "RGB", buffer=room, **(least if shrink > 1 else {}))
    except (ValueError, KeyError):
        return None  # damaged, or odder than it reads: Pillow says which


def _fast_size(data: bytes) -> tuple[int, int] | None:
    """Height and width of a JPEG by simplejpeg, in 2 us instead of 44; None: Pillow's, as above."""
    decoder = fast()
    if decoder is None or data[:2] != JPEG:
        return None
    try:
        height, width, colours, _ = decoder.decode_jpeg_header(data)
    except (ValueError, KeyError):
        return None
    # four inks: its colours differ from everybody else's
    ordinary = colours in ("YCbCr", "Gray", "RGB") and height * width <= LARGEST
    return (height, width) if ordinary else None


def _any_size(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        return image.height, image.width


def _any(data: bytes, apply_exif_and_alpha: bool, shrink: int) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as file:
        width, height = file.size
        if shrink > 1 and file.format == "JPEG":
            file.draft("RGB", (width // shrink, height // shrink))
        file.load()
        image = ImageOps.exif_transpose(file) if apply_exif_and_alpha else file
        return np.asarray(rgb(image, apply_exif_and_alpha))


def rgb(image: Image.Image, apply_exif_and_alpha: bool) -> Image.Image:
    """Convert any mode to 8-bit RGB; what Pillow would clip is scaled instead."""
    if image.mode.startswith("I"):  # 16 bits, in whatever order of bytes
        values = np.asarray(image.convert("I")) / 257
        image = Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
    elif image.mode == "F":
        values = np.asarray(image)
        if not np.isfinite(values).all():
            raise ValueError("holds numbers that are not finite")
        values = values * 255 if values.size and values.min() >= 0 and values.max() <= 1 else values
        image = Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
    elif apply_exif_and_alpha and ("A" in image.mode or "transparency" in image.info):
        layer = image.convert("RGBA")
        image = Image.new("RGBA", layer.size, "white")
        image.alpha_composite(layer)
    return image.convert("RGB")
