"""Exact means over a split, whatever the batches and ranks that it was cut into."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from vit.collectives import sum_over_ranks


class Means:
    """Exact means of per-image values over a split that several processes share.

    Sums and counts are kept apart and in float64 (float32 where the device has none), so the
    result does not depend on how the split was cut into batches and ranks.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, Tensor] = {}

    def add(self, values: dict[str, Tensor], valid: Tensor) -> None:
        """Add one batch; each value is B or B k, rows that are not valid are left out."""
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


class Answers(NamedTuple):
    """What a classifier says of a batch in an evaluation.

    Args:
        index: B, samples' numbers in their split; -1 counts nowhere.
        right: B, 1 where the first guess is the label; None where images have several labels.
        predicted: scores (B L) and truth (labels, B; or which hold, B L).
    """

    index: Tensor
    right: Tensor | None
    predicted: tuple[Tensor, Tensor] | None


class EvalMetrics:
    """All that one evaluation adds up, batch by batch.

    Args:
        metrics: of torchmetrics, by name, for what no mean over images gives; they share their
            states between processes themselves.
    """

    def __init__(self, metrics: dict[str, Metric] | None = None) -> None:
        self.means = Means()
        self.monitors = Means()
        self.metrics = metrics or {}

    def add(
        self,
        per_image: dict[str, Tensor],
        monitors: dict[str, Tensor],
        predicted: tuple[Tensor, Tensor] | None,
        masked: dict[str, tuple[Tensor, Tensor]] | None,
        valid: Tensor,
    ) -> None:
        """Add one batch.

        Args:
            per_image: B or B k each.
            monitors: scalars.
            predicted: what the metrics compare, B rows each.
            masked: B or B k each, and for each which rows count instead of `valid`.
            valid: B, rows that count.
        """
        for name, (values, mask) in (masked or {}).items():
            self.means.add({name: values}, mask)
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
