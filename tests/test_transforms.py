"""Views against slicing, flipping, rotating, and Pillow's resize."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from vit.batch import LoaderContext, ViewSpec
from vit.data import Digits, transforms
from vit.data.erasing import Erasing
from vit.data.sampling import BatchIndices
from vit.data.transforms import Augmentation, affine, cut_view, move, resize
from vit.randomness import keys, uniform

DRAWS = ["area", "aspect", "x", "y", "angle", "zoom", "flip", "shift_x", "shift_y"]
DRAWS += ["brightness", "contrast", "saturation", "grey", "sigma", "blur", "solarise"]
DRAWS += ["hue", "changed"]
PLAIN = Augmentation()


def noise(count: int = 2, channels: int = 3, side: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (count, channels, side, side)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


@pytest.fixture
def chosen(monkeypatch):
    """Cut a view with chosen draws; the others stand in the middle and change nothing."""

    def cut(images: Tensor, view: ViewSpec, augmentation: Augmentation, **draws: float) -> Tensor:
        row = torch.tensor([[draws.get(name, 0.5) for name in DRAWS]])
        monkeypatch.setattr(transforms, "uniform", lambda key, count: row.expand(len(key), count))
        return cut_view(images, torch.arange(len(images)), view, augmentation, images.shape[-2:])

    return cut


def some_keys(count: int, purpose: str = "view") -> Tensor:
    return keys(0, 0, torch.arange(count), purpose)


# ---- one thing at a time --------------------------------------------------------------------


def test_without_augmentation_the_view_is_the_image():
    view = cut_view(noise(), some_keys(2), ViewSpec(), PLAIN, (8, 8))
    assert torch.equal(view, noise())


def test_draws_in_the_middle_change_nothing(chosen):
    everything = Augmentation(degrees=30.0, shift=0.3, scale=0.3, flip=True)
    view = chosen(noise(), ViewSpec(), everything)
    torch.testing.assert_close(view, noise() / 255, atol=1e-5, rtol=0)


def test_a_flip_within_a_crop_is_the_one_of_torch(chosen):
    crop = ViewSpec(area=(1.0, 1.0))
    view = chosen(noise(), crop, Augmentation(flip=True), flip=0.49)
    torch.testing.assert_close(view, torch.flip(noise(), [-1]) / 255, atol=1e-5, rtol=0)


@pytest.mark.parametrize("flip", [False, True])
def test_moved_pixels_are_slices_of_the_padded_image(flip):
    images = noise(count=200)
    moved = move(images, uniform(some_keys(200), 3), padding=2, flip=flip)
    padded = torch.nn.functional.pad(images, [2] * 4)
    u = uniform(some_keys(200), 3)
    for number in range(200):
        down, right = int(u[number, 0] * 5), int(u[number, 1] * 5)
        expected = padded[number, :, down : down + 8, right : right + 8]
        expected = expected.flip(-1) if flip and u[number, 2] < 0.5 else expected
        assert torch.equal(moved[number], expected)


def test_every_second_image_is_flipped():
    edge = torch.zeros(1000, 1, 4, 4, dtype=torch.uint8)
    edge[..., 0] = 255
    view = cut_view(edge, some_keys(1000), ViewSpec(), Augmentation(flip=True), (4, 4))
    assert (view[:, 0, 0, 3] > 0).sum().item() == pytest.approx(500, abs=63)  # four deviations


@pytest.mark.parametrize(("x", "y"), [(1.0, 0.5), (0.5, 1.0), (0.0, 1.0)])
def test_a_shift_by_whole_pixels_is_a_slice(chosen, x, y):
    view = chosen(noise(), ViewSpec(), Augmentation(shift=0.25), shift_x=x, shift_y=y)
    right, down = int(4 * x - 2), int(4 * y - 2)  # 0.25 of 8 pixels, either way
    padded = torch.nn.functional.pad(noise() / 255, (2, 2, 2, 2))
    expected = padded[..., 2 + down : 10 + down, 2 + right : 10 + right]
    torch.testing.assert_close(view, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("draw", "turns"), [(1.0, 1), (0.0, -1)])
def test_ninety_degrees_are_the_rotation_of_torch(chosen, draw, turns):
    view = chosen(noise(), ViewSpec(), Augmentation(degrees=90.0), angle=draw)
    expected = torch.rot90(noise(), turns, [-2, -1]) / 255
    torch.testing.assert_close(view, expected, atol=1e-4, rtol=0)


def test_a_rotation_of_an_oblong_image_turns_pixels_and_not_coordinates(chosen):
    image = torch.zeros(1, 1, 5, 9, dtype=torch.uint8)
    image[..., 2, 6] = 255  # two to the right of the middle
    view = chosen(image, ViewSpec(), Augmentation(degrees=90.0), angle=1.0)
    assert view[0, 0].nonzero().tolist()[0] == [0, 4]  # two above the middle
    assert view[0, 0, 0, 4].item() == pytest.approx(1, abs=1e-4)


def test_a_larger_scale_shows_less_of_the_image():
    draws = torch.tensor([[0.5] * 5 + [1.0] + [0.5] * 3])
    whole, zoomed = (affine(draws, (8, 8), ViewSpec(), Augmentation(scale=s)) for s in (0.0, 0.6))
    torch.testing.assert_close(zoomed, whole / 1.6)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_a_crop_of_a_quarter_is_a_slice(chosen, x, y):
    view = ViewSpec(size=4, area=(0.25, 0.25))
    cut = chosen(noise(), view, PLAIN, x=float(x), y=float(y))
    expected = noise()[..., 4 * y : 4 * y + 4, 4 * x : 4 * x + 4] / 255
    torch.testing.assert_close(cut, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", [1.0, 1.5])  # down to nothing: divides by zero, or turns round
def test_a_scale_that_reaches_zero_is_named(scale):
    with pytest.raises(ValueError, match=f"scale .* got {scale}"):
        Augmentation(scale=scale)


# ---- crops ----------------------------------------------------------------------------------


def boxes(view: ViewSpec, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Half sides (B 2) in shares of the image, centres (B 2), theta of 20,000 random crops."""
    theta = affine(uniform(some_keys(20_000), 9), size, view, PLAIN)
    return theta[:, [0, 1], [0, 1]], theta[:, :, 2], theta


@pytest.mark.parametrize("size", [(8, 8), (6, 20)])
@pytest.mark.parametrize("area", [(0.05, 0.4), (0.4, 1.0)])
def test_crops_stay_inside_the_image(size, area):
    half, centre, theta = boxes(ViewSpec(area=area), size)
    assert (centre.abs() + half).max() <= 1 + 1e-6
    assert half.min() > 0
    assert theta[:, [0, 1], [1, 0]].abs().max() == 0  # nothing is turned


def test_crops_cover_the_areas_asked_for_evenly():
    half, _, _ = boxes(ViewSpec(area=(0.3, 0.7)), (8, 8))
    covered = half.prod(1)
    assert 0.3 - 1e-6 <= covered.min() < 0.301
    assert 0.699 < covered.max() <= 0.7 + 1e-6
    assert covered.mean().item() == pytest.approx(0.5, abs=0.004)  # four deviations


def test_sides_differ_by_a_third_at_most_in_pixels():
    half, _, _ = boxes(ViewSpec(area=(0.05, 0.1)), (6, 20))  # small enough that none is cut
    aspect = half[:, 0] * 20 / (half[:, 1] * 6)
    assert 3 / 4 - 1e-6 <= aspect.min() < 0.751
    assert 1.332 < aspect.max() <= 4 / 3 + 1e-5
    assert aspect.log().mean().abs() < 0.005


def test_crops_reach_every_corner():
    half, centre, _ = boxes(ViewSpec(area=(0.3, 0.7)), (8, 8))
    place = centre / (1 - half)
    assert place.abs().amax(0).min() > 0.999
    assert place.mean(0).abs().max() < 0.017  # four deviations of an even draw in +-1


@pytest.mark.parametrize("view", [ViewSpec(area=(0.2, 0.9), photometric=0.5), ViewSpec(size=5)])
def test_a_view_does_not_depend_on_the_place_in_the_batch(view):
    everything = Augmentation(degrees=20.0, shift=0.2, scale=0.2, flip=True)
    images, key = noise(6), some_keys(6)
    together = cut_view(images, key, view, everything, (8, 8))[4:5]
    alone = cut_view(images[4:5], key[4:5], view, everything, (8, 8))
    torch.testing.assert_close(alone, together, atol=1e-6, rtol=0)


# ---- pixels ---------------------------------------------------------------------------------


def test_without_resampling_no_pixel_is_blended():
    everything = Augmentation(degrees=30.0, shift=0.3, scale=0.3, flip=True)
    images = noise(64, 1, 8) // 85 * 85  # four levels: blends would be seen
    view = cut_view(images, some_keys(64), ViewSpec(resample=False), everything, (8, 8)) * 255
    nearest = (view / 85).round() * 85
    assert (view - nearest).abs().max() < 0.01
    assert (view != images).any()


def test_resampling_does_blend():
    """So that the test above is not asleep."""
    images = noise(64, 1, 8) // 85 * 85
    view = cut_view(images, some_keys(64), ViewSpec(), Augmentation(shift=0.3), (8, 8)) * 255
    assert (view - (view / 85).round() * 85).abs().max() > 10


@pytest.mark.parametrize("side", [4, 6, 12])
def test_resize_is_pillows(side):
    images = noise(1, 1, 8) / 255
    pillow = Image.fromarray(images[0, 0].numpy()).resize((side, side), Image.Resampling.BILINEAR)
    found = resize(images, (side, side))[0, 0].numpy()
    assert np.abs(found - np.asarray(pillow)).max() < 1e-5


def test_resize_leaves_an_image_that_fits_alone():
    images = noise() / 255
    assert torch.equal(resize(images, (8, 8)), images)


def test_a_view_of_another_size_without_augmentation_is_the_resized_image():
    view = cut_view(noise(), some_keys(2), ViewSpec(size=4), PLAIN, (8, 8))
    assert torch.equal(view, resize(noise() / 255, (4, 4)))


def test_erasing_comes_last_and_spares_views_whose_pixels_are_targets():
    data = Digits(augmentation=Augmentation(erasing=Erasing(probability=1.0)))
    images = data.open("train")[BatchIndices(0, list(range(32)))]
    plain = Digits().show(images, LoaderContext(), training=True).images
    erased = data.show(images, LoaderContext(), training=True).images
    assert (erased != plain).flatten(1).any(1).all()
    assert erased.abs().max() > 1.5, "noise of deviation 1 around normalised pixels in [-1, 1]"
    for views, training in (((ViewSpec(resample=False),), True), ((ViewSpec(),), False)):
        context = LoaderContext(views)
        shown = data.show(images, context, training).images
        assert torch.equal(shown, Digits().show(images, context, training).images)
