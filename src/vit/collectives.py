"""The few sums that cross processes; without a process group each is the identity."""

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
    parts = [torch.empty_like(rows) for _ in range(world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


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
