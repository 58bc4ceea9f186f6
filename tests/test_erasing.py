"""Random erasing: timm's distribution, boxes that end where they say, and nothing else touched."""

import random

import pytest
import torch
from scipy.stats import kstest
from timm.data.random_erasing import RandomErasing

from vit.data.erasing import Erasing
from vit.randomness import keys

SIDE = 32


def key(count: int, epoch: int = 0) -> torch.Tensor:
    return keys(0, epoch, torch.arange(count), "erasing")


def boxes(erased: torch.Tensor) -> torch.Tensor:
    """Height and width of what changed in images of zeros; 0 0 where nothing did."""
    changed = erased.abs().sum(1) > 0
    return torch.stack([changed.any(2).sum(1), changed.any(1).sum(1)], 1)


def test_sizes_are_distributed_as_timms():
    torch.manual_seed(0)
    zeros = torch.zeros(4000, 1, SIDE, SIDE)
    ours = boxes(Erasing(probability=1.0)(zeros, key(4000)))
    random.seed(0)
    timms = boxes(RandomErasing(probability=1.0, mode="pixel", device="cpu")(zeros.clone()))
    timms = timms[timms[:, 0] > 0]
    for mine, other in ((ours.prod(1), timms.prod(1)), (ours[:, 0], timms[:, 0])):
        values, others = mine.float() / SIDE, other.float() / SIDE
        assert values.mean() == pytest.approx(float(others.mean()), rel=0.05)
        assert values.quantile(0.9) == pytest.approx(float(others.quantile(0.9)), rel=0.08)


def test_what_is_erased_is_one_box_of_normal_noise_and_the_rest_is_untouched():
    images = torch.full((400, 3, SIDE, SIDE), 5.0)
    erased = Erasing(probability=1.0)(images, key(400))
    changed = erased != 5
    assert (changed.all(1) == changed.any(1)).all(), "all channels of a pixel, or none"
    height, width = boxes(erased - 5).unbind(1)
    assert torch.equal(changed[:, 0].sum((1, 2)), height * width)
    assert kstest(erased[changed].double().numpy(), "norm").statistic < 0.01
    area = height * width / SIDE**2
    assert area.min() > 0.01
    assert area.max() < 0.36


def test_so_many_images_are_erased_and_places_are_spread():
    zeros = torch.zeros(4000, 1, SIDE, SIDE)
    erased = Erasing(probability=0.25)(zeros, key(4000))
    chosen = erased.flatten(1).abs().sum(1) > 0
    assert chosen.float().mean() == pytest.approx(0.25, abs=0.02)
    share = (erased != 0).float().mean(0)[0]
    assert share[:2, :2].mean() > 0.001
    assert share[-2:, -2:].mean() == pytest.approx(float(share[:2, :2].mean()), rel=0.5)


def test_a_draw_belongs_to_an_image_and_an_epoch():
    images, erase = torch.zeros(8, 3, SIDE, SIDE), Erasing(probability=1.0)
    whole = erase(images, key(8))
    assert torch.equal(erase(images[3:5], key(8)[3:5]), whole[3:5])
    assert not torch.equal(erase(images, key(8, epoch=1)), whole)


@pytest.mark.parametrize("shape", [(4, 60), (60, 4), (1, 1)])
def test_narrow_images_keep_their_boxes_inside(shape):
    erased = Erasing(probability=1.0)(torch.zeros(50, 1, *shape), key(50))
    assert torch.isfinite(erased).all()


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"probability": 0.0}, r"probability must be in \(0, 1\], got 0.0"),
        ({"area": (0.5, 0.1)}, r"area must rise within \(0, 1\), got \(0.5, 0.1\)"),
        ({"area": (0.1, 1.0)}, "area must rise"),
    ],
)
def test_a_wrong_setting_is_named(settings, error):
    with pytest.raises(ValueError, match=error):
        Erasing(**settings)
