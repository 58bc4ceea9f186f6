"""Where half precision would round away what is computed."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def as_given(like: Tensor) -> AbstractContextManager:
    """No autocast on a tensor's device: matrix products keep the dtype of what goes in."""
    kind = like.device.type
    # on meta, where only operations are counted, there is no autocast
    return nullcontext() if kind == "meta" else torch.autocast(kind, enabled=False)
