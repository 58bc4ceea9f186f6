"""Counted operations agree with the formula on paper, and counting leaves no trace."""

import pytest
import torch

from builders import GREY, RGB, small_vit
from vit.flops import training_flops
from vit.objectives.dino import DINO
from vit.objectives.mpp import MaskedPatchPrediction
from vit.objectives.supervised import Supervised


def forward_macs(side: int, channels: int, patch: int, d: int, depth: int, classes: int) -> int:
    """Multiply-adds of one image: patches, blocks (q k v, output, MLP, attention), head."""
    patches = (side // patch) ** 2
    n, mlp = patches + 1, 4 * d
    blocks = depth * (4 * n * d**2 + 2 * n * d * mlp + 2 * n**2 * d)
    return patches * channels * patch**2 * d + blocks + d * classes


@pytest.mark.parametrize(
    ("spec", "side", "depth", "classes"), [(GREY, 8, 2, 10), (GREY, 8, 5, 10), (RGB, 16, 2, 3)]
)
def test_a_step_costs_three_forwards_of_two_operations_a_multiply_add(spec, side, depth, classes):
    objective = Supervised(small_vit(spec, depth=depth), spec)
    expected = 3 * 2 * forward_macs(side, spec.channels, 2, 32, depth, classes)
    assert training_flops(objective, spec) == pytest.approx(expected, rel=0.05)


def test_a_frozen_encoder_costs_one_forward():
    objective = Supervised(small_vit(), GREY)
    objective.encoder.requires_grad_(False)
    expected = 2 * forward_macs(8, 1, 2, 32, 2, 10)
    assert training_flops(objective, GREY) == pytest.approx(expected, rel=0.05)


def test_two_large_views_and_their_teacher_cost_eight_forwards():
    tiny_head = {"prototypes": 8, "hidden": 8, "bottleneck": 8, "local_crops": 0}
    objective = DINO(small_vit(), GREY, **tiny_head)
    forward = 2 * forward_macs(8, 1, 2, 32, 2, 0)
    assert training_flops(objective, GREY) == pytest.approx((2 * 3 + 2) * forward, rel=0.05)


@pytest.mark.parametrize("objective", [Supervised, MaskedPatchPrediction, DINO])
def test_counting_changes_nothing(objective):
    settings = {"prototypes": 8, "hidden": 8} if objective is DINO else {}
    built = objective(small_vit(dropout=0.1), GREY, **settings).eval()
    before = {name: value.clone() for name, value in built.state_dict().items()}
    state = torch.get_rng_state()
    training_flops(built, GREY)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in built.state_dict().items())
    assert {t.device.type for t in (*built.parameters(), *built.buffers())} == {"cpu"}
    assert all(p.grad is None for p in built.parameters())
    assert not built.training
    assert not getattr(built, "seen", [])
