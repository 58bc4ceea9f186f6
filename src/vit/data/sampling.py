"""Which samples come next, as a function of how many batches were consumed.

The training order of an epoch depends on (seed, epoch) alone, and the position in it on one
counter that the checkpoint holds. So a resumed run meets exactly the batches that were left, with
any number of workers and whatever they had prefetched.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from vit.randomness import step_seed


class BatchIndices(NamedTuple):
    """One batch to fetch: the epoch (None in evaluation) and sample numbers (-1: padding)."""

    epoch: int | None
    indices: list[int]
    repeats: list[int] | None = None  # which appearance in the epoch each one is; None: the first


class TrainingBatches(Sampler[BatchIndices]):
    """Shuffled batches of one rank, seekable.

    Micro-batch b of the epoch on rank r holds the images [(b W + r) p, ... + p) of the shuffled
    order, so the images of one optimiser step are the same however they are spread over ranks and
    accumulation. Images that do not fill a last step are left out of that epoch.

    Args:
        size: images in the split.
        per_device: images in a micro-batch of one rank.
        accumulate: micro-batches per optimiser step.
        limit: at most so many micro-batches an epoch (Lightning's limit_train_batches).
        labels: draw images with replacement so that all classes come equally often; None: shuffle.
        repeats: each image so many times in a row, and so many times fewer images an epoch.
        consumed: called when an epoch's iterator is made: micro-batches trained on so far.
    """

    def __init__(
        self,
        size: int,
        per_device: int,
        accumulate: int,
        seed: int,
        rank: int,
        world: int,
        consumed: Callable[[], int],
        limit: int | float = 1.0,
        labels: Tensor | None = None,
        repeats: int = 1,
    ) -> None:
        self.size, self.per_device, self.seed = size, per_device, seed
        self.rank, self.world, self.consumed = rank, world, consumed
        self.labels, self.repeats = labels, repeats
        steps = size // (per_device * world * accumulate)
        self.full = steps * accumulate  # what Lightning applies its own limit to
        self.length = limited(self.full, limit)

    def __len__(self) -> int:
        return self.full

    def __iter__(self) -> Iterator[BatchIndices]:
        epoch, start = divmod(self.consumed(), self.length)
        generator = torch.Generator().manual_seed(step_seed(self.seed, "order", epoch))
        order, repeats = self.order(generator)
        for batch in range(start, self.length):
            at = (batch * self.world + self.rank) * self.per_device
            part = slice(at, at + self.per_device)
            yield BatchIndices(epoch, order[part], repeats and repeats[part])

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
    """For each place, how often its value stood there before."""
    values, places = order.sort(stable=True)
    starts = torch.cat([values.new_zeros(1), values.bincount().cumsum(0)])[values]
    return torch.empty_like(order).scatter_(0, places, torch.arange(len(order)) - starts)


class EvaluationBatches(Sampler[BatchIndices]):
    """Every sample of a split exactly once over all ranks, in equally many batches on each.

    Rank r takes samples r, r + W, ...; shorter ranks are padded with -1.

    Args:
        size: samples of the split.
        per_device: of a batch.
        rank: this process's number.
        world: how many processes there are.
        most: look at so many samples only, evenly spread; None: at all.
    """

    def __init__(
        self, size: int, per_device: int, rank: int, world: int, most: int | None = None
    ) -> None:
        self.whole, self.size = size, min(size, most or size)
        self.per_device, self.rank, self.world = per_device, rank, world

    def __len__(self) -> int:
        return math.ceil(self.size / (self.world * self.per_device))

    def __iter__(self) -> Iterator[BatchIndices]:
        mine = [i * self.whole // self.size for i in range(self.rank, self.size, self.world)]
        longest = math.ceil(self.size / self.world)
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
