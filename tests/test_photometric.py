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
def test_jitter_stays_between_zero_and_one(channels):
    images = noise(500, channels, 4) / 255
    found = jitter(images, uniform(some_keys(500), 4), 1.0)
    assert found.min() >= 0
    assert found.max() <= 1
    assert (found - images).abs().amax((1, 2, 3)).min() > 0


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_jitter_by_hand(strength):
    image = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1)
    more = 1 + 0.8 * strength * 0.5  # a draw of 0.75 is halfway up
    brighter = jitter(image, torch.tensor([[0.75, 0.5, 0.5, 0.9]]), strength)
    sharper = jitter(image, torch.tensor([[0.5, 0.75, 0.5, 0.9]]), strength)
    redder = jitter(image, torch.tensor([[0.5, 0.5, 0.75, 0.9]]), strength)
    luma = 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6
    torch.testing.assert_close(brighter, image * more)
    torch.testing.assert_close(sharper, 0.4 + (image - 0.4) * more)
    torch.testing.assert_close(redder, luma + (image - luma) * more)


def test_some_coloured_images_turn_grey():
    images = noise(2000, 3, 2) / 255
    found = jitter(images, uniform(some_keys(2000), 4), 1.0)
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
    draws = torch.full((1, 7), 0.5)
    found = recoloured(images / 255, draws, ViewSpec(solarise=1.0))
    assert torch.equal((found[0] * 255).round().to(torch.uint8), theirs)


@pytest.mark.parametrize("what", ["blur", "solarise"])
def test_the_share_of_images_is_the_one_asked_for(what):
    images = noise(2000, 1, 6) / 255
    found = recoloured(images, uniform(some_keys(2000), 7), ViewSpec(**{what: 0.2}))
    changed = (found != images).flatten(1).any(1).sum().item()
    assert changed == pytest.approx(400, abs=4 * math.sqrt(2000 * 0.2 * 0.8))
