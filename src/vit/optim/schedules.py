"""Schedules: factors on a base value, as functions of progress through the run."""

import math
from abc import ABC, abstractmethod

import torch


class Schedule(ABC):
    """A factor on a base value as a function of progress through the run, in [0, 1]."""

    @abstractmethod
    def __call__(self, progress: float) -> float:
        """The factor."""


class _Warmed(Schedule):
    """Linear warm-up times a shape that begins when the warm-up ends (as the ViT paper's code).

    Args:
        warmup: fraction of the run over which the factor rises from 0, in [0, 1).
        end: factor at the end of the run; cosine runs to 0 in the ViT paper, its linear decay to
            1e-5 / lr. An end above 1 makes a rising schedule (DINO's weight decay: 10).
    """

    def __init__(self, warmup: float = 0.0, end: float = 0.0) -> None:
        if not 0 <= warmup < 1:
            raise ValueError(f"{type(self).__name__}: warmup must be in [0, 1), got {warmup}")
        if not 0 <= end < math.inf:
            raise ValueError(f"{type(self).__name__}: end must be at least 0, got {end}")
        self.warmup = warmup
        self.end = end

    def __call__(self, progress: float) -> float:
        rise = min(progress / self.warmup, 1.0) if self.warmup else 1.0
        after = max(progress - self.warmup, 0.0) / (1 - self.warmup)
        return rise * (self.end + (1 - self.end) * self.shape(min(after, 1.0)))

    @abstractmethod
    def shape(self, after: float) -> float:
        """The shape: it goes from 1 to 0 while `after` goes from 0 to 1."""


class Cosine(_Warmed):
    """Warm-up, then half a cosine."""

    def shape(self, after: float) -> float:
        """Half a cosine wave."""
        return (1 + math.cos(math.pi * after)) / 2


class Linear(_Warmed):
    """Warm-up, then a straight line."""

    def shape(self, after: float) -> float:
        """A straight line."""
        return 1 - after


class Constant(_Warmed):
    """Warm-up, then the base value.

    Args:
        warmup: fraction of the run over which the factor rises from 0, in [0, 1).
    """

    def __init__(self, warmup: float = 0.0) -> None:
        super().__init__(warmup, end=1.0)

    def shape(self, after: float) -> float:
        """Always 1."""
        return 1.0


class Steps(Constant):
    """Warm-up, then the base value, multiplied by a factor at each of some points of the run.

    Args:
        at: fractions of the run, each in (0, 1). SimMIM: epoch 700 of 800, (0.875,).
        factor: above 0. SimMIM: 0.1.
        warmup: fraction of the run over which the factor rises from 0, in [0, 1).
    """

    def __init__(self, at: tuple[float, ...], factor: float = 0.1, warmup: float = 0.0) -> None:
        super().__init__(warmup)
        if not all(0 < point < 1 for point in at) or not 0 < factor < math.inf:
            raise ValueError(
                f"Steps: at must be in (0, 1) and factor above 0, got {at} and {factor}"
            )
        self.at = tuple(at)
        self.factor = factor

    def __call__(self, progress: float) -> float:
        return super().__call__(progress) * self.factor ** sum(progress >= at for at in self.at)


class WarmupStableDecay(Schedule):
    """Warm-up, the base value for as long as it helps, and a cool-down to 0 at the end.

    Paper: Hägele et al., arXiv:2405.18392: a cool-down of a fifth, as 1 - sqrt, is as good as a
    cosine of the right length, and the length need not be known before. With `patience` the
    cool-down begins as soon as so many validations in a row were no better than the best one, and
    callbacks/early_cooldown.py brings the end of the run forward so that it fits.

    Args:
        warmup: fraction of the longest run over which the factor rises from 0.
        cooldown: fraction of the whole run over which it falls to 0, at the end.
        patience: validations in a row that were no better before the cool-down begins; null: it
            begins when the run's length says so.
    """

    def __init__(
        self, warmup: float = 0.0, cooldown: float = 0.2, patience: int | None = None
    ) -> None:
        if not (0 <= warmup < 1 and 0 < cooldown < 1 and warmup + cooldown <= 1):
            raise ValueError(
                "WarmupStableDecay: warmup must be in [0, 1), cooldown in (0, 1), both together at "
                f"most 1, got {warmup} and {cooldown}"
            )
        if patience is not None and patience < 1:
            raise ValueError(f"WarmupStableDecay: patience must be at least 1, got {patience}")
        self.warmup = warmup
        self.cooldown = cooldown
        self.patience = patience

    def __call__(self, progress: float) -> float:
        rise = min(progress / self.warmup, 1.0) if self.warmup else 1.0
        after = max(progress - (1 - self.cooldown), 0.0) / self.cooldown
        return rise * (1 - math.sqrt(min(after, 1.0)))


def set_scheduled_values(
    optimizer: torch.optim.Optimizer,
    progress: float,
    schedule: Schedule,
    weight_decay_schedule: Schedule | None,
) -> None:
    """Give each parameter group the learning rate and the weight decay of this step.

    Args:
        optimizer: whose groups hold their peak values; see `note_base_values`.
        progress: through the run, in [0, 1].
        schedule: factor on every learning rate.
        weight_decay_schedule: factor on every weight decay; None: constant.
    """
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * schedule(progress)
        if weight_decay_schedule is not None:
            group["weight_decay"] = group["base_weight_decay"] * weight_decay_schedule(progress)
