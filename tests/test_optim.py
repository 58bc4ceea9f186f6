"""Schedules, learning-rate rules, parameter groups and clipping by hand."""

import math

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from builders import GREY, every_objective, small_vit
from vit.data import Digits
from vit.module import ViTModule
from vit.objectives.supervised import Supervised
from vit.optim.clipping import Clip
from vit.optim.groups import note_base_values, parameter_groups
from vit.optim.lr_scaling import scaled_lr
from vit.optim.schedules import Constant, Cosine, Linear, Steps

DECAYED = {  # of a supervised ViT with one block: the matrices, and nothing else
    "encoder.patch_embed.proj.weight",
    "encoder.blocks.0.attn.qkv.weight",
    "encoder.blocks.0.attn.proj.weight",
    "encoder.blocks.0.mlp.fc1.weight",
    "encoder.blocks.0.mlp.fc2.weight",
    "head.weight",
}


def supervised(**settings) -> Supervised:
    return Supervised(small_vit(**settings), GREY)


def placed(objective, groups, key: str, default: float | None = None) -> dict[str, float]:
    """Each parameter's value of `key`, by the parameter's name."""
    names = {id(p): name for name, p in objective.named_parameters()}
    return {names[id(p)]: group.get(key, default) for group in groups for p in group["params"]}


# ---- in a fit ------------------------------------------------------------------------------


class Watched(torch.optim.AdamW):
    """Notes each group's decay and each gradient's length as they are when it steps."""

    def step(self, closure=None):
        loss = closure()
        self.seen.append(
            ([group["weight_decay"] for group in self.param_groups],
             [p.grad.norm().item() for group in self.param_groups for p in group["params"]])
        )  # fmt: skip
        return super().step(lambda: loss)


def test_in_a_fit_decay_follows_its_schedule_and_every_gradient_is_bounded():
    data, Watched.seen = Digits(batch_size=8), []
    module = ViTModule(
        Supervised, small_vit, lambda groups: Watched(groups, lr=1e-3, weight_decay=0.04),
        weight_decay_schedule=Cosine(end=10.0), clip=Clip("per_tensor", 1e-3), spec=data.spec,
    )  # fmt: skip
    Trainer(
        max_steps=4, accelerator="cpu", logger=False, limit_val_batches=0,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    ).fit(module, data)  # fmt: skip
    undecayed = [group["name"].endswith("no decay") for group in module.optimizers().param_groups]
    assert any(undecayed)
    for step, (decays, lengths) in enumerate(Watched.seen):
        now = 0.4 + 0.5 * (0.04 - 0.4) * (1 + math.cos(math.pi * step / 4))
        assert decays == pytest.approx([0.0 if none else now for none in undecayed])
        assert 1e-3 * 0.99 < max(lengths) < 1e-3 * 1.001


# ---- schedules ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "values"),
    [  # at 0, 1/4, 1/2, 3/4 and 1
        (Cosine(), [1, 0.5 + 2**0.5 / 4, 0.5, 0.5 - 2**0.5 / 4, 0]),
        (Cosine(end=0.2), [1, 0.6 + 0.2 * 2**0.5, 0.6, 0.6 - 0.2 * 2**0.5, 0.2]),
        (Linear(), [1, 0.75, 0.5, 0.25, 0]),
        (Linear(end=1e-5 / 1e-3), [1, 0.7525, 0.505, 0.2575, 0.01]),  # the paper's, lr 1e-3
        (Constant(), [1, 1, 1, 1, 1]),
        (Constant(warmup=0.5), [0, 0.5, 1, 1, 1]),
        (Linear(warmup=0.5), [0, 0.5, 1, 0.5, 0]),
        (Cosine(warmup=0.5), [0, 0.5, 1, 0.5, 0]),
        (Cosine(end=10.0), [1, 5.5 - 2.25 * 2**0.5, 5.5, 5.5 + 2.25 * 2**0.5, 10]),
        (Steps(at=(0.5, 0.75)), [1, 1, 0.1, 0.01, 0.01]),
        (Steps(at=(0.75,), factor=0.5, warmup=0.5), [0, 0.5, 1, 0.5, 0.5]),
    ],
)
def test_a_schedule_is_the_one_worked_out_by_hand(schedule, values):
    assert [schedule(i / 4) for i in range(5)] == pytest.approx(values, abs=1e-12)


def test_a_rising_cosine_is_the_weight_decay_of_dino():
    schedule = Cosine(end=10.0)  # 0.04 to 0.4
    for step in range(101):
        theirs = 0.4 + 0.5 * (0.04 - 0.4) * (1 + math.cos(math.pi * step / 100))
        assert 0.04 * schedule(step / 100) == pytest.approx(theirs)


def test_the_linear_schedule_is_the_one_of_the_papers_code():
    schedule, base, end = Linear(warmup=0.1, end=1e-5 / 8e-4), 8e-4, 1e-5
    for step in range(1001):
        progress = min(max((step - 100) / 900, 0), 1)
        theirs = (end + (base - end) * (1 - progress)) * min(1, step / 100)
        assert base * schedule(step / 1000) == pytest.approx(theirs, abs=1e-15)


def test_steps_are_those_of_torch():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[16, 28], gamma=0.1)
    for step in range(32):
        assert Steps(at=(0.5, 0.875))(step / 32) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Steps(at=(0.5, 1.0)), "Steps: at must be in .0, 1. and factor above 0, got"),
        (lambda: Cosine(warmup=1.0), r"Cosine: warmup must be in \[0, 1\), got 1.0"),
        (lambda: Linear(warmup=-0.1), r"Linear: warmup must be in \[0, 1\), got -0.1"),
        (lambda: Constant(warmup=2.0), r"Constant: warmup must be in \[0, 1\), got 2.0"),
        (lambda: Linear(end=-0.5), "Linear: end must be at least 0, got -0.5"),
    ],
)
def test_a_wrong_schedule_is_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("rule", "batch", "expected"),
    [
        ("none", 4096, 1e-3),
        ("linear", 256, 1e-3),
        ("linear", 4096, 16e-3),
        ("linear", 64, 0.25e-3),
        ("sqrt", 1024, 1e-3),
        ("sqrt", 4096, 2e-3),
        ("sqrt", 256, 0.5e-3),
    ],
)
def test_the_learning_rate_grows_with_the_batch_as_the_rule_says(rule, batch, expected):
    assert scaled_lr(1e-3, batch, rule) == pytest.approx(expected)


# ---- parameter groups -----------------------------------------------------------------------


@pytest.mark.parametrize("objective", every_objective().values(), ids=every_objective())
@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
def test_every_trainable_parameter_stands_in_exactly_one_group(objective, layer_decay):
    built = objective(small_vit(registers=1, layer_scale=0.1), GREY)
    groups = parameter_groups(built, layer_decay, head_lr=3.0)
    grouped = sorted(id(p) for group in groups for p in group["params"])
    assert grouped == sorted(id(p) for p in built.parameters() if p.requires_grad)


def test_only_matrices_decay():
    objective = supervised(depth=1, registers=2, layer_scale=0.1)
    decays = placed(objective, parameter_groups(objective), "weight_decay", default=1.0)
    assert {name for name, decay in decays.items() if decay} == DECAYED
    assert {decay for name, decay in decays.items() if name not in DECAYED} == {0.0}


def test_mask_tokens_do_not_decay():
    for name, objective in every_objective().items():
        built = objective(small_vit(), GREY)
        decays = placed(built, parameter_groups(built), "weight_decay", default=1.0)
        assert decays.get("mask_token", 0.0) == 0.0, name


def test_frozen_parameters_are_left_out():
    objective = supervised()
    objective.encoder.requires_grad_(False)
    assert set(placed(objective, parameter_groups(objective), "lr_factor")) == {
        "head.weight",
        "head.bias",
    }


def test_layer_decay_halves_the_rate_from_block_to_block():
    objective = supervised(registers=1)
    factors = placed(objective, parameter_groups(objective, layer_decay=0.5), "lr_factor")
    by_part = {
        "encoder.patch_embed": 1 / 8,
        "encoder.cls_token": 1 / 8,
        "encoder.reg_token": 1 / 8,
        "encoder.pos_embed": 1 / 8,
        "encoder.blocks.0": 1 / 4,
        "encoder.blocks.1": 1 / 2,
        "encoder.norm": 1,
        "head": 1,
    }
    for name, factor in factors.items():
        assert [value for part, value in by_part.items() if name.startswith(part)] == [factor], name


def test_head_lr_moves_everything_outside_the_encoder_and_nothing_inside():
    objective = supervised()
    factors = placed(objective, parameter_groups(objective, head_lr=10.0), "lr_factor")
    for name, factor in factors.items():
        assert factor == (1.0 if name.startswith("encoder.") else 10.0), name


def test_a_group_says_its_rate_and_its_decay():
    groups = parameter_groups(supervised(), layer_decay=0.5, head_lr=10.0)
    head = [group["name"] for group in groups if group["lr_factor"] == 10.0]
    assert sorted(head) == ["lr x 10, decay", "lr x 10, no decay"]
    names = [group["name"] for group in groups]
    assert len(set(names)) == len(names)


def test_the_peak_of_a_group_is_rate_times_factor_times_scale():
    objective = supervised()
    groups = parameter_groups(objective, layer_decay=0.5)
    optimizer = torch.optim.AdamW(groups, lr=1e-3, weight_decay=0.05)
    note_base_values(optimizer, lr_scale=2.0)
    rates = placed(objective, optimizer.param_groups, "base_lr")
    decays = placed(objective, optimizer.param_groups, "base_weight_decay")
    assert rates["head.weight"] == pytest.approx(2e-3)
    assert rates["encoder.blocks.0.mlp.fc1.bias"] == pytest.approx(0.5e-3)
    assert (decays["head.weight"], decays["head.bias"]) == (0.05, 0.0)


# ---- clipping -------------------------------------------------------------------------------


def with_gradients(*gradients: list[float]) -> list[nn.Parameter]:
    parameters = [nn.Parameter(torch.zeros(len(gradient))) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = torch.tensor(gradient)
    return parameters


def test_global_clipping_bounds_the_length_of_all_gradients_together():
    parameters = with_gradients([3.0, 4.0], [12.0])  # length 13
    Clip("global", 6.5)(parameters)
    assert parameters[0].grad.tolist() == pytest.approx([1.5, 2.0], rel=1e-5)
    assert parameters[1].grad.tolist() == pytest.approx([6.0], rel=1e-5)


def test_global_clipping_is_the_one_of_torch():
    gradients = torch.randn(3, 5).tolist()
    ours, theirs = with_gradients(*gradients), with_gradients(*gradients)
    Clip("global", 1.0)(ours)
    nn.utils.clip_grad_norm_(theirs, 1.0)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine.grad, other.grad)


def test_per_tensor_clipping_bounds_each_on_its_own():
    parameters = with_gradients([3.0, 4.0], [0.0, -12.0], [1.0, 2.0])
    Clip("per_tensor", 3.0)(parameters)
    assert parameters[0].grad.tolist() == pytest.approx([1.8, 2.4], rel=1e-5)
    assert parameters[1].grad.tolist() == pytest.approx([0.0, -3.0], rel=1e-5)
    assert parameters[2].grad.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("value", [0.0, -1.0])  # a negative bound would turn the gradient round
def test_a_bound_that_is_not_positive_is_named(value):
    with pytest.raises(ValueError, match=f"Clip: value .* got {value}"):
        Clip("global", value)


def test_gradients_within_the_bound_are_left_alone():
    parameters = with_gradients([0.3, 0.4], [0.1])
    Clip("global", 1.0)(parameters)
    assert parameters[0].grad.tolist() == pytest.approx([0.3, 0.4])
