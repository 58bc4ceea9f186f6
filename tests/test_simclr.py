"""SimCLR's loss against the paper's algorithm, point by point, and over two processes."""

import math
from dataclasses import replace

import pytest
import torch

from builders import GREY, grouped, small_vit
from ranks import in_a_group
from vit.batch import Batch, ViewSpec
from vit.objectives import simclr
from vit.objectives.simclr import SimCLR, nt_xent

SMALL = {"outputs": 6, "hidden_width": 24, "local_crops": 2, "temperature": 0.5}


def objective(**settings) -> SimCLR:
    torch.manual_seed(0)
    return SimCLR(small_vit(), GREY, **grouped(SimCLR, **SMALL | settings))


def crops(count: int = 8, local: int = 2, epoch: int | None = 0) -> Batch:
    generator = torch.Generator().manual_seed(0)
    sides = [8, 8] + [4] * local
    views = [torch.randn(count, 1, side, side, generator=generator) for side in sides]
    return Batch(views, torch.zeros(count).long(), torch.arange(count), epoch=epoch)


def by_algorithm(first: torch.Tensor, second: torch.Tensor, temperature: float) -> torch.Tensor:
    """Algorithm 1: each point's loss from its cosines with all others, then their mean."""
    points = [z for pair in zip(first, second, strict=True) for z in pair]  # 2k and 2k + 1 agree
    losses = []
    for i, z in enumerate(points):
        chance = {
            j: (z @ other / z.norm() / other.norm() / temperature).exp()
            for j, other in enumerate(points)
            if j != i
        }
        losses.append(-(chance[i ^ 1] / sum(chance.values())).log())
    return sum(losses) / len(losses)


def compare(local: int, temperature: float) -> None:
    learner, projected = objective(local_crops=local, temperature=temperature), []
    learner.projector.register_forward_hook(lambda m, i, points: projected.append(points))
    losses = learner(crops(local=local), 0.0)
    projected[0].retain_grad()
    losses.loss.backward()
    exact = projected[0].detach().double().requires_grad_()
    points = exact.view(2 + local, 8, 6)
    pairs = [(i, j) for i in range(2) for j in range(2 + local) if j != i]
    loss = sum(by_algorithm(points[i], points[j], temperature) for i, j in pairs) / len(pairs)
    loss.backward()
    assert losses.loss.item() == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close(projected[0].grad.double(), exact.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("local", "temperature"), [(0, 0.5), (0, 0.1), (3, 0.5)])
def test_the_loss_and_its_gradient_are_the_algorithms(local, temperature):
    compare(local, temperature)


def contrasting_itself(first, second, temperature):
    points = torch.cat([first, second])
    logits = points @ points.T / temperature
    target = torch.arange(len(points)).roll(len(first))
    return torch.nn.functional.cross_entropy(logits, target), logits[0, 0]


FAULTS = {
    "itself among the negatives": contrasting_itself,
    "another temperature": lambda a, b, temperature: nt_xent(a, b, 2 * temperature),
    "one view's negatives only": lambda a, b, temperature: (
        torch.nn.functional.cross_entropy(a @ b.T / temperature, torch.arange(len(a))), a.mean()
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_would_be_noticed(monkeypatch, fault):
    monkeypatch.setattr(simclr, "nt_xent", FAULTS[fault])
    with pytest.raises(AssertionError):
        compare(0, 0.5)


def test_two_images_at_right_angles_by_hand():
    """Each point sees its own image at cosine 1 and two others at 0."""
    points = torch.eye(2)
    loss, matched = nt_xent(points, points, 0.5)
    assert loss.item() == pytest.approx(math.log(1 + 2 * math.exp(-2)))
    assert matched == 1
    alike = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert nt_xent(alike, alike, 0.5)[0].item() == pytest.approx(math.log(3))
    assert nt_xent(points[:1], points[:1], 0.5)[0] == 0, "an image alone has nobody to be mixed up"


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
    """Negatives of the other process, and their gradients, are counted too."""
    first, second = in_a_group(gradients, tmp_path)
    whole = gradients(None)
    assert first["loss"] == second["loss"]
    torch.testing.assert_close(first.pop("loss"), whole.pop("loss"))
    second.pop("loss")
    for name, gradient in whole.items():
        torch.testing.assert_close((first[name] + second[name]) / 2, gradient, rtol=1e-3, atol=1e-6)


def test_padding_is_nobodys_negative():
    learner, batch, padded = objective().eval(), crops(epoch=None), crops(epoch=None)
    padded.views = [torch.cat([view, 9 * view[:2]]) for view in padded.views]
    padded.labels, padded.index = torch.zeros(10).long(), torch.tensor([*range(8), -1, -1])
    first, second = (learner(b, 0.0).monitors for b in (batch, padded))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value)


def test_the_views_are_the_papers():
    (large,) = objective(local_crops=0).views
    assert large == ViewSpec(count=2, size=None, area=(0.08, 1.0), photometric=1.0)
    (blurred,) = objective(local_crops=0, distorted=True).views
    assert blurred == replace(large, blur=0.5)


def test_sixty_steps_tell_the_images_apart():
    learner = objective(local_crops=0)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(32, 1, 8, 8, generator=generator)
    seen = []
    for _ in range(60):
        noise = [images + 0.2 * torch.randn(32, 1, 8, 8, generator=generator) for _ in range(2)]
        batch = Batch(noise, torch.zeros(32).long(), torch.arange(32), epoch=0)
        optimizer.zero_grad()
        losses = learner(batch, 0.0)
        losses.loss.backward()
        optimizer.step()
        seen.append(losses)
    assert seen[0].monitors["matched"] < 0.6 < 0.9 < seen[-1].monitors["matched"]
    assert seen[-1].per_image["similarity"].mean() > 0.8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"global_crops": 3}, "SimCLR: crops.global_crops must be 2, got 3"),
        ({"temperature": 0.0}, "SimCLR: temperature must be above 0, got 0.0"),
        ({"outputs": 0}, "must be at least 1, got 24 and 0"),
    ],
)
def test_a_wrong_setting_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        objective(**settings)
