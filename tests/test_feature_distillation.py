"""Feature distillation against numpy; the teacher stays outside, in its own size and pixels."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from builders import RGB, batch_of, saved_encoder, small_vit
from vit.models.frozen_encoder import frozen_encoder
from vit.objectives.feature_distillation import FeatureDistillation

LARGE = replace(RGB, image_size=(24, 24), mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))


@pytest.fixture
def teacher(tmp_path) -> str:
    """48 wide, 3 deep, patches of 6 px, another normalisation than the student's data."""
    encoder = small_vit(LARGE, width=48, depth=3, heads=3, patch_size=6)
    return str(saved_encoder(encoder, tmp_path / "teacher", LARGE))


def learner(teacher: str, **settings) -> FeatureDistillation:
    return FeatureDistillation(small_vit(RGB, patch_size=2), RGB, teacher, **settings)


def test_the_loss_is_the_papers(teacher):
    objective, batch = learner(teacher, patch_weight=0.25), batch_of(RGB)
    losses = objective(batch, 0.0)
    ours, theirs = (
        objective.encoder(batch.images),
        objective.teacher(objective.pixels(batch.images)),
    )

    def expected(layer, student, target):
        x = layer(student).detach().double().numpy()
        y = target.double().numpy()
        y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5)
        gap = np.abs(x - y)
        return np.where(gap < 2, gap**2 / 4, gap - 1).mean(-1)

    pooled = expected(objective.pooled_layer, ours.pooled, theirs.pooled)
    patches = expected(objective.patch_layer, ours.tokens, theirs.tokens).mean(1)
    loss = losses.per_image["loss"].detach().numpy()
    np.testing.assert_allclose(loss, 0.75 * pooled + 0.25 * patches, rtol=1e-4)
    assert losses.loss.item() == pytest.approx(loss.mean(), rel=1e-6)


def test_the_teacher_sees_the_picture_in_its_own_size_and_normalisation(teacher):
    trained, batch = frozen_encoder(teacher, (8, 8), 3), batch_of(RGB)
    pixels = batch.images.sigmoid()
    assert trained.size == (48, 48)  # eight patches of 6 px, as the student has eight of 2
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (LARGE.mean, LARGE.std))
    large = F.interpolate(pixels, (48, 48), mode="bilinear", antialias=True)
    expected = trained.encoder((large - mean) / std)
    assert torch.equal(trained(pixels).pooled, expected.pooled)
    assert trained(pixels).tokens.shape == (4, 64, 48)


def test_the_teacher_is_no_part_of_what_is_saved_trained_or_copied(teacher):
    objective = learner(teacher)
    before = objective.teacher.module.key()
    objective.train()(batch_of(RGB), 0.0).loss.backward()
    assert [name for name in objective.state_dict() if "teacher" in name] == ["teacher_key"]
    assert all(p.grad is None for p in objective.teacher.module.parameters())
    assert not any(part.training for part in objective.teacher.module.modules())
    assert objective.teacher.module.key() == before


def test_a_run_does_not_go_on_with_another_teacher(teacher, tmp_path):
    first = learner(teacher)
    torch.manual_seed(5)
    other = small_vit(LARGE, width=48, depth=1, heads=3, patch_size=6)
    second = learner(str(saved_encoder(other, tmp_path / "other", LARGE)))
    with pytest.raises(ValueError, match="the teacher has changed since the run began"):
        second.load_state_dict(first.state_dict())


def test_it_learns_without_labels(teacher):
    objective, batch = learner(teacher), batch_of(RGB, count=16)
    without = replace(batch, labels=torch.full_like(batch.labels, -1))
    optimizer = torch.optim.AdamW(objective.parameters(), lr=3e-3)
    first = objective(without, 0.0)
    for _ in range(30):
        optimizer.zero_grad()
        losses = objective(without, 0.0)
        losses.loss.backward()
        optimizer.step()
    assert losses.loss < 0.7 * first.loss
    cosines = [one.per_image["teacher_cosine"].mean().item() for one in (first, losses)]
    assert cosines[1] > cosines[0] + 0.2


@pytest.mark.parametrize(
    ("settings", "line"),
    [({"teacher": ""}, "teacher must name a run"), ({"patch_weight": 1.5}, "must be in [0, 1]")],
)
def test_a_wrong_setting_is_one_line(teacher, settings, line):
    with pytest.raises(ValueError, match="FeatureDistillation") as told:
        learner(**({"teacher": teacher} | settings))
    assert line in str(told.value)
