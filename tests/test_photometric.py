"""Colours by hand, blur against torchvision, solarisation against Pillow."""

import math

import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import functional as torchvision
from torchvision.transforms.v2.functional import pil_to_tensor

from vit.batch import ViewSpec
from vit.data.photometric import blurred, jitter, recoloured
from vit.randomness import keys, uniform


def noise(count: int = 2, channels: int = 3, side: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (count, channels, side, side)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def some_keys(count: int) -> Tensor:
    return keys(0, 0, torch.arange(count), "test")


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_stays_between_zero_and_one_and_spares_a_fifth(channels):
    images, count = noise(2000, channels, 4) / 255, 2000
    draws = uniform(some_keys(count), 6)
    draws[:, 3] = 0.9  # none turns grey
    found = jitter(images, draws, 1.0)
    assert found.min() >= 0
    assert found.max() <= 1
    same = ((found - images).abs().amax((1, 2, 3)) == 0).sum().item()
    assert same == pytest.approx(0.2 * count, abs=4 * math.sqrt(count * 0.2 * 0.8))


@pytest.mark.parametrize(
    ("place", "adjust", "most"),
    [
        (0, torchvision.adjust_brightness, 0.4),
        (1, torchvision.adjust_contrast, 0.4),
        (2, torchvision.adjust_saturation, 0.2),
        (4, torchvision.adjust_hue, 0.1),
    ],
)
@pytest.mark.parametrize("draw", [0.0, 0.3, 0.75])
def test_each_colour_change_is_torchvisions_at_the_papers_strength(place, adjust, most, draw):
    """ColorJitter(0.4, 0.4, 0.2, 0.1)."""
    images = noise(3, 3, 16) / 255
    draws = torch.full((3, 6), 0.5)
    draws[:, 3], draws[:, 5], draws[:, place] = 0.9, 0.0, draw
    amount = most * (2 * draw - 1)
    theirs = adjust(images, amount if place == 4 else 1 + amount)  # its grey: .2989 red
    torch.testing.assert_close(jitter(images, draws, 0.5), theirs, atol=5e-5, rtol=0)


def test_a_fifth_of_coloured_images_turns_grey():
    images = noise(2000, 3, 2) / 255
    found = jitter(images, uniform(some_keys(2000), 6), 0.5)
    grey = (found.amax(1) - found.amin(1) < 1e-6).all((1, 2))
    assert grey.sum().item() == pytest.approx(400, abs=4 * math.sqrt(2000 * 0.2 * 0.8))


def test_blur_is_torchvisions():
    images, sigma = noise(4, 3, 24) / 255, torch.tensor([0.1, 0.7, 1.3, 2.0])
    found = blurred(images, sigma)
    for image, own, width in zip(images, found, sigma.tolist(), strict=True):
        theirs = torchvision.gaussian_blur(image, [13, 13], [width, width])
        torch.testing.assert_close(own, theirs, atol=1e-6, rtol=0)


def test_small_pictures_are_blurred_as_far_as_they_reach():
    assert blurred(noise(1, 1, 4) / 255, torch.tensor([2.0])).shape == (1, 1, 4, 4)


def test_solarisation_is_pillows():
    images = noise(1, 3, 8)
    theirs = pil_to_tensor(ImageOps.solarize(Image.fromarray(images[0].permute(1, 2, 0).numpy())))
    draws = torch.full((1, 9), 0.5)
    found = recoloured(images / 255, draws, ViewSpec(solarise=1.0))
    assert torch.equal((found[0] * 255).round().to(torch.uint8), theirs)


@pytest.mark.parametrize("what", ["blur", "solarise"])
def test_the_share_of_images_is_the_one_asked_for(what):
    images = noise(2000, 1, 6) / 255
    found = recoloured(images, uniform(some_keys(2000), 9), ViewSpec(**{what: 0.2}))
    changed = (found != images).flatten(1).any(1).sum().item()
    assert changed == pytest.approx(400, abs=4 * math.sqrt(2000 * 0.2 * 0.8))
