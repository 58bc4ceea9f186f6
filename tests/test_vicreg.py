"""VICReg's three terms against float64 formulas, one number at a time, and over two processes."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from builders import GREY, grouped, small_vit
from ranks import in_a_group
from vit.batch import Batch, ViewSpec
from vit.objectives import vicreg
from vit.objectives.vicreg import VICReg, covariance_term, distance, variance_term

SMALL = {"outputs": 6, "hidden_width": 24, "local_crops": 2}


def objective(**settings) -> VICReg:
    torch.manual_seed(0)
    return VICReg(small_vit(), GREY, **grouped(VICReg, **SMALL | settings))


def crops(count: int = 8, local: int = 2, epoch: int | None = 0) -> Batch:
    generator = torch.Generator().manual_seed(0)
    sides = [8, 8] + [4] * local
    views = [torch.randn(count, 1, side, side, generator=generator) for side in sides]
    return Batch(views, torch.zeros(count).long(), torch.arange(count), epoch=epoch)


def by_formula(points: torch.Tensor) -> dict[str, torch.Tensor]:
    """The terms of section 4, view by view and pair by pair; scaled as the released code."""
    views, _, width = points.shape
    pairs = [(i, j) for i in range(2) for j in range(views) if j != i]
    invariance = sum(F.mse_loss(points[i], points[j]) for i, j in pairs) / len(pairs)
    variance = sum((1 - (x.var(0) + 1e-4).sqrt()).clamp(min=0).mean() for x in points) / views
    covariance = 0
    for x in points:
        matrix = torch.cov(x.T)
        entries = [matrix[i, j] ** 2 for i in range(width) for j in range(width) if i != j]
        covariance = covariance + sum(entries) / width
    return {"invariance": invariance, "variance": variance, "covariance": 2 * covariance / views}


def compare(local: int) -> None:
    learner, embedded = objective(local_crops=local), []
    learner.expander.register_forward_hook(lambda m, i, points: embedded.append(points))
    losses = learner(crops(local=local), 0.0)
    embedded[0].retain_grad()
    losses.loss.backward()
    exact = embedded[0].detach().double().requires_grad_()
    terms = by_formula(exact.view(2 + local, 8, 6))
    loss = 25 * terms["invariance"] + 25 * terms["variance"] + terms["covariance"]
    loss.backward()
    for name, term in terms.items():
        assert losses.monitors[name].item() == pytest.approx(term.item(), rel=1e-5), name
    assert losses.loss.item() == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close(embedded[0].grad.double(), exact.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("local", [0, 3])
def test_the_loss_and_its_gradient_are_the_formulas(local):
    compare(local)


FAULTS = {
    "distance": lambda points: distance(points[:2]),
    "variance_term": lambda points: F.relu(1 - points.var(1)).mean(),
    "covariance_term": lambda points: covariance_term(points) / 2,
}


@pytest.mark.parametrize("term", FAULTS)
def test_a_fault_in_each_term_would_be_noticed(monkeypatch, term):
    monkeypatch.setattr(vicreg, term, FAULTS[term])
    with pytest.raises(AssertionError):
        compare(3)


def test_the_terms_of_four_points_worked_out_by_hand():
    """Two views of four images: deviations 2 / sqrt(3) and 0; the second view is the first + 3."""
    first = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    points = torch.stack([first, first + 3])
    assert distance(points).tolist() == [9.0] * 4
    assert variance_term(points).item() == pytest.approx((0 + 1 - 0.01) / 2)
    assert covariance_term(points).item() == 0
    equal = first[:, :1].expand(-1, 2)  # both numbers say the same: covariance 4 / 3
    twice = torch.stack([equal, equal])
    assert covariance_term(twice).item() == pytest.approx(2 * 2 * (4 / 3) ** 2 / 2)


def gradients(rank: int | None) -> dict[str, torch.Tensor]:
    """All of them, from eight images or this rank's four."""
    learner, batch = objective(), crops()
    if rank is not None:
        part = slice(4 * rank, 4 * rank + 4)
        batch = replace(batch, views=[v[part] for v in batch.views], index=batch.index[part])
    losses = learner(batch, 0.0)
    losses.loss.backward()
    found = {name: p.grad for name, p in learner.named_parameters()}
    return found | {"loss": losses.loss.detach()}


def test_two_processes_have_the_gradient_of_one(tmp_path):
    first, second = in_a_group(gradients, tmp_path)
    whole = gradients(None)
    assert first["loss"] == second["loss"]
    torch.testing.assert_close(first.pop("loss"), whole.pop("loss"))
    second.pop("loss")
    for name, gradient in whole.items():
        torch.testing.assert_close((first[name] + second[name]) / 2, gradient, rtol=1e-3, atol=1e-5)


def test_padding_stays_out_of_the_terms():
    learner, batch, padded = objective().eval(), crops(epoch=None), crops(epoch=None)
    padded.views = [torch.cat([view, 9 * view[:2]]) for view in padded.views]
    padded.labels, padded.index = torch.zeros(10).long(), torch.tensor([*range(8), -1, -1])
    first, second = (learner(b, 0.0) for b in (batch, padded))
    for name, value in first.monitors.items():
        torch.testing.assert_close(second.monitors[name], value)
    one = replace(padded, index=torch.tensor([3] + [-1] * 9))
    assert all(value.isfinite() for value in learner(one, 0.0).monitors.values())


def test_the_views_are_the_papers():
    (large,) = objective(local_crops=0).views
    assert large == ViewSpec(count=2, size=None, area=(0.08, 1.0), photometric=0.5)
    views = objective(local_crops=0, distorted=True).views
    assert [(view.count, view.blur, view.solarise) for view in views] == [(1, 1, 0), (1, 0.1, 0.2)]


def test_sixty_steps_pull_views_together_and_keep_the_numbers_apart():
    learner = objective(local_crops=0)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(32, 1, 8, 8, generator=generator)
    seen = []
    for _ in range(60):
        noise = [images + 0.1 * torch.randn(32, 1, 8, 8, generator=generator) for _ in range(2)]
        batch = Batch(noise, torch.zeros(32).long(), torch.arange(32), epoch=0)
        optimizer.zero_grad()
        losses = learner(batch, 0.0)
        losses.loss.backward()
        optimizer.step()
        seen.append(losses.monitors)
    assert seen[-1]["invariance"] < 0.2
    assert seen[-1]["deviation"] > 0.8 > 0.6 > seen[0]["deviation"]
    assert seen[-1]["covariance"] < 0.5 * max(monitors["covariance"] for monitors in seen)


def test_without_the_variance_term_all_images_become_one():
    learner = objective(variance=0.0, covariance=0.0, local_crops=0)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        losses = learner(crops(16, local=0), 0.0)
        losses.loss.backward()
        optimizer.step()
    assert losses.monitors["deviation"] < 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"global_crops": 1}, "VICReg: crops.global_crops must be 2, got 1"),
        ({"covariance": -1.0}, "VICReg: covariance must be at least 0, got -1.0"),
        ({"outputs": 1}, "outputs at least 2, got 24 and 1"),
    ],
)
def test_a_wrong_setting_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        objective(**settings)
