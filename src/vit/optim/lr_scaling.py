"""How a learning rate grows with the global batch."""

import math
from typing import Literal

Scaling = Literal["none", "linear", "sqrt"]


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
