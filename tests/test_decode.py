"""Whatever a file is, its pixels or one line; the fast decoder changes nothing."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from pictures import picture, saved
from vit.published import decode as module
from vit.published.decode import SHRINKS, Memory, decode, size_of

EXIF = 274


def pillow(data: bytes) -> torch.Tensor:
    """What Pillow itself makes of it."""
    return torch.from_numpy(np.array(Image.open(io.BytesIO(data)).convert("RGB"))).permute(2, 0, 1)


def turned(number: int) -> bytes:
    exif = Image.Exif()
    exif[EXIF] = number
    return saved(picture(), quality=95, exif=exif)


@pytest.fixture(params=["fast", "Pillow alone"])
def decoder(request, monkeypatch):
    if request.param == "Pillow alone":
        monkeypatch.setattr(module, "fast", lambda: None)
    else:
        pytest.importorskip("simplejpeg")


@pytest.mark.parametrize(
    ("mode", "kind", "how"),
    [
        ("RGB", "JPEG", {}),
        ("RGB", "JPEG", {"progressive": True, "quality": 90}),
        ("L", "JPEG", {}),
        ("CMYK", "JPEG", {}),
        ("RGB", "PNG", {}),
        ("RGBA", "PNG", {}),
        ("P", "PNG", {}),
        ("1", "PNG", {}),
        ("LA", "PNG", {}),
        ("P", "GIF", {}),
        ("RGB", "BMP", {}),
        ("RGB", "WEBP", {"lossless": True}),
        ("RGB", "TIFF", {"compression": "tiff_deflate"}),
    ],
)
def test_pixels_are_pillows(decoder, mode, kind, how):
    data = saved(picture(mode=mode), kind, **how)
    assert torch.equal(decode(data), pillow(data))
    assert size_of(data) == (30, 40)


def test_the_name_of_a_file_plays_no_part_and_neither_does_what_follows_a_jpeg(decoder):
    data = saved(picture())
    assert torch.equal(decode(data + b"garbage" * 20), pillow(data))


@pytest.mark.parametrize("shrink", SHRINKS)
def test_a_smaller_jpeg_is_the_same_from_both_decoders(monkeypatch, shrink):
    pytest.importorskip("simplejpeg")
    data = saved(picture(width=333, height=500), quality=92)
    fast = decode(data, shrink=shrink)
    monkeypatch.setattr(module, "fast", lambda: None)
    assert torch.equal(fast, decode(data, shrink=shrink))
    assert fast.shape[1:] == (-(-500 // shrink), -(-333 // shrink))


def test_memory_that_is_used_again_holds_the_newest_picture(decoder):
    memory = Memory()
    for width, height in ((60, 50), (20, 10), (90, 70)):
        data = saved(picture(width=width, height=height))
        assert torch.equal(decode(data, memory=memory), pillow(data))


@pytest.mark.parametrize("number", range(1, 9))
def test_ones_own_pictures_are_turned_and_published_ones_are_not(decoder, number):
    data = turned(number)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    expected = torch.from_numpy(np.array(upright)).permute(2, 0, 1)
    assert torch.equal(decode(data, apply_exif_and_alpha=True), expected)
    assert size_of(data, apply_exif_and_alpha=True) == expected.shape[1:]
    assert torch.equal(decode(data), pillow(data))


def test_transparency_is_white_in_ones_own_pictures():
    image = picture(mode="RGBA")
    image.putalpha(0)
    assert decode(saved(image, "PNG"), apply_exif_and_alpha=True).min() == 255
    assert torch.equal(decode(saved(image, "PNG")), pillow(saved(picture(), "PNG")))


def test_sixteen_bits_are_scaled_and_not_clipped():
    values = np.array([[0, 257 * 100, 65535]], np.uint16)
    assert decode(saved(Image.fromarray(values), "PNG"))[0].tolist() == [[0, 100, 255]]
    floats = np.array([[0.0, 0.5, 1.0]], np.float32)
    assert decode(saved(Image.fromarray(floats), "TIFF"))[0].tolist() == [[0, 128, 255]]


def spoilt_png() -> bytes:
    """Its compressed pixels do not match their checksum; torchvision's decoder dies of it."""
    data = bytearray(saved(picture(), "PNG"))
    data[data.index(b"IDAT") + 40] ^= 255
    return bytes(data)


def bomb() -> bytes:
    """A header that promises 400 million pixels."""
    head = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(body)) + kind + body
              + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts)  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def jpeg_bomb() -> bytes:
    """A JPEG whose header promises 400 million pixels."""
    data = bytearray(saved(picture()))
    at = data.index(b"\xff\xc0") + 5  # past the marker, its length and the precision
    data[at : at + 4] = struct.pack(">HH", 20_000, 20_000)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no image"),
        (b"<html>not found</html>", "no image"),
        (saved(picture())[:500], "cannot be read"),
        (saved(picture())[:-2], "cannot be read"),
        (saved(picture(), "PNG")[:90], "cannot be read"),
        (b"\xff\xd8\xff", "cannot be read"),
        (spoilt_png(), "cannot be read"),
        (bomb(), "179 million pixels"),
        (jpeg_bomb(), "179 million pixels"),
    ],
    ids="empty html half end half-png header checksum bomb jpeg-bomb".split(),
)
def test_damage_is_one_line(decoder, data, why):
    with pytest.raises(ValueError, match=why) as caught:
        decode(data)
    assert "\n" not in str(caught.value)


def test_no_room_is_made_for_pixels_that_are_too_many(decoder):
    memory = Memory()
    for refuse in (size_of, lambda data: decode(data, memory=memory)):
        with pytest.raises(ValueError, match="179 million pixels"):
            refuse(jpeg_bomb())
    assert not memory.room


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_the_size_is_that_of_the_pixels(decoder, mode):
    data = saved(picture(width=37, height=21, mode=mode))
    assert size_of(data) == decode(data).shape[1:] == (21, 37)


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_no_colours(odd):
    values = np.full((4, 5), 0.5, np.float32)
    values[2, 3] = odd
    with pytest.raises(ValueError, match="holds numbers that are not finite"):
        decode(saved(Image.fromarray(values), "TIFF"))
