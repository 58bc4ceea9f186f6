"""A teacher is a slowly following copy that never trains."""

import pytest
import torch
from torch import nn

from vit.ema import EMA


def student(width: int = 8) -> nn.Module:
    """With a parameter, buffers and dropout."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.Dropout(0.5))


def moved(module: nn.Module) -> nn.Module:
    """Parameters and running means somewhere else, as after a step."""
    with torch.no_grad():
        for tensor in [*module.parameters(), module[1].running_mean]:
            tensor.add_(torch.randn_like(tensor))
    module[1].num_batches_tracked.add_(3)
    return module


def test_a_quarter_of_the_way_is_the_number_worked_out_by_hand():
    learner = nn.Linear(1, 1)
    learner.load_state_dict({"weight": torch.tensor([[2.0]]), "bias": torch.tensor([-1.0])})
    teacher = EMA(learner)
    learner.load_state_dict({"weight": torch.tensor([[6.0]]), "bias": torch.tensor([1.0])})
    teacher.follow(learner, momentum=0.75)
    assert (teacher.copy.weight.item(), teacher.copy.bias.item()) == (3.0, -0.5)


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.996, 1.0])
def test_follow_is_the_moving_average_of_every_parameter(momentum):
    learner = student()
    teacher = EMA(learner)
    before = [parameter.double() for parameter in teacher.copy.parameters()]
    teacher.follow(moved(learner), momentum)
    after = [parameter.double() for parameter in teacher.copy.parameters()]
    for old, new, other in zip(before, after, learner.parameters(), strict=True):
        expected = momentum * old + (1 - momentum) * other.double()
        torch.testing.assert_close(new, expected, atol=3e-7, rtol=0)


def test_a_momentum_of_one_stands_still_bit_for_bit():
    learner = student()
    teacher = EMA(learner)
    before = [parameter.clone() for parameter in teacher.copy.parameters()]
    teacher.follow(moved(learner), 1.0)
    assert all(map(torch.equal, before, teacher.copy.parameters()))


def test_buffers_are_copied_and_not_averaged():
    learner = student()
    teacher = EMA(learner)
    teacher.follow(moved(learner), 0.9)
    assert torch.equal(teacher.copy[1].running_mean, learner[1].running_mean)
    assert teacher.copy[1].num_batches_tracked == 3


def test_a_teacher_shares_no_memory_with_its_student():
    learner = student()
    teacher = EMA(learner)
    theirs = {tensor.data_ptr() for tensor in learner.state_dict().values()}
    assert teacher.copy is not learner
    assert theirs.isdisjoint(tensor.data_ptr() for tensor in teacher.state_dict().values())


def test_no_gradient_reaches_teacher_or_student_through_the_teacher():
    learner = student()
    teacher = EMA(learner).train()
    out = teacher(torch.randn(4, 8, requires_grad=True))
    assert not out.requires_grad
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert all(parameter.requires_grad for parameter in learner.parameters())


def test_following_asks_for_no_gradient():
    learner = student()
    teacher = EMA(learner)
    teacher.follow(moved(learner), 0.9)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert all(parameter.grad_fn is None for parameter in teacher.parameters())


def test_a_teacher_stays_in_eval_mode_when_its_parent_trains():
    learner = student()
    parent = nn.ModuleDict({"student": learner, "teacher": EMA(learner)}).train()
    assert parent["student"][2].training
    assert not any(module.training for module in parent["teacher"].modules())


def test_teaching_moves_no_running_mean_and_drops_nothing():
    teacher = nn.Sequential(EMA(student())).train()[0]
    images, before = torch.randn(4, 8), teacher.copy[1].running_mean.clone()
    assert torch.equal(teacher(images), teacher(images))
    assert torch.equal(teacher.copy[1].running_mean, before)
