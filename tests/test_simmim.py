"""SimMIM hides whole units, scores hidden pixels only, and cannot see them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from builders import GREY, RGB, batch_of, small_vit
from vit.batch import Batch
from vit.objectives.simmim import SimMIM
from vit.patches import patchify


def objective(spec=RGB, **settings) -> SimMIM:
    return SimMIM(small_vit(spec, patch_size=2), spec, **settings)


def test_the_loss_is_the_paper_s_l1_over_hidden_pixels():
    learner, batch = objective(), batch_of(RGB)
    mask = learner.mask(batch)
    predicted = learner.predicted(batch.images, mask).detach().numpy()
    target = patchify(batch.images, 2).numpy()
    hidden = mask.numpy()[..., None]
    # the released code: sum of |error| over hidden pixels / number of hidden pixels / channels
    expected = np.abs((predicted - target) * hidden).sum() / (hidden.sum() * 4) / 3
    assert learner(batch, 0.0).loss.item() == pytest.approx(expected, rel=1e-5)


def test_units_are_hidden_whole_and_sixty_percent_of_them():
    mask = objective().mask(batch_of(RGB)).view(4, 4, 2, 4, 2)
    whole = mask.all((2, 4))
    assert torch.equal(whole, mask.any(4).any(2))
    assert whole.flatten(1).sum(1).tolist() == [10] * 4


def test_the_share_of_units_is_rounded_up_as_in_the_papers_code():
    """49 units of a 224 px image at 0.6: 29.4, so 30."""
    learner = objective(replace(GREY, image_size=(28, 28)))
    batch = Batch([torch.zeros(3, 1, 28, 28)], torch.zeros(3).long(), torch.arange(3), epoch=0)
    assert learner.mask(batch).sum(1).tolist() == [30 * 4] * 3


def test_hidden_pixels_do_not_reach_the_prediction():
    learner, batch = objective(), batch_of(RGB)
    mask = learner.mask(batch)
    batch.images.requires_grad_()
    learner.predicted(batch.images, mask)[..., 0].sum().backward()
    felt = patchify(batch.images.grad, 2).abs().amax(-1)
    assert felt[mask].max() == 0
    assert felt[~mask].min() > 0


def test_guesses_read_what_is_seen_and_nothing_else():
    """Left half bright, right half dark; one bright patch is hidden."""
    learner = objective(GREY, unit=1)
    images = torch.ones(1, 1, 8, 8)
    images[..., 4:] = -1
    mask = torch.zeros(1, 16, dtype=torch.bool)
    mask[0, 0] = True
    target = patchify(images, 2)
    target[mask] = 100.0
    guesses = learner.guesses(target, mask)
    assert guesses["mean_colour"][0, 0].tolist() == pytest.approx([(7 - 8) / 15] * 4)
    assert guesses["neighbours"][0, 0].tolist() == [1.0] * 4


def test_what_is_explained_begins_at_one_mean_colour():
    learner, batch = objective().eval(), batch_of(RGB, epoch=None)
    found = {name: values.detach() for name, values in learner(batch, 0.0).per_image.items()}
    means = learner.summary({name: values.mean() for name, values in found.items()})
    assert means["explained_by_mean_colour"] == 0
    saved = 1 - means["loss"] / found["mean_colour"].mean()
    assert means["explained"] == pytest.approx(saved.item())
    assert set(means) == {
        "loss",
        "explained",
        "explained_by_neighbours",
        learner.trivial_baseline[1][4:],
    }


def test_pictures_show_what_was_hidden():
    learner, batch = objective(GREY, unit=1), batch_of(GREY)
    pictures = learner.pictures(batch)
    assert {name: tuple(p.shape) for name, p in pictures.items()} == dict.fromkeys(
        ("input", "hidden", "rebuilt"), (4, 1, 8, 8)
    )
    assert all(p.min() >= 0 and p.max() <= 1 for p in pictures.values())


@pytest.mark.parametrize(
    ("settings", "words"), [({"mask_ratio": 1.0}, "mask_ratio"), ({"unit": 3}, "unit 3")]
)
def test_wrong_settings_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        objective(**settings)
