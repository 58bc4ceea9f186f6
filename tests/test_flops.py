"""Counted operations agree with the formula on paper, and counting leaves no trace."""

import math
from dataclasses import replace

import pytest
import torch

from builders import GREY, RGB, every_objective, small_vit
from vit.batch import Batch
from vit.flops import peak_of, training_flops
from vit.module import ViTModule
from vit.objectives.base import Losses, Objective
from vit.objectives.parts.mixing import Mixing
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


class Quarter(Objective):
    """Encodes a quarter of the patches, as masked autoencoders do."""

    def forward(self, batch: Batch, progress: float) -> Losses:
        patches = self.encoder.add_position(self.encoder.embed(batch.images))
        kept = torch.arange(patches.shape[1] // 4, device=patches.device).expand(len(patches), -1)
        loss = self.encoder.encode(patches, kept=kept).mean()
        return Losses(loss, {}, {})


def test_tokens_that_are_dropped_cost_nothing():
    """Of 64 patches 16 go through the blocks, with the class token; all are embedded."""
    spec = replace(GREY, image_size=(16, 16))
    n, d, mlp, depth = 17, 32, 128, 4
    blocks = depth * (4 * n * d**2 + 2 * n * d * mlp + 2 * n**2 * d)
    expected = 6 * (64 * 4 * d + blocks)
    counted = training_flops(Quarter(small_vit(spec, depth=depth), spec), spec)
    assert counted == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("objective", every_objective().values(), ids=every_objective())
def test_counting_changes_nothing(objective):
    built = objective(small_vit(dropout=0.1), GREY).eval()
    before = {name: value.clone() for name, value in built.state_dict().items()}
    state = torch.get_rng_state()
    training_flops(built, GREY)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in built.state_dict().items())
    assert {t.device.type for t in (*built.parameters(), *built.buffers())} == {"cpu"}
    assert all(p.grad is None for p in built.parameters())
    assert not built.training
    assert not getattr(built, "seen", [])


class Looking(Supervised):
    """Looks into its data, which tensors without data cannot answer."""

    def forward(self, batch, progress):
        assert float(batch.images.mean()) < 100
        return super().forward(batch, progress)


def test_what_cannot_be_counted_is_said_in_one_line_and_stops_nobody(capsys):
    module = ViTModule(Looking, small_vit, spec=GREY)
    module.setup("fit")
    assert math.isnan(module.flops_per_image)
    assert capsys.readouterr().out.count("FLOPs: not counted, Looking") == 1


def test_mixing_costs_nothing():
    plain, mixed = Supervised(small_vit(), GREY), Supervised(small_vit(), GREY, mixing=Mixing())
    assert training_flops(mixed, GREY) == training_flops(plain, GREY)


@pytest.mark.parametrize(
    ("name", "peak"),
    [("NVIDIA H200", 989e12), ("NVIDIA A100-SXM4-80GB", 312e12), ("Unknown", None)],
)
def test_the_peak_follows_the_name(monkeypatch, name, peak):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert peak_of(torch.device("cuda", 0)) == peak
    assert peak_of(torch.device("cpu")) is None
