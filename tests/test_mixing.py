"""Mixup and CutMix against scipy, timm's loop and the mixed target of the papers."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from builders import GREY, batch_of, small_vit
from vit.batch import Batch
from vit.objectives.parts import mixing
from vit.objectives.parts.mixing import Mixing, beta_table, boxes, interpolated
from vit.objectives.supervised import Supervised
from vit.randomness import keys, uniform

MANY = 20_000
KEYS = keys(0, 0, torch.arange(64), "mixing")


def pictures(count: int = 64, height: int = 8, width: int = 12) -> Tensor:
    """Normalised pixels, no two alike."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, height, width, generator=generator)


def by_algorithm_1(weight: float, centre: list[float], size: tuple[int, int]) -> np.ndarray:
    """True inside the box, with the arithmetic of timm's rand_bbox."""
    height, width = size
    ratio = np.sqrt(1 - weight)
    tall, wide = int(height * ratio), int(width * ratio)
    y, x = int(centre[0] * height), int(centre[1] * width)
    top, bottom = np.clip([y - tall // 2, y + tall // 2], 0, height)
    left, right = np.clip([x - wide // 2, x + wide // 2], 0, width)
    inside = np.zeros(size, dtype=bool)
    inside[top:bottom, left:right] = True
    return inside


# ---- the draws ------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.2, 0.8, 1.0, 4.0])
def test_weights_are_drawn_from_the_beta_of_scipy(alpha):
    u = uniform(keys(0, 0, torch.arange(MANY), "mixing"), 1)[:, 0]
    weight = interpolated(beta_table(alpha).expand(MANY, -1), u).double().numpy()
    law = stats.beta(alpha, alpha)
    places = np.linspace(0.005, 0.995, 199)  # float32 rounds what is closer to 1 together
    below = (weight[:, None] <= places).mean(0)
    assert np.abs(below - law.cdf(places)).max() < 1.95 / math.sqrt(MANY)  # Kolmogorov, 0.1 %
    assert weight.mean() == pytest.approx(0.5, abs=4 * law.std() / math.sqrt(MANY))
    assert weight.var() == pytest.approx(law.var(), rel=0.03)


@pytest.mark.parametrize("alpha", [0.2, 0.8, 1.0, 4.0])
def test_a_quantile_is_the_one_of_scipy(alpha):
    u = torch.tensor([0.0, 0.01, 0.1, 0.25, 0.5, 0.7, 0.99])
    found = interpolated(beta_table(alpha).expand(len(u), -1), u).double().numpy()
    expected = stats.beta(alpha, alpha).ppf(u.double().numpy())
    assert np.abs(found - expected).max() < 1e-5
    last = interpolated(beta_table(alpha)[None], torch.tensor([1 - 2**-24]))
    assert 0.999 < last.item() <= 1


def test_shares_of_the_batch_are_those_asked_for():
    images, key = torch.zeros(MANY, 1, 1, 1), keys(0, 0, torch.arange(MANY), "mixing")
    images[:, 0, 0, 0] = torch.arange(MANY)
    blended = Mixing(mixup=1.0, cutmix=0.0, probability=0.3)(images, key).weight < 1
    assert blended.sum().item() == pytest.approx(0.3 * MANY, abs=4 * math.sqrt(0.21 * MANY))
    weight = Mixing(mixup=1.0, cutmix=1.0, switch=0.25)(images, key).weight
    cut = (weight == 0) | (weight == 1)  # one pixel is cut out or it is not
    assert cut.sum().item() == pytest.approx(0.25 * MANY, abs=4 * math.sqrt(0.19 * MANY))


# ---- the pixels -----------------------------------------------------------------------------


def test_boxes_are_those_of_timms_loop():
    generator = torch.Generator().manual_seed(1)
    weight = torch.rand(500, generator=generator)
    weight[:2] = torch.tensor([0.0, 1.0])
    centre = torch.rand(500, 2, generator=generator)
    for size in ((8, 12), (7, 5), (32, 32)):
        found = boxes(weight, centre, size).numpy()
        for row in range(500):
            expected = by_algorithm_1(weight[row].item(), centre[row].tolist(), size)
            assert np.array_equal(found[row], expected)


def test_mixup_is_the_weighted_sum_of_two_images():
    images = pictures()
    mixed = Mixing(mixup=0.8, cutmix=0.0)(images, KEYS)
    w = mixed.weight.double().numpy()[:, None, None, None]
    x = images.double().numpy()
    expected = w * x + (1 - w) * np.roll(x, -32, axis=0)
    assert np.abs(mixed.images.numpy() - expected).max() < 1e-6
    assert mixed.partner.tolist() == [*range(32, 64), *range(32)]
    assert mixed.weight.std() > 0.1


def test_every_pixel_of_cutmix_is_one_of_the_two_images():
    images = pictures()
    mixed = Mixing(mixup=0.0, cutmix=1.0)(images, KEYS)
    own = (mixed.images == images).all(1)
    other = (mixed.images == images.roll(-32, 0)).all(1)
    assert torch.equal(own, ~other)
    assert 0.2 < own.float().mean() < 0.9


def test_the_weight_is_the_share_of_pixels_that_are_the_images_own():
    images = pictures()
    mixed = Mixing(mixup=0.0, cutmix=1.0)(images, KEYS)
    own = (mixed.images == images).all(1).double().mean((1, 2))
    torch.testing.assert_close(mixed.weight.double(), own, atol=1e-6, rtol=0)
    drawn = interpolated(beta_table(1.0).expand(64, -1), uniform(KEYS, 5)[:, 2])
    assert (mixed.weight > drawn + 0.05).any()  # boxes that stick out, so the test is awake


def test_cutmix_cuts_the_box_around_its_drawn_centre():
    images = pictures()
    mixed = Mixing(mixup=0.0, cutmix=1.0)(images, KEYS)
    draw = uniform(KEYS, 5)
    weight = interpolated(beta_table(1.0).expand(64, -1), draw[:, 2])
    for row in range(64):
        box = by_algorithm_1(weight[row].item(), draw[row, 3:].tolist(), (8, 12))
        pasted = (mixed.images[row] != images[row]).all(0).numpy()
        assert np.array_equal(pasted, box)


def test_a_shifted_box_would_be_noticed(monkeypatch):
    """A planted fault: if this passes with boxes one pixel off, the tests above are asleep."""
    honest = mixing.boxes
    monkeypatch.setattr(mixing, "boxes", lambda *settings: honest(*settings).roll(1, 2))
    with pytest.raises(AssertionError):
        test_cutmix_cuts_the_box_around_its_drawn_centre()


@pytest.mark.parametrize("settings", [{"cutmix": 0.0}, {"mixup": 0.0}, {}])
def test_a_draw_depends_on_the_key_alone(settings):
    images, order = pictures(), torch.arange(64).flip(0)
    blend = Mixing(**settings)
    straight, turned = blend(images, KEYS), blend(images[order], KEYS[order])
    assert torch.equal(turned.weight[order], straight.weight)
    assert len(set(straight.weight.tolist())) > 10
    white = torch.ones_like(images)
    white[::2] = 0  # the neighbours differ: pasted and blended pixels show
    shown = blend(white, KEYS).images
    assert torch.equal(blend(white[order], KEYS[order]).images[order], shown)


def test_probability_zero_leaves_images_equal_bit_for_bit():
    images = pictures()
    mixed = Mixing(probability=0.0)(images, KEYS)
    assert torch.equal(mixed.images, images)
    assert mixed.weight.tolist() == [1.0] * 64


def test_images_of_half_precision_stay_so():
    assert Mixing()(pictures().bfloat16(), KEYS).images.dtype is torch.bfloat16


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mixup": -1.0}, "at least 0 .* got -1.0 and 1.0"),
        ({"cutmix": -0.5}, "at least 0 .* got 0.8 and -0.5"),
        ({"mixup": 0.0, "cutmix": 0.0}, "for none set mixing: null"),
        ({"probability": 1.1}, r"probability must be in \[0, 1\], got 1.1"),
        ({"switch": -0.1}, r"switch must be in \[0, 1\], got -0.1"),
        ({"until": 2.0}, r"until must be in \[0, 1\], got 2.0"),
    ],
)
def test_a_wrong_setting_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Mixing(**settings)


# ---- the loss -------------------------------------------------------------------------------


def objective(**settings) -> Supervised:
    """With a head that is not zero, so that images differ."""
    built = Supervised(small_vit(), GREY, **settings)
    torch.nn.init.normal_(built.head.weight)
    return built


def mixed_targets(mixed: mixing.Mixed, labels: Tensor, smoothing: float) -> np.ndarray:
    """Of the papers: both one-hot labels by their shares, then smoothed."""
    one_hot = np.eye(10)[labels.numpy()]
    w = mixed.weight.double().numpy()[:, None]
    target = w * one_hot + (1 - w) * np.roll(one_hot, -(len(labels) // 2), axis=0)
    return target * (1 - smoothing) + smoothing / 10


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_the_loss_is_the_one_of_the_mixed_target(kind, smoothing):
    learner = objective(loss=kind, label_smoothing=smoothing, mixing=Mixing())
    batch = batch_of(count=16)
    mixed = learner.mixing(batch.images, batch.keys("mixing"))
    target = torch.from_numpy(mixed_targets(mixed, batch.labels, smoothing))
    logits = learner.predict(mixed.images)["logits"].detach().double()
    if kind == "softmax":
        expected = F.cross_entropy(logits, target, reduction="none")
    else:
        chance = torch.sigmoid(logits)
        expected = -(target * chance.log() + (1 - target) * (1 - chance).log()).sum(1)
    losses = learner(batch, 0.0)
    torch.testing.assert_close(
        losses.per_image["loss"].double(), expected, atol=1e-4, rtol=1e-4, check_dtype=False
    )
    assert losses.loss.item() == pytest.approx(expected.mean().item(), rel=1e-5)


def test_accuracy_asks_for_the_label_of_the_larger_part(monkeypatch):
    learner = objective(mixing=Mixing())
    blended = mixing.Mixed(
        torch.zeros(3, 1, 8, 8), torch.tensor([1, 2, 0]), torch.tensor([0.9, 0.4, 0.5])
    )
    monkeypatch.setattr(learner.mixing, "forward", lambda images, key: blended)
    monkeypatch.setattr(learner, "predict", lambda _: {"logits": torch.eye(10)[[3, 3, 3]]})
    batch = Batch([torch.zeros(3, 1, 8, 8)], torch.tensor([3, 5, 3]), torch.arange(3), epoch=0)
    assert learner(batch, 0.0).per_image["accuracy"].tolist() == [1, 1, 1]
    swapped = replace(batch, labels=torch.tensor([5, 3, 5]))
    assert learner(swapped, 0.0).per_image["accuracy"].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("epoch", "progress", "blends"),
    [(0, 0.0, True), (0, 0.57, True), (0, 0.58, False), (0, 1.0, False), (None, 0.0, False)],
)
def test_nothing_is_blended_in_evaluation_and_after_until(epoch, progress, blends):
    learner = objective(mixing=Mixing(until=0.58))
    batch = batch_of(count=8, epoch=epoch)
    logits = learner.predict(batch.images)["logits"]
    plain = F.cross_entropy(logits, batch.labels, reduction="none")
    assert torch.equal(learner(batch, progress).per_image["loss"], plain) != blends


def test_without_mixing_there_is_no_picture_of_it_and_with_it_pixels_are_shown():
    assert objective().pictures(batch_of()) == {}
    batch = batch_of(count=8)
    learner = objective(mixing=Mixing(mixup=0.0))
    shown = learner.pictures(batch)["mixed"]
    mixed = learner.mixing(batch.images, batch.keys("mixing")).images
    torch.testing.assert_close(shown, (mixed * 0.5 + 0.5).clamp(0, 1))
