"""Patches are cut, put back, placed and resampled as the papers' code does it."""

import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from timm.layers import build_sincos2d_pos_embed, resample_abs_pos_embed
from torch.nn import functional as F

from vit.patches import grid_of, patchify, resize_grid, sincos, unpatchify


def test_a_patch_lists_row_then_column_then_channel():
    grey = torch.arange(8.0).reshape(1, 1, 2, 4)
    patches = patchify(torch.cat([grey, grey + 10], 1), 2)
    assert patches.tolist() == [[[0, 10, 1, 11, 4, 14, 5, 15], [2, 12, 3, 13, 6, 16, 7, 17]]]


def test_patches_stand_in_raster_order():
    corners = patchify(torch.arange(24.0).reshape(1, 1, 4, 6), 2)[0, :, 0]
    assert corners.tolist() == [0, 2, 4, 12, 14, 16]


def test_patches_are_those_of_unfold_with_the_channel_moved_last():
    images = torch.randn(2, 3, 8, 12)
    unfolded = F.unfold(images, 4, stride=4).reshape(2, 3, 16, 6)  # B C pp N
    assert torch.equal(patchify(images, 4), unfolded.permute(0, 3, 2, 1).flatten(2))


def test_patches_are_those_of_the_released_mae():
    images = torch.randn(2, 3, 8, 8)
    cut = torch.einsum("nchpwq->nhwpqc", images.reshape(2, 3, 2, 4, 2, 4))  # models_mae.py
    assert torch.equal(patchify(images, 4), cut.reshape(2, 4, 48))


@pytest.mark.parametrize(("size", "patch", "channels"), [((8, 8), 2, 1), ((8, 12), 4, 5)])
def test_unpatchify_undoes_patchify(size, patch, channels):
    images = torch.randn(2, channels, *size)
    back = unpatchify(patchify(images, patch), patch, grid_of(*size, patch))
    assert torch.equal(back, images)


@pytest.mark.parametrize("size", [(30, 32), (32, 30)])
def test_a_patch_that_does_not_divide_names_the_image_and_the_patch(size):
    with pytest.raises(ValueError, match=rf"{size[0]}x{size[1]} image .* patches of 4"):
        patchify(torch.zeros(1, 1, *size), 4)


def test_sincos_is_the_number_worked_out_by_hand():
    right, below = sincos((1, 2), 8)[1], sincos((2, 1), 8)[1]  # frequencies 1 and 1 / 100
    wave = [math.sin(1), math.sin(0.01), math.cos(1), math.cos(0.01)]
    rest = [0, 0, 1, 1]
    assert right.tolist() == pytest.approx(wave + rest, abs=1e-7)
    assert below.tolist() == pytest.approx(rest + wave, abs=1e-7)


def test_sincos_agrees_with_timm_on_a_grid_that_is_not_square():
    theirs = build_sincos2d_pos_embed([3, 5], 16).reshape(15, 2, 2, 4)  # N, sin cos, row column, k
    expected = theirs.transpose(1, 2).flip(1).flatten(1)
    torch.testing.assert_close(sincos((3, 5), 16), expected, atol=1e-6, rtol=0)


def test_sincos_refuses_a_width_that_four_does_not_divide():
    with pytest.raises(ValueError, match="multiple of 4, got 30"):
        sincos((2, 2), 30)


@pytest.mark.parametrize(
    ("old", "new"), [((14, 14), (24, 24)), ((14, 14), (7, 7)), ((3, 4), (5, 7))]
)
def test_the_papers_rule_is_scipy_zoom_of_order_one(old, new):
    table = torch.randn(math.prod(old), 6, dtype=torch.float64)
    factors = (new[0] / old[0], new[1] / old[1], 1)
    expected = scipy.ndimage.zoom(table.numpy().reshape(*old, 6), factors, order=1)
    found = resize_grid(table, old, new, "bilinear_corners")
    np.testing.assert_allclose(found.numpy(), expected.reshape(-1, 6), atol=1e-12)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize(("old", "new"), [((4, 4), (7, 7)), ((6, 8), (3, 5))])
def test_bicubic_rules_are_those_of_timm(old, new, antialias):
    table = torch.randn(math.prod(old), 6)
    expected = resample_abs_pos_embed(
        table[None], new, old, num_prefix_tokens=0, interpolation="bicubic", antialias=antialias
    )
    rule = "bicubic_antialias" if antialias else "bicubic"
    torch.testing.assert_close(resize_grid(table, old, new, rule), expected[0], atol=1e-6, rtol=0)


def test_bicubic_is_interpolate_channel_by_channel():
    table = torch.randn(12, 2)
    images = [table[:, k].reshape(1, 1, 3, 4) for k in (0, 1)]
    resized = [F.interpolate(image, size=(6, 5), mode="bicubic").flatten() for image in images]
    expected = torch.stack(resized, 1)
    torch.testing.assert_close(resize_grid(table, (3, 4), (6, 5), "bicubic"), expected)


def test_the_three_rules_differ():
    table = torch.randn(16, 2)
    rules = ("bilinear_corners", "bicubic", "bicubic_antialias")
    first, second, third = (resize_grid(table, (4, 4), (3, 3), rule) for rule in rules)
    for one, other in ((first, second), (first, third), (second, third)):
        assert (one - other).abs().max() > 0.01


def test_the_same_grid_gives_the_same_table():
    table = torch.randn(12, 6)
    assert resize_grid(table, (3, 4), (3, 4), "bicubic_antialias") is table


def test_a_grid_of_as_many_patches_but_another_shape_is_resampled():
    table = torch.randn(12, 6)
    assert not torch.equal(resize_grid(table, (3, 4), (4, 3), "bilinear_corners"), table)
