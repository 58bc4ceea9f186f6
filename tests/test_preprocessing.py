"""One picture is seen as the data set that trained the model shows it, bit for bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pictures import folder, picture
from vit.batch import DataSpec, LoaderContext
from vit.data import Digits, ImageFolder
from vit.data.preprocessing import Preprocessing


@pytest.mark.parametrize("ratio", [None, 0.875])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_file_is_seen_as_its_data_set_shows_it(tmp_path, ratio, kind):
    folder(tmp_path, {"a": 10, "b": 10}, kind=kind, width=50, height=40)
    data = ImageFolder(str(tmp_path), image_size=24, center_crop_ratio=ratio, workers=0)
    preprocess = Preprocessing(data.spec, **data.preprocessing())
    batch = next(iter(data.loader("test")))
    shown = data.show(batch, LoaderContext(), training=False).images
    for image, name in zip(shown, data.names("test"), strict=True):
        assert torch.equal(preprocess(tmp_path / name), image)
        with Image.open(tmp_path / name) as picture:
            close = 0 if kind == "PNG" else 0.05  # Pillow's decoder, not the faster one
            assert (preprocess(picture) - image).abs().max() <= close


@pytest.mark.parametrize(("width", "height"), [(50, 40), (40, 50), (90, 8), (33, 33)])
def test_a_letterbox_is_the_one_that_pillow_makes(width, height):
    mean = (0.485, 0.456, 0.406)
    spec = DataSpec(("a", "b"), (24, 24), 3, mean, (1.0,) * 3)
    image = picture(1, width, height)
    seen = Preprocessing(spec, rounded=True, letterbox=True)(image)
    long = max(width, height)
    small = image.resize((round(24 * width / long), round(24 * height / long)), Image.BILINEAR)
    square = Image.new("RGB", (24, 24), (124, 116, 104))  # the mean in whole numbers
    square.paste(small, ((24 - small.width) // 2, (24 - small.height) // 2))
    expected = torch.from_numpy(np.array(square)).permute(2, 0, 1)
    pixels = (seen + torch.tensor(mean)[:, None, None]) * 255
    assert (pixels - expected).abs().max() < 1.01  # Pillow rounds between its two passes


def test_a_letterbox_is_filled_with_the_mean_that_the_weights_expect(tmp_path):
    folder(tmp_path, {"a": 10, "b": 10}, kind="PNG", width=50, height=20)
    data = ImageFolder(str(tmp_path), image_size=24, letterbox=True, workers=0)
    spec = replace(data.spec, mean=(0.2, 0.4, 0.6), std=(0.1,) * 3)
    context = LoaderContext(normalisation=spec)
    for split in ("test", "val"):
        shown = data.show(next(iter(data.loader(split, context))), context, training=False).images
        assert shown[..., 0, :].abs().max() < 0.5 / 255 / 0.1 + 1e-6  # nearly zero when normalised
        preprocess = Preprocessing(spec, **data.preprocessing())
        for image, name in zip(shown, data.names(split), strict=True):
            assert torch.equal(preprocess(tmp_path / name), image)


def test_a_letterbox_and_a_middle_square_exclude_each_other(tmp_path):
    folder(tmp_path, {"a": 10, "b": 10})
    with pytest.raises(ValueError, match="letterbox shows the whole picture; leave center_crop"):
        ImageFolder(str(tmp_path), letterbox=True, center_crop_ratio=0.9)
    spec = DataSpec(("a", "b"), (8, 8), 3, (0.0,) * 3, (1.0,) * 3)
    with pytest.raises(ValueError, match="leave center_crop_ratio out"):
        Preprocessing(spec, letterbox=True, center_crop_ratio=0.9)


@pytest.mark.parametrize("image_size", [None, 12])
def test_a_digit_is_seen_as_in_memory(image_size):
    data = Digits(image_size=image_size)
    preprocess = Preprocessing(data.spec, **data.preprocessing())
    batch = next(iter(data.loader("val")))
    shown = data.show(batch, LoaderContext(), training=False).images
    pictures = [Image.fromarray(image[0].numpy()) for image in batch.images[:5]]
    seen = torch.stack([preprocess(picture) for picture in pictures])
    assert torch.equal(seen, shown[:5])


def test_transparency_and_orientation_follow_the_data_set(tmp_path):
    spec = DataSpec(("a", "b"), (8, 8), 3, (0.0,) * 3, (1.0,) * 3)
    clear = Image.fromarray(np.zeros((8, 8, 4), np.uint8), "RGBA")
    assert Preprocessing(spec, apply_exif_and_alpha=True)(clear).min() == 1  # white
    assert Preprocessing(spec)(clear).max() == 0


def test_what_is_no_picture_is_named(tmp_path):
    (tmp_path / "note.jpg").write_text("no picture")
    spec = DataSpec(("a", "b"), (8, 8), 3, (0.0,) * 3, (1.0,) * 3)
    with pytest.raises(ValueError, match=r"note.jpg cannot be read as an image"):
        Preprocessing(spec)(tmp_path / "note.jpg")


def test_more_channels_than_a_picture_has_are_refused():
    spec = DataSpec(("a", "b"), (8, 8), 5, (0.0,) * 5, (1.0,) * 5)
    with pytest.raises(ValueError, match="sees 5 channels, a picture has 3 or 1"):
        Preprocessing(spec)(Image.new("RGB", (8, 8)))
