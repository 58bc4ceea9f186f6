"""The few sums that cross processes; without a process group each is the identity."""

from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist


def active() -> bool:
    """Is there more than one process?"""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def world_size() -> int:
    """How many processes share the work."""
    return dist.get_world_size() if active() else 1


def rank() -> int:
    """This process's number."""
    return dist.get_rank() if active() else 0


def sum_over_ranks(values: Tensor) -> Tensor:
    """The elementwise sum over all processes; every process must call it."""
    if active():
        values = values.clone()
        dist.all_reduce(values)
    return values


def mean_over_ranks(values: Tensor) -> Tensor:
    """The elementwise mean over all processes; every process must call it."""
    return sum_over_ranks(values) / world_size()


def gather_rows(rows: Tensor) -> Tensor:
    """Rows of all processes, one below the other; every process must bring equally many."""
    if not active():
        return rows
    rows = rows.contiguous()
    parts = [torch.empty_like(rows) for _ in range(world_size())]
    dist.all_gather(parts, rows)
    return torch.cat(parts)


def gather_with_gradient(rows: Tensor) -> Tensor:
    """Rows of all processes, for a loss that every process computes alike from all of them.

    Its gradient reaches this process's rows alone, times the number of processes: they average
    their gradients afterwards, so that each ends with the gradient of that loss. Every process
    must call it and bring equally many rows.
    """
    if not active():
        return rows
    parts = list(gather_rows(rows.detach()).split(len(rows)))
    parts[rank()] = rows + (world_size() - 1) * (rows - rows.detach())  # the same numbers
    return torch.cat(parts)


class _Sum(torch.autograd.Function):
    """What each process brings reaches all of them, and so their gradients come back as a sum."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return sum_over_ranks(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return sum_over_ranks(gradient.contiguous())


def sum_with_gradient(values: Tensor) -> Tensor:
    """The sum over all processes, for what each then uses on images of its own (a statistic).

    The gradients of all processes are added, in the backward pass, for each of them.
    """
    return _Sum.apply(values) if active() else values


def share_statistics(module: nn.Module) -> None:
    """Give every process rank 0's BatchNorm statistics; every process must call it.

    DDP does so before a training forward only, and sharding never: evaluation would then differ
    from rank to rank, and a resumed run from one never killed.
    """
    if not active():
        return
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            for buffer in part.buffers(recurse=False):
                dist.broadcast(buffer, 0)


def mean_of_rows(rows: list[dict[str, Tensor]]) -> dict[str, float]:
    """The mean of each named scalar over rows and ranks; every rank must call it.

    All rows have the same names.
    """
    names = list(rows[0])
    table = torch.stack(
        [torch.stack([row[name].detach().float() for name in names]) for row in rows]
    )
    return dict(zip(names, mean_over_ranks(table.mean(0)).tolist(), strict=True))
