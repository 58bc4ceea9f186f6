"""Batch normalisation over two processes against PyTorch's over all rows in one."""

import torch
from torch import nn

from ranks import in_a_group
from vit.objectives.parts.batch_norm import GlobalBatchNorm

ROWS = torch.randn(10, 3, generator=torch.Generator().manual_seed(0)) * 2 + 5
PULL = torch.randn(10, 3, generator=torch.Generator().manual_seed(1))  # gradient of each output


def trained(layer: nn.BatchNorm1d, rows: torch.Tensor, pull: torch.Tensor) -> dict:
    """Outputs, gradients and statistics after two steps."""
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 0.5, 2.0]))
    layer(rows + 1)
    rows = rows.clone().requires_grad_()
    outputs = layer(rows)
    (outputs * pull).sum().backward()
    return {
        "outputs": outputs.detach(),
        "rows": rows.grad,
        "weight": layer.weight.grad,
        "bias": layer.bias.grad,
        **{name: value.clone() for name, value in layer.named_buffers()},
    }


def half(rank: int) -> dict:
    part = slice(5 * rank, 5 * rank + 5)
    return trained(GlobalBatchNorm(3), ROWS[part], PULL[part])


def test_two_processes_normalise_as_one(tmp_path):
    first, second = in_a_group(half, tmp_path)
    whole = trained(nn.BatchNorm1d(3), ROWS, PULL)
    for name in ("outputs", "rows"):
        torch.testing.assert_close(torch.cat([first[name], second[name]]), whole[name])
    for name in ("weight", "bias"):  # added up afterwards, like any other parameter's
        torch.testing.assert_close(first[name] + second[name], whole[name])
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(first[name], whole[name])
        assert torch.equal(first[name], second[name])


def halved_alone(rank: int) -> dict:
    part = slice(5 * rank, 5 * rank + 5)
    return trained(nn.BatchNorm1d(3), ROWS[part], PULL[part])


def test_pytorchs_own_layer_would_be_noticed(tmp_path):
    """A planted fault: each process by itself gives other outputs and other gradients."""
    first, second = in_a_group(halved_alone, tmp_path)
    whole = trained(nn.BatchNorm1d(3), ROWS, PULL)
    for name in ("outputs", "rows"):
        assert (torch.cat([first[name], second[name]]) - whole[name]).abs().max() > 0.1


def test_alone_and_in_evaluation_it_is_pytorchs():
    ours, theirs = GlobalBatchNorm(3), nn.BatchNorm1d(3)
    assert torch.equal(ours(ROWS), theirs(ROWS))
    assert torch.equal(ours.eval()(ROWS), theirs.eval()(ROWS))
