"""Parameter groups: what decays, how fast each layer learns, and what does not learn at all.

Groups follow the code the papers were made with: no decay on biases, norms, tokens and positions
(big_vision's mask: kernels only); layer-wise decay of the learning rate as in MAE's fine-tuning
(He et al., arXiv:2111.06377, appendix A.1).
"""

import math
from typing import Any, Literal

import torch

from vit.models.base import Encoder
from vit.objectives.base import Objective

UNDECAYED = ("cls_token", "reg_token", "mask_token", "pos_embed")


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


def freeze(encoder: Encoder, layers: int | Literal["all"]) -> None:
    """Take the first layers of an encoder out of training.

    Args:
        encoder: whose `layer_of` says what a layer is.
        layers: how many, counted from the input; all: the whole encoder.
    """
    most = encoder.depth + 2  # the input, the blocks, the end
    if layers != "all" and not 0 <= layers <= most:
        raise ValueError(f"model: frozen_layers must be in [0, {most}] or all, got {layers}")
    for name, parameter in encoder.named_parameters():
        if layers == "all" or encoder.layer_of(name) < layers:
            parameter.requires_grad_(False)


def keep_frozen_in_eval(encoder: Encoder) -> None:
    """Put each part of which no parameter learns into eval mode."""
    for part in encoder.modules():
        parameters = list(part.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            part.eval()


def parameter_groups(
    objective: Objective, layer_decay: float = 1.0, head_lr: float = 1.0
) -> list[dict[str, Any]]:
    """Groups for any torch optimiser, by learning-rate factor, decay and place.

    Args:
        objective: its encoder's layers and everything beside it.
        layer_decay: factor from a layer to the one before it. MAE's fine-tuning of B: 0.65.
        head_lr: factor for everything outside the encoder.

    Returns:
        Dicts of params, name, lr_factor and is_matrix (the matrices inside the encoder's blocks,
        which some optimisers treat differently); undecayed groups also set weight_decay to 0.
    """
    encoder, groups = objective.encoder, {}
    for name, parameter in objective.named_parameters():
        if not parameter.requires_grad:
            continue
        inside = name.startswith("encoder.")
        layer = encoder.layer_of(name.removeprefix("encoder.")) if inside else None
        factor = head_lr if layer is None else layer_decay ** (encoder.depth + 1 - layer)
        decayed = parameter.ndim > 1 and not name.endswith(UNDECAYED)
        is_matrix = (
            decayed and parameter.ndim == 2 and layer is not None and 0 < layer <= encoder.depth
        )
        key = (factor, decayed, is_matrix)
        group = groups.setdefault(
            key,
            {
                "params": [],
                "lr_factor": factor,
                "is_matrix": is_matrix,
                "name": f"lr x {factor:.4g}, {'decay' if decayed else 'no decay'}"
                + (", matrices of blocks" if is_matrix else ""),
            }
            | ({} if decayed else {"weight_decay": 0.0}),
        )
        group["params"].append(parameter)
    return list(groups.values())


def note_base_values(optimizer: torch.optim.Optimizer, lr_scale: float) -> None:
    """Note each group's peak values, which the schedules multiply.

    Args:
        optimizer: made with the groups of `parameter_groups`.
        lr_scale: factor on every learning rate, for the batch.
    """
    for group in optimizer.param_groups:
        group["base_lr"] = group["lr"] * group["lr_factor"] * lr_scale
        group["base_weight_decay"] = group.get("weight_decay", 0.0)
