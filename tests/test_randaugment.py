"""RandAugment's fourteen operations against torchvision's, and who gets which."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as tv

from vit.batch import ViewSpec
from vit.data import randaugment
from vit.data.randaugment import NUMBER, OPERATIONS, RandAugment, apply_operation
from vit.data.transforms import Augmentation, cut_view
from vit.randomness import keys, uniform

THEIRS = {
    "identity": "Identity", "shear_x": "ShearX", "shear_y": "ShearY",
    "translate_x": "TranslateX", "translate_y": "TranslateY", "rotate": "Rotate",
    "brightness": "Brightness", "color": "Color", "contrast": "Contrast",
    "sharpness": "Sharpness", "posterize": "Posterize", "solarize": "Solarize",
    "autocontrast": "AutoContrast", "equalize": "Equalize",
}  # fmt: skip
SIGNED = OPERATIONS[1:10]
EXACT = (*OPERATIONS[:6], "posterize", "solarize", "equalize")  # pixels move, or go by a table
LEVELS = (0, 9, 30)


def noise(count: int = 2, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (count, channels, 32, 48)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def smooth() -> Tensor:
    """Waves of other lengths in each channel, between 30 and 220."""
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(48.0), indexing="ij")
    waves = [(x / length + y / 9).sin() for length in (5.0, 8.0, 13.0)]
    return (125 + 95 * torch.stack(waves)).to(torch.uint8)[None]


def plain() -> Tensor:
    """Black, white, and one grey."""
    return torch.stack(
        [torch.full((3, 32, 48), level, dtype=torch.uint8) for level in (0, 255, 77)]
    )


GREYS = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
PICTURES = {"noise": noise(), "smooth": smooth(), "plain": plain()}


def ours(images: Tensor, name: str, level: float, sign: float) -> np.ndarray:
    """In 255ths, not rounded."""
    count = len(images)
    operation, signs = torch.full((count,), NUMBER[name]), torch.full((count,), sign)
    return apply_operation(images / 255, operation, level / 30, signs).double().numpy() * 255


def torchvisions(images: Tensor, name: str, level: int, sign: float) -> np.ndarray:
    augment = v2.RandAugment(interpolation=InterpolationMode.NEAREST)
    magnitudes, signed = augment._AUGMENTATION_SPACE[THEIRS[name]]
    table = magnitudes(31, *images.shape[-2:])
    magnitude = 0.0 if table is None else float(table[level])
    done = [
        augment._apply_image_or_video_transform(
            image,
            THEIRS[name],
            magnitude * sign if signed else magnitude,
            interpolation=InterpolationMode.NEAREST,
            fill={Tensor: None},
        )
        for image in images
    ]
    return torch.stack(done).double().numpy()


CASES = [
    (name, level, sign)
    for name in OPERATIONS
    for level in LEVELS
    for sign in ((1.0, -1.0) if name in SIGNED else (1.0,))
]


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize(("name", "level", "sign"), CASES)
def test_an_operation_is_torchvisions(name, level, sign, picture):
    images = PICTURES[picture]
    difference = np.abs(
        ours(images, name, level, sign) - torchvisions(images, name, level, sign)
    ).max()
    assert difference < (1e-3 if name in EXACT else 2)


@pytest.mark.parametrize("name", OPERATIONS[1:])
def test_a_strong_operation_does_change_a_picture(name):
    """So that the test above does not compare pictures nobody touched."""
    assert np.abs(ours(smooth(), name, 30, 1.0) - smooth().numpy()).max() > 1


@pytest.mark.parametrize(
    ("name", "level"), [(name, level) for name in OPERATIONS for level in (9, 30)]
)
def test_an_operation_on_one_channel_is_torchvisions(name, level):
    images = torch.cat([noise(channels=1), smooth()[:, :1]])
    difference = np.abs(
        ours(images, name, level, 1.0) - torchvisions(images, name, level, 1.0)
    ).max()
    assert difference < (1e-3 if name in (*EXACT, "color") else 2)


def test_color_leaves_grey_images_alone():
    images = noise(channels=1)
    assert np.abs(ours(images, "color", 30, 1.0) - images.numpy()).max() < 1e-4


def test_every_level_of_posterize_keeps_torchvisions_bits():
    for level in range(31):
        expected = torchvisions(GREYS, "posterize", level, 1.0)
        assert np.abs(ours(GREYS, "posterize", level, 1.0) - expected).max() < 1e-3, level


def test_solarize_turns_what_is_at_or_above_a_threshold_that_falls_by_8_and_a_half_a_level():
    greys = GREYS.double().numpy()
    for level in range(31):
        expected = np.where(greys >= 255 - 8.5 * level, 255 - greys, greys)
        assert np.abs(ours(GREYS, "solarize", level, 1.0) - expected).max() < 1e-3, level


def test_public_functions_agree_by_name():
    """Not by way of a private table, which could be misread."""
    images = torch.cat([noise(), smooth()])
    for name, expected in {
        "brightness": tv.adjust_brightness(images, 1.27),
        "color": tv.adjust_saturation(images, 1.27),
        "contrast": tv.adjust_contrast(images, 1.27),
        "sharpness": tv.adjust_sharpness(images, 1.27),
        "posterize": tv.posterize(images, 7),
        "solarize": tv.solarize(images, 178.5),
        "autocontrast": tv.autocontrast(images),
        "equalize": tv.equalize(images),
        "rotate": tv.rotate(images, 9.0),
    }.items():
        assert np.abs(ours(images, name, 9, 1.0) - expected.numpy()).max() < 2, name


def test_a_batch_of_all_operations_is_each_on_its_own():
    images, operation = noise(14), torch.arange(14)
    sign = torch.tensor([1.0, -1.0] * 7)
    together = apply_operation(images / 255, operation, 0.3, sign).double().numpy() * 255
    for row, name in enumerate(OPERATIONS):
        alone = ours(images[row : row + 1], name, 9, sign[row].item())
        assert np.abs(together[row : row + 1] - alone).max() < 1e-4


# ---- who gets which -------------------------------------------------------------------------


def drawn(monkeypatch, augment: RandAugment, count: int) -> list[tuple[Tensor, Tensor]]:
    """Operations and signs that an augmentation asks for, turn by turn."""
    asked = []

    def note(images, operation, strength, sign):
        asked.append((operation, sign))
        return images

    monkeypatch.setattr(randaugment, "apply_operation", note)
    key = keys(0, 0, torch.arange(count), "view")
    augment(torch.zeros(count, 1, 1, 1), uniform(key, augment.draws))
    return asked


def test_each_operation_is_drawn_a_fourteenth_of_the_time(monkeypatch):
    turns = drawn(monkeypatch, RandAugment(operations=3), 14_000)
    assert len(turns) == 3
    for operation, sign in turns:
        found = torch.bincount(operation, minlength=14)
        assert len(found) == 14
        assert (found - 1000).abs().max() < 4 * math.sqrt(1000 * 13 / 14)
        assert sign.sum().abs() < 4 * math.sqrt(14_000)
    pairs = torch.bincount(turns[0][0] * 14 + turns[1][0], minlength=196)
    assert pairs.min() > 30  # 71 expected: the second does not follow from the first


def test_an_operation_drawn_is_applied_with_the_probability(monkeypatch):
    ((operation, _),) = drawn(monkeypatch, RandAugment(operations=1, probability=0.4), 14_000)
    found = (operation > 0).sum().item()
    share = 0.4 * 13 / 14
    assert found == pytest.approx(share * 14_000, abs=4 * math.sqrt(14_000 * share * (1 - share)))


def test_without_probability_the_image_stays():
    images = noise() / 255
    augment = RandAugment(probability=0.0, magnitude=30.0)
    assert torch.equal(augment(images, torch.rand(2, augment.draws)), images)


@pytest.mark.parametrize("area", [None, (0.3, 1.0)])
def test_a_draw_depends_on_the_key_alone(area):
    images, key = noise(16), keys(0, 0, torch.arange(16), "view")
    augmentation = Augmentation(padding=4, randaugment=RandAugment(magnitude=15.0))
    view = ViewSpec(area=area)
    together = cut_view(images, key, view, augmentation, (32, 48))
    order = torch.arange(16).flip(0)
    turned = cut_view(images[order], key[order], view, augmentation, (32, 48))
    alone = cut_view(images[5:6], key[5:6], view, augmentation, (32, 48))
    torch.testing.assert_close(turned[order], together, atol=1e-6, rtol=0)
    torch.testing.assert_close(alone, together[5:6], atol=1e-6, rtol=0)


def test_a_view_gets_the_operations_of_its_own_key(monkeypatch):
    key, augment = keys(0, 0, torch.arange(64), "view"), RandAugment(magnitude=9.0)
    view = cut_view(noise(64), key, ViewSpec(), Augmentation(randaugment=augment), (32, 48))
    expected = augment(noise(64) / 255, uniform(key, 13 + augment.draws)[:, 13:])
    assert torch.equal(view, expected)
    assert not torch.equal(view, noise(64) / 255)


def test_objectives_whose_targets_are_pixels_never_get_it(monkeypatch):
    def refuse(*_):
        raise AssertionError("it was applied")

    monkeypatch.setattr(RandAugment, "__call__", refuse)
    images, key = noise(4), keys(0, 0, torch.arange(4), "view")
    for geometry in ({}, {"padding": 4}, {"flip": True}, {"shift": 0.1}):
        augmentation = Augmentation(randaugment=RandAugment(), **geometry)
        cut_view(images, key, ViewSpec(resample=False), augmentation, (32, 48))
        with pytest.raises(AssertionError, match="it was applied"):
            cut_view(images, key, ViewSpec(), augmentation, (32, 48))


def test_pixels_stay_between_zero_and_one():
    augment = RandAugment(operations=4, magnitude=30.0)
    key = keys(0, 0, torch.arange(200), "view")
    found = augment(noise(200) / 255, uniform(key, augment.draws))
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"operations": 0}, "operations must be at least 1, got 0"),
        ({"magnitude": 61.0}, r"magnitude must be in \[0, 60\], got 61.0"),
        ({"magnitude": -1.0}, r"magnitude must be in \[0, 60\], got -1.0"),
        ({"probability": 1.5}, r"probability must be in \[0, 1\], got 1.5"),
    ],
)
def test_a_wrong_setting_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        RandAugment(**settings)
