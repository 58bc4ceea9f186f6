"""The few sums that cross processes; without a process group each is the identity."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torchmetrics import Metric


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
    """Means of scalars over rows, which all name the same, and over ranks; a collective call."""
    names = list(rows[0])
    table = torch.stack(
        [torch.stack([row[name].detach().float() for name in names]) for row in rows]
    )
    return dict(zip(names, mean_over_ranks(table.mean(0)).tolist(), strict=True))


class Means:
    """Exact means of per-image values over a split that several processes share.

    Sums and counts are kept apart and in float64 (float32 where the device has none), so the
    result does not depend on how the split was cut into batches and ranks.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, Tensor] = {}

    def add(self, values: dict[str, Tensor], valid: Tensor) -> None:
        """Count in one batch; each value is B or B k, rows that are not valid are left out."""
        dtype = torch.float32 if valid.device.type == "mps" else torch.float64
        count = valid.to(dtype).sum()
        for name, value in values.items():
            # where, not a product: padding may hold NaN and NaN times zero is NaN
            rows = value.detach().flatten(1) if value.ndim > 1 else value.detach()[:, None]
            total = torch.where(valid[:, None], rows.to(dtype), 0).sum(0)
            self.sums[name] = total + self.sums.get(name, 0)
            self.counts[name] = count + self.counts.get(name, 0)

    def reduce(self) -> dict[str, Tensor]:
        """The means over all processes: a scalar, or a vector of k, for each name."""
        if not self.sums:
            return {}
        counts = torch.stack(list(self.counts.values()))
        flat = sum_over_ranks(torch.cat([counts, *self.sums.values()]))
        parts = flat[len(counts) :].split([len(total) for total in self.sums.values()])
        means = {
            name: part / count for name, part, count in zip(self.sums, parts, flat, strict=False)
        }
        return {name: mean[0] if len(mean) == 1 else mean for name, mean in means.items()}


class Tally:
    """All that one evaluation adds up, batch by batch.

    Args:
        metrics: of torchmetrics, by name, for what no mean over images gives; they share their
            states between processes themselves.
    """

    def __init__(self, metrics: dict[str, Metric] | None = None) -> None:
        self.means, self.monitors, self.metrics = Means(), Means(), metrics or {}

    def add(
        self,
        per_image: dict[str, Tensor],
        monitors: dict[str, Tensor],
        predicted: tuple[Tensor, Tensor] | None,
        valid: Tensor,
    ) -> None:
        """Count in one batch.

        Args:
            per_image: B or B k each.
            monitors: scalars.
            predicted: what the metrics compare, B rows each.
            valid: B, rows that count.
        """
        self.means.add(per_image, valid)
        if monitors:
            one = torch.ones(1, dtype=torch.bool, device=valid.device)
            self.monitors.add({name: value[None] for name, value in monitors.items()}, one)
        for metric in self.metrics.values():
            if predicted is not None and valid.any():
                metric.to(valid.device).update(*(part[valid] for part in predicted))

    def results(
        self, summary: Callable[[dict[str, Tensor]], dict[str, Tensor]]
    ) -> dict[str, float]:
        """Everything over all processes; `summary` turns means into what is shown."""
        values = summary(self.means.reduce()) | self.monitors.reduce()
        values |= {name: metric.compute() for name, metric in self.metrics.items()}
        return {name: float(value) for name, value in values.items()}
