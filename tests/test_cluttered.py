"""Cluttered digits are a fixed data set: real digits, placed by their number alone."""

import pytest
import torch
from scipy.ndimage import label
from sklearn.datasets import load_digits

from vit.data import Digits
from vit.data.cluttered import CUT_FROM, PIECE, cluttered, scaled
from vit.randomness import keys, uniform

DIGITS = torch.from_numpy(load_digits().images * 255 / 16).round().to(torch.uint8)[:, None]


def test_the_canvas_is_the_same_every_time_and_knows_no_seed():
    first = cluttered(DIGITS[:50], 24, 4)
    torch.manual_seed(5)
    assert torch.equal(first, cluttered(DIGITS[:50], 24, 4))
    assert first.shape == (50, 1, 24, 24)
    assert first.dtype == torch.uint8


def test_without_clutter_every_canvas_holds_its_whole_digit():
    """Bilinear interpolation of a digit scaled up by s keeps its ink times s squared."""
    board = cluttered(DIGITS, 24, 0).double().sum((1, 2, 3))
    sides = 10 + (uniform(keys(0, None, torch.arange(1797), "canvas"), 3)[:, 0] * 5).long()
    ink = DIGITS.double().sum((1, 2, 3)) * (sides / 8) ** 2
    assert (board / ink - 1).abs().max() < 0.1  # the rim is repeated, not blended
    assert set(sides.tolist()) == set(range(10, 15))


def test_places_cover_the_canvas():
    bright = cluttered(DIGITS, 24, 0).amax(0)[0] > 0
    assert bright.float().mean() > 0.95


def test_clutter_adds_ink_and_takes_none_away():
    plain, full = cluttered(DIGITS, 24, 0).int(), cluttered(DIGITS, 24, 4).int()
    assert (full >= plain).all()
    added = (full - plain).sum((1, 2, 3)) > 0
    assert added.float().mean() > 0.99


def test_a_piece_is_at_most_four_pixels_wide_and_from_another_digit():
    """On dark digits only number 0 is bright, so whatever else shines is a piece of it."""
    images = torch.zeros(40, 1, 8, 8, dtype=torch.uint8)
    images[0] = 255
    board = cluttered(images, 40, 3)[1:, 0].numpy()
    shining = [(row > 0) for row in board if row.any()]
    assert shining
    for row in shining:
        parts, count = label(row)
        assert count <= 3
        assert all((parts == n + 1).sum() <= 3 * PIECE**2 for n in range(count))


def test_scaling_keeps_the_range_and_the_mean():
    grown = scaled(DIGITS[:20], CUT_FROM)
    assert grown.shape == (20, 12, 12)
    drift = grown.double().mean((1, 2)) - DIGITS[:20, 0].double().mean((1, 2))
    assert drift.abs().max() < 8


def test_a_canvas_smaller_than_a_digit_is_refused():
    with pytest.raises(ValueError, match=r"canvas must be from 14 to 1,024 px .*, got 12"):
        cluttered(DIGITS[:2], 12, 0)
    with pytest.raises(ValueError, match="clutter needs a canvas"):
        Digits(clutter=4)


def test_raw_pixels_hardly_tell_cluttered_digits_apart():
    """What the study is for: a nearest neighbour that gets 98 % on plain digits fails here."""
    from sklearn.neighbors import KNeighborsClassifier

    def score(**settings) -> float:
        data = Digits(**settings)
        train, test = data.open("train"), data.open("test")
        judge = KNeighborsClassifier(1).fit(train.images.flatten(1), train.labels)
        return judge.score(test.images.flatten(1), test.labels)

    assert score() > 0.95
    assert score(canvas=24, clutter=4) < 0.4
