"""Which samples come next, as a function of how many batches were consumed.

The training order of an epoch depends on (seed, epoch) alone, and the position in it on one
counter that the checkpoint holds. So a resumed run meets exactly the batches that were left, with
any number of workers and whatever they had prefetched.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader, Sampler

from vit.randomness import step_seed


class Draw(NamedTuple):
    """One batch to fetch: the epoch (None in evaluation) and sample numbers (-1: padding)."""

    epoch: int | None
    indices: list[int]


class TrainingBatches(Sampler[Draw]):
    """Shuffled batches of one rank, seekable.

    Micro-batch b of the epoch on rank r holds the images [(b W + r) p, ... + p) of the shuffled
    order, so the images of one optimiser step are the same however they are spread over ranks and
    accumulation. Images that do not fill a last step are left out of that epoch.

    Args:
        size: images in the split.
        per_device: images in a micro-batch of one rank.
        accumulate: micro-batches per optimiser step.
        limit: at most so many micro-batches an epoch (Lightning's limit_train_batches).
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
    ) -> None:
        self.size, self.per_device, self.seed = size, per_device, seed
        self.rank, self.world, self.consumed = rank, world, consumed
        steps = size // (per_device * world * accumulate)
        self.full = steps * accumulate  # what Lightning applies its own limit to
        self.length = limited(self.full, limit)

    def __len__(self) -> int:
        return self.full

    def __iter__(self) -> Iterator[Draw]:
        epoch, start = divmod(self.consumed(), self.length)
        generator = torch.Generator().manual_seed(step_seed(self.seed, "order", epoch))
        order = torch.randperm(self.size, generator=generator).tolist()
        for batch in range(start, self.length):
            at = (batch * self.world + self.rank) * self.per_device
            yield Draw(epoch, order[at : at + self.per_device])


class EvaluationBatches(Sampler[Draw]):
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

    def __iter__(self) -> Iterator[Draw]:
        mine = [i * self.whole // self.size for i in range(self.rank, self.size, self.world)]
        longest = math.ceil(self.size / self.world)
        mine += [-1] * (longest - len(mine))
        for start in range(0, longest, self.per_device):
            yield Draw(None, mine[start : start + self.per_device])


class ResumableLoader(DataLoader):
    """A DataLoader whose position lives in its sampler's counter.

    The two empty methods tell Lightning that nothing is lost when it resumes in mid-epoch.
    """

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        pass


def limited(batches: int, limit: int | float) -> int:
    """Lightning's rule for limit_train_batches: an int counts batches, a float is a share."""
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)
