"""LeJEPA's two terms against NumPy, its statistic against theory, its gradient over ranks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from builders import GREY, grouped, small_vit
from vit.batch import Batch, ViewSpec
from vit.objectives import lejepa
from vit.objectives.lejepa import LeJEPA, sigreg

SMALL = {"outputs": 8, "hidden_width": 24, "directions": 32, "local_crops": 2}


def objective(**settings) -> LeJEPA:
    torch.manual_seed(0)
    return LeJEPA(small_vit(), GREY, **grouped(LeJEPA, **SMALL | settings))


def crops(count: int = 6, seed: int = 0, local: int = 2, epoch: int | None = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    sides = [8, 8] + [4] * local
    views = [torch.randn(count, 1, side, side, generator=generator) for side in sides]
    return Batch(views, torch.zeros(count).long(), torch.arange(count), epoch=epoch)


def by_formula(points: np.ndarray, directions: np.ndarray) -> float:
    """The integral over [-3, 3] by scipy instead of 17 knots, direction by direction."""
    statistics = []
    for view in points:
        for direction in directions.T:
            x = view @ direction

            def error(t, x=x):
                sample, normal = np.exp(1j * t * x).mean(), np.exp(-(t**2) / 2)
                return abs(sample - normal) ** 2 * np.exp(-(t**2) / 2)

            statistics.append(len(view) * quad(error, -3, 3, epsabs=1e-9)[0])
    return float(np.mean(statistics))


def test_the_statistic_is_the_integral_of_the_paper():
    points = torch.randn(2, 40, 4, generator=torch.Generator().manual_seed(1)) * 1.5 + 0.3
    directions = objective(outputs=4, directions=6).unit_vectors(3)
    knots = torch.linspace(0, 3, 17)
    ours = sigreg(points, directions, knots, 40).item()
    expected = by_formula(points.double().numpy(), directions.double().numpy())
    assert ours == pytest.approx(expected, rel=0.01)


def test_a_normal_cloud_scores_about_one_and_others_far_more():
    """The expectation for a normal sample: integral of (1 - exp(-t^2)) exp(-t^2 / 2)."""
    expected = quad(lambda t: (1 - np.exp(-(t**2))) * np.exp(-(t**2) / 2), -3, 3)[0]
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(4, 500, 16, generator=generator)
    directions, knots = (
        objective(outputs=16, directions=256).unit_vectors(0),
        torch.linspace(0, 3, 17),
    )
    assert sigreg(normal, directions, knots, 500).item() == pytest.approx(expected, rel=0.1)
    collapsed = torch.zeros(4, 500, 16)
    line = torch.randn(4, 500, 1, generator=generator).expand(-1, -1, 16)
    for cloud in (collapsed, line, normal * 3, normal + 2):
        assert sigreg(cloud, directions, knots, 500) > 20 * expected


def test_the_loss_is_the_weighted_sum_of_both_terms():
    learner, batch = objective(weight=0.3), crops()
    seen = []
    learner.projector.register_forward_hook(lambda m, i, o: seen.append(o))
    losses = learner(batch, 0.25)
    points = seen[0].view(4, 6, 8).detach()
    centre = points[:2].mean(0)
    agreement = ((points - centre) ** 2).numpy().mean((0, 2))
    torch.testing.assert_close(losses.per_image["agreement"].detach().numpy(), agreement)
    normality = losses.monitors["normality"].item()
    assert losses.loss.item() == pytest.approx(0.7 * agreement.mean() + 0.3 * normality, rel=1e-5)


def test_directions_are_unit_vectors_that_change_with_progress_alone(monkeypatch):
    learner, asked = objective(), []
    honest = learner.unit_vectors
    monkeypatch.setattr(learner, "unit_vectors", lambda seed: asked.append(seed) or honest(seed))
    for progress, epoch in ((0.1, 0), (0.1, 0), (0.2, 0), (0.1, None), (0.9, None)):
        learner(crops(epoch=epoch), progress)
    assert asked[0] == asked[1] != asked[2]
    assert asked[3] == asked[4]
    vectors = honest(7)
    torch.testing.assert_close(vectors.norm(dim=0), torch.ones(32))
    wide = objective(outputs=64, directions=512).unit_vectors(1)
    assert wide.mean().abs() < 0.01
    assert (wide.T @ wide - torch.eye(512)).abs().mean() < 0.15, "spread over all directions"


def test_ranks_that_average_their_gradients_get_that_of_the_whole_batch(monkeypatch):
    points = torch.randn(1, 10, 4, generator=torch.Generator().manual_seed(2))
    directions, knots = objective(outputs=4).unit_vectors(0), torch.linspace(0, 3, 17)
    whole = points.clone().requires_grad_()
    sigreg(whole, directions, knots, 10).backward()
    halves = [part.clone().requires_grad_() for part in points.split(5, 1)]
    angles = (points @ directions)[..., None] * knots
    means = [part.mean(1) for part in (angles.cos(), angles.sin())]
    monkeypatch.setattr(lejepa, "world_size", lambda: 2)
    for half in halves:
        of_all = iter(means)
        monkeypatch.setattr(lejepa, "sum_over_ranks", lambda own, of_all=of_all: next(of_all))
        sigreg(half, directions, knots, 10).backward()
    averaged = torch.cat([half.grad for half in halves], 1) / 2
    torch.testing.assert_close(averaged, whole.grad)


def test_padding_stays_out_of_the_cloud():
    learner = objective().eval()
    batch = crops(epoch=None)
    padded = crops(epoch=None)
    padded.views = [torch.cat([view, 9 * view[:2]]) for view in padded.views]
    padded.labels = torch.zeros(8).long()
    padded.index = torch.tensor([*range(6), -1, -1])
    first, second = (learner(b, 0.0).monitors["normality"] for b in (batch, padded))
    torch.testing.assert_close(first, second)


def test_a_rank_with_nothing_but_padding_adds_nothing(monkeypatch):
    """Of seven images two ranks look at six and one: what the other lacks is not 0 / 0."""
    learner, batch = objective().eval(), crops(epoch=None)
    alone = learner(batch, 0.0).monitors
    sent = []
    monkeypatch.setattr(lejepa, "sum_over_ranks", lambda own: sent.append(own) or own)
    learner(batch, 0.0)
    full = iter(sent)
    monkeypatch.setattr(lejepa, "world_size", lambda: 2)
    monkeypatch.setattr(lejepa, "sum_over_ranks", lambda own: own + next(full))
    nothing = replace(batch, index=torch.full((6,), -1))
    found = learner(nothing, 0.0).monitors
    assert found.keys() == alone.keys()
    for name, value in alone.items():
        torch.testing.assert_close(found[name], value)


def test_the_views_are_the_papers():
    large, small = objective(local_crops=6, local_size=4).views
    assert large == ViewSpec(count=2, size=None, area=(0.3, 1.0), photometric=0.5)
    assert small == ViewSpec(count=6, size=4, area=(0.05, 0.3), photometric=0.5)


def test_distorted_views_are_those_of_the_papers_example():
    views = objective(local_crops=6, local_size=4, distorted=True).views
    assert [(view.count, view.blur, view.solarise) for view in views] == [
        (2, 0.5, 0.2), (6, 0.5, 0.2)
    ]  # fmt: skip


def test_fifty_steps_pull_views_together_and_keep_the_cloud_apart():
    learner = objective(weight=0.1)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(32, 1, 8, 8, generator=generator)
    first = None
    for step in range(60):
        noise = [images + 0.1 * torch.randn(32, 1, 8, 8, generator=generator) for _ in range(2)]
        batch = Batch(noise, torch.zeros(32).long(), torch.arange(32), epoch=0)
        optimizer.zero_grad()
        losses = learner(batch, step / 60)
        losses.loss.backward()
        optimizer.step()
        first = first or losses.monitors["normality"].item()
    assert losses.monitors["normality"] < 0.2 * first
    assert losses.monitors["spread"] > 0.5


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"global_crops": 0}, "at least one large view"),
        ({"global_crops": 1, "local_crops": 0}, "two views in all"),
        ({"weight": 1.5}, r"weight must be in \[0, 1\], got 1.5"),
        ({"knots": 1}, "knots at least 2, got 8, "),
        ({"local_size": 3}, "MultiCrop: local_size must be a multiple of patch_size 2 up to"),
        ({"local_area": (0.5, 0.1)}, "MultiCrop: local_area must rise"),
    ],
)
def test_a_wrong_setting_is_named(settings, words):
    with pytest.raises(ValueError, match=words):
        objective(**settings)
