"""A graph's preprocessing is that of evaluation, pixel for pixel, at any size."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from builders import GREY, RGB
from vit.data.preprocessing import Preprocessing
from vit.export import resizing
from vit.export.decoding import decoder_of
from vit.export.odd_pictures import write_odd_pictures
from vit.export.resizing import FromPixels

SIZES = [(40, 30), (1, 1), (100, 7), (16, 16), (1, 50), (300, 200), (36, 36), (5, 640)]
POLICIES = [
    {"rounded": True},
    {"rounded": True, "interpolation": "bicubic"},
    {"rounded": True, "center_crop_ratio": 0.8},
    {"rounded": True, "center_crop_ratio": 0.875, "interpolation": "bicubic"},
    {"letterbox": True},
    {},
]


class Same(nn.Module):
    """A network that answers with what it sees."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        return (images,)


def noise(height: int, width: int) -> torch.Tensor:
    """H W 3, uint8."""
    generator = torch.Generator().manual_seed(height * 1000 + width)
    return torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=generator)


def gap(preprocess: Preprocessing, pixels: torch.Tensor) -> float:
    """The largest difference, in levels of 255 where the deviation is a half."""
    seen = FromPixels(preprocess, Same())(pixels[None])[0][0]
    shown = preprocess(Image.fromarray(pixels.numpy()))
    return ((seen - shown).abs().amax((1, 2)) * torch.tensor(preprocess.spec.std)).max() * 255


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_noise_is_seen_as_evaluation_shows_it(policy, size):
    assert gap(Preprocessing(RGB, **policy), noise(*size)) < 0.001


@pytest.mark.parametrize("size", [(8, 8), (30, 20), (1, 9)])
def test_grey_is_pillows_and_data_in_memory_is_not_rounded(size):
    assert gap(Preprocessing(GREY), noise(*size)) < 0.001


def test_a_planted_kernel_would_be_noticed(monkeypatch):
    """Without antialiasing's width, as an exporter's usual resize has it."""
    box = {"bilinear": lambda distance: (distance.abs() <= 0.5).double()}
    monkeypatch.setattr(resizing, "KERNELS", box)
    assert gap(Preprocessing(RGB, rounded=True), noise(300, 200)) > 5


@pytest.mark.parametrize("spec", [RGB, GREY], ids=["rgb", "grey"])
@pytest.mark.parametrize("own", [True, False])
def test_pillow_decodes_odd_files_as_the_project_does(tmp_path, spec, own):
    colour = spec is RGB  # grey data lies in memory, as published
    preprocess = Preprocessing(spec, rounded=colour, apply_exif_and_alpha=own and colour)
    graph, decode = FromPixels(preprocess, Same()), decoder_of(preprocess)
    for path in write_odd_pictures(tmp_path):
        seen = graph(torch.from_numpy(decode(path).copy())[None])[0][0]
        torch.testing.assert_close(seen, preprocess(path), atol=1e-5, rtol=0, msg=path.name)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("most", [1, 255])
def test_pillow_decodes_floats_as_the_project_does(tmp_path, own, most):
    fractions = np.linspace(0, most, 20 * 30, dtype=np.float32).reshape(20, 30)
    Image.fromarray(fractions).save(tmp_path / "float.tif")
    preprocess = Preprocessing(RGB, rounded=True, apply_exif_and_alpha=own)
    pixels = torch.from_numpy(decoder_of(preprocess)(tmp_path / "float.tif").copy())
    seen = FromPixels(preprocess, Same())(pixels[None])[0][0]
    torch.testing.assert_close(seen, preprocess(tmp_path / "float.tif"), atol=1e-5, rtol=0)
