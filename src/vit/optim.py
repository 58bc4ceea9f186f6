"""Parameter groups, the learning-rate rule, and schedules as functions of progress.

Groups follow the code the papers were made with: no decay on biases, norms, tokens and positions
(big_vision's mask: kernels only); layer-wise decay of the learning rate as in MAE's fine-tuning
(He et al., arXiv:2111.06377, appendix A.1).
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from vit.models.base import Encoder
from vit.objectives.base import Objective

UNDECAYED = ("cls_token", "reg_token", "mask_token", "pos_embed")
Scaling = Literal["none", "linear", "sqrt"]


class Schedule(ABC):
    """A factor on a base value as a function of progress through the run, in [0, 1]."""

    @abstractmethod
    def __call__(self, progress: float) -> float:
        """The factor."""


class _Warmed(Schedule):
    """Linear warm-up times a shape that begins when the warm-up ends (as the ViT paper's code).

    Args:
        warmup: share of the run over which the factor rises from 0, in [0, 1).
        end: factor at the end of the run; cosine runs to 0 in the ViT paper, its linear decay to
            1e-5 / lr. An end above 1 makes a rising schedule (DINO's weight decay: 10).
    """

    def __init__(self, warmup: float = 0.0, end: float = 0.0) -> None:
        if not 0 <= warmup < 1:
            raise ValueError(f"{type(self).__name__}: warmup must be in [0, 1), got {warmup}")
        if not 0 <= end < math.inf:
            raise ValueError(f"{type(self).__name__}: end must be at least 0, got {end}")
        self.warmup, self.end = warmup, end

    def __call__(self, progress: float) -> float:
        rise = min(progress / self.warmup, 1.0) if self.warmup else 1.0
        after = max(progress - self.warmup, 0.0) / (1 - self.warmup)
        return rise * (self.end + (1 - self.end) * self.shape(min(after, 1.0)))

    @abstractmethod
    def shape(self, after: float) -> float:
        """From 1 to 0 while `after` goes from 0 to 1."""


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
        warmup: share of the run over which the factor rises from 0, in [0, 1).
    """

    def __init__(self, warmup: float = 0.0) -> None:
        super().__init__(warmup, end=1.0)

    def shape(self, after: float) -> float:
        """Always 1."""
        return 1.0


class Steps(Constant):
    """Warm-up, then the base value, multiplied by a factor at each of some points of the run.

    Args:
        at: shares of the run, each in (0, 1). SimMIM: epoch 700 of 800, (0.875,).
        factor: above 0. SimMIM: 0.1.
        warmup: share of the run over which the factor rises from 0, in [0, 1).
    """

    def __init__(self, at: tuple[float, ...], factor: float = 0.1, warmup: float = 0.0) -> None:
        super().__init__(warmup)
        if not all(0 < point < 1 for point in at) or not 0 < factor < math.inf:
            raise ValueError(
                f"Steps: at must be in (0, 1) and factor above 0, got {at} and {factor}"
            )
        self.at, self.factor = tuple(at), factor

    def __call__(self, progress: float) -> float:
        return super().__call__(progress) * self.factor ** sum(progress >= at for at in self.at)


@dataclass(frozen=True)
class Clip:
    """Bound the gradient before each step.

    Args:
        kind: global: the length of all gradients together (ViT paper: 1); per_tensor: of each
            tensor on its own (DINO's code: 3).
        value: the bound.
    """

    kind: Literal["global", "per_tensor"] = "global"
    value: float = 1.0

    def __post_init__(self) -> None:
        if not self.value > 0:
            raise ValueError(f"Clip: value must be above 0, got {self.value}")

    def __call__(self, parameters: list[nn.Parameter]) -> None:
        """Scale the gradients in place."""
        if self.kind == "global":
            nn.utils.clip_grad_norm_(parameters, self.value)
            return
        for parameter in parameters:
            nn.utils.clip_grad_norm_([parameter], self.value)


def check_factors(layer_decay: float, head_lr: float, ema: float | None) -> None:
    """Refuse factors that no training can have.

    Raises:
        ValueError: naming the first.
    """
    if not 0 < layer_decay <= 1:
        raise ValueError(f"model: layer_decay must be in (0, 1], got {layer_decay}")
    if not 0 <= head_lr < math.inf:
        raise ValueError(f"model: head_lr must be at least 0, got {head_lr}")
    if ema is not None and not 0 < ema < 1:
        raise ValueError(f"model: ema must be in (0, 1) or null, got {ema}")


def scaled_lr(lr: float, batch_size: int, rule: Scaling) -> float:
    """The learning rate for a global batch.

    Args:
        lr: for 256 images under `linear` (Goyal et al., arXiv:1706.02677; MAE, DINO), for 1024
            under `sqrt` (DINOv2), for this batch under `none` (ViT paper).
        batch_size: images of one optimiser step.
        rule: how lr grows with the batch.
    """
    if rule == "linear":
        return lr * batch_size / 256
    return lr * math.sqrt(batch_size / 1024) if rule == "sqrt" else lr


def freeze(encoder: Encoder, layers: int | Literal["all"]) -> None:
    """Take the first layers of an encoder out of training.

    Args:
        encoder: whose `layer_of` says what a layer is.
        layers: how many, counted from the input; all: the whole encoder.
    """
    most = encoder.depth + 2  # the input, the blocks, the end
    if layers != "all" and not 0 <= layers <= most:
        raise ValueError(f"model: frozen must be in [0, {most}] or all, got {layers}")
    for name, parameter in encoder.named_parameters():
        if layers == "all" or encoder.layer_of(name) < layers:
            parameter.requires_grad_(False)


def parameter_groups(
    objective: Objective, layer_decay: float = 1.0, head_lr: float = 1.0
) -> list[dict[str, Any]]:
    """Groups for any torch optimiser, by learning-rate factor, decay and place.

    Args:
        objective: its encoder's layers and everything beside it.
        layer_decay: factor from a layer to the one before it. MAE's fine-tuning of B: 0.65.
        head_lr: factor for everything outside the encoder.

    Returns:
        Dicts of params, name, lr_factor and hidden (the matrices inside the encoder's blocks, which
        some optimisers treat on their own); undecayed groups also set weight_decay to 0.
    """
    encoder, groups = objective.encoder, {}
    for name, parameter in objective.named_parameters():
        if not parameter.requires_grad:
            continue
        inside = name.startswith("encoder.")
        layer = encoder.layer_of(name.removeprefix("encoder.")) if inside else None
        factor = head_lr if layer is None else layer_decay ** (encoder.depth + 1 - layer)
        decayed = parameter.ndim > 1 and not name.endswith(UNDECAYED)
        hidden = (
            decayed and parameter.ndim == 2 and layer is not None and 0 < layer <= encoder.depth
        )
        key = (factor, decayed, hidden)
        group = groups.setdefault(
            key,
            {
                "params": [],
                "lr_factor": factor,
                "hidden": hidden,
                "name": f"lr x {factor:.4g}, {'decay' if decayed else 'no decay'}"
                + (", matrices of blocks" if hidden else ""),
            }
            | ({} if decayed else {"weight_decay": 0.0}),
        )
        group["params"].append(parameter)
    return list(groups.values())


def prepare(optimizer: torch.optim.Optimizer, lr_scale: float) -> None:
    """Note each group's own peak values, which the schedules multiply."""
    for group in optimizer.param_groups:
        group["base_lr"] = group["lr"] * group["lr_factor"] * lr_scale
        group["base_weight_decay"] = group.get("weight_decay", 0.0)
