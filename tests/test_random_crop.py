"""Random crops: the same place for files and for images in memory, and inside the image."""

import pytest
import torch

from vit.batch import ViewSpec
from vit.data.random_crop import random_boxes, random_crop, random_places
from vit.data.transforms import Augmentation, affine


def test_boxes_are_those_that_the_device_cuts_of_images_in_memory():
    uniforms = torch.rand(50, 4)
    boxes = random_boxes(uniforms, torch.tensor([[60, 90]] * 50), (0.2, 0.8))
    draws = torch.cat([uniforms, torch.full((50, 5), 0.5)], 1)
    theta = affine(draws, (60, 90), ViewSpec(area=(0.2, 0.8)), Augmentation())
    for (top, left, tall, wide), map_ in zip(boxes, theta, strict=True):
        assert map_[0, 0] * 90 == pytest.approx(wide, abs=0.51)
        assert map_[1, 1] * 60 == pytest.approx(tall, abs=0.51)
        assert map_[0, 2] * 45 == pytest.approx(left + wide / 2 - 45, abs=1.01)
        assert map_[1, 2] * 30 == pytest.approx(top + tall / 2 - 30, abs=1.01)
        assert 0.15 < tall * wide / 5400 < 0.85
        assert 0 <= top <= 60 - tall
        assert 0 <= left <= 90 - wide


def test_a_crop_worked_out_by_hand():
    """A quarter of 60 x 90 px, the middle of the aspects (a square), the rightmost place."""
    u = torch.tensor([[0.5, 0.5, 1.0, 0.5]])
    tall, wide, down, right = random_crop(u, torch.tensor([60.0]), torch.tensor([90.0]), (0.2, 0.3))
    assert tall.item() == pytest.approx(1350**0.5 / 2)
    assert wide.item() == pytest.approx(1350**0.5 / 2)
    assert down.item() == 0
    assert right.item() == pytest.approx(45 - 1350**0.5 / 2)
    top, left, height, width = random_boxes(u, torch.tensor([[60, 90]]), (0.2, 0.3))[0]
    assert (top, left, height, width) == (12, 53, 37, 37)


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (400, 1), (3, 500)])
def test_crops_of_thin_images_stay_inside(size):
    for top, left, tall, wide in random_boxes(
        torch.rand(200, 4), torch.tensor([size] * 200), (0.08, 1.0)
    ):
        assert 0 <= top <= size[0] - tall
        assert 0 <= left <= size[1] - wide
        assert min(tall, wide) >= 1


def test_places_of_a_fixed_ratio_are_all_over_the_image():
    boxes = random_places(torch.rand(200, 4), torch.tensor([[40, 50]] * 200), 0.8)
    assert {box[2:] for box in boxes} == {(32, 40)}
    assert {box[0] for box in boxes} == set(range(9))
    assert {box[1] for box in boxes} == set(range(11))
