"""Which samples come next, as a function of how many batches were consumed.

The training order of an epoch depends on (seed, epoch) alone, and the position in it on one
counter that the checkpoint holds. So a resumed run meets exactly the batches that were left, with
any number of workers and whatever they had prefetched.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from vit.batch import LoaderContext
from vit.randomness import step_seed


class BatchIndices(NamedTuple):
    """One batch to fetch.

    Args:
        epoch: which pass over the training split; None in evaluation.
        index: sample numbers; -1: padding.
        repeat: how often each sample came before in this epoch; None: never.
    """

    epoch: int | None
    index: list[int]
    repeat: list[int] | None = None


class TrainingBatches(Sampler[BatchIndices]):
    """Shuffled batches of one rank, seekable.

    Micro-batch b of the epoch on rank r holds the images [(b W + r) p, ... + p) of the shuffled
    order, so the images of one optimiser step are the same however they are spread over ranks and
    accumulation. Images that do not fill a last step are left out of that epoch.

    Args:
        size: images in the split.
        per_device: images in a micro-batch of one rank.
        context: seed, ranks, accumulation, limit, and how far the run is.
        labels: draw images with replacement so that all classes come equally often; None: shuffle.
        repeats: each image so many times in a row, and so many times fewer images an epoch.
    """

    def __init__(
        self,
        size: int,
        per_device: int,
        context: LoaderContext,
        labels: Tensor | None = None,
        repeats: int = 1,
    ) -> None:
        self.size = size
        self.per_device = per_device
        self.context = context
        self.labels = labels
        self.repeats = repeats
        steps = size // (per_device * context.world_size * context.accumulation)
        self.full = steps * context.accumulation  # what Lightning applies its own limit to
        self.length = limited(self.full, context.limit)

    def __len__(self) -> int:
        return self.full

    def __iter__(self) -> Iterator[BatchIndices]:
        context = self.context
        epoch, start = divmod(context.consumed(), self.length)
        generator = torch.Generator().manual_seed(step_seed(context.seed, "order", epoch))
        order, repeat = self.order(generator)
        for batch in range(start, self.length):
            first = (batch * context.world_size + context.rank) * self.per_device
            rows = slice(first, first + self.per_device)
            yield BatchIndices(epoch, order[rows], repeat and repeat[rows])

    def order(self, generator: torch.Generator) -> tuple[list[int], list[int] | None]:
        """An epoch's samples, and which appearance each is where some come more than once."""
        if self.labels is not None:
            weights = 1 / self.labels.bincount().double()[self.labels]
            order = torch.multinomial(weights, self.size, True, generator=generator)
        else:
            order = torch.randperm(self.size, generator=generator)
        if self.labels is None and self.repeats == 1:
            return order.tolist(), None
        order = order.repeat_interleave(self.repeats)[: self.size]
        return order.tolist(), appearances(order).tolist()


def appearances(order: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
    """How often the value of each place stood before it."""
    values, places = order.sort(stable=True)
    starts = torch.cat([values.new_zeros(1), values.bincount().cumsum(0)])[values]
    return torch.empty_like(order).scatter_(0, places, torch.arange(len(order)) - starts)


class EvaluationBatches(Sampler[BatchIndices]):
    """Every sample of a split exactly once over all ranks, in equally many batches on each.

    Rank r takes samples r, r + W, ...; shorter ranks are padded with -1.

    Args:
        size: samples of the split.
        per_device: samples of a batch.
        context: ranks.
        most: look at so many samples only, evenly spread; None: at all.
    """

    def __init__(
        self, size: int, per_device: int, context: LoaderContext, most: int | None = None
    ) -> None:
        self.whole = size
        self.size = min(size, most or size)
        self.per_device = per_device
        self.context = context

    def __len__(self) -> int:
        return math.ceil(self.size / (self.context.world_size * self.per_device))

    def __iter__(self) -> Iterator[BatchIndices]:
        rank, world_size = self.context.rank, self.context.world_size
        mine = [i * self.whole // self.size for i in range(rank, self.size, world_size)]
        longest = math.ceil(self.size / world_size)
        mine += [-1] * (longest - len(mine))
        for start in range(0, longest, self.per_device):
            yield BatchIndices(None, mine[start : start + self.per_device])


class ResumableLoader(DataLoader):
    """A DataLoader whose position lives in its sampler's counter.

    The two empty methods tell Lightning that nothing is lost when it resumes in mid-epoch.
    """

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        pass


def limited(batches: int, limit: int | float) -> int:
    """Lightning's rule for limit_train_batches: an int counts batches, a float is a fraction."""
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)
