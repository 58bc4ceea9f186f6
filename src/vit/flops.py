"""What a training step costs in floating-point operations, counted by PyTorch on the meta device.

Nothing is computed: shapes run through the objective's own forward and backward, so tokens that a
masked encoder drops, a teacher's pass without gradient, and small crops are counted as they are.
Two operations a multiply-add, as in the ViT paper's exaFLOPs.
"""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vit.batch import DataSpec, dummy_batch
from vit.objectives.base import Objective

# data-sheet peaks of dense bf16 matrix products, in operations a second, by a part of the name
PEAKS = {
    "H100 80GB HBM3": 989e12,  # SXM; the PCIe card has less
    "H200": 989e12,
    "A100": 312e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}
IMAGES = 2  # in the counted batch; more than one, for objectives that pair images
PARTLY = 20  # where some rows need no label and cost less


def training_flops(objective: Objective, spec: DataSpec) -> float:
    """Floating-point operations of forward and backward for one image."""
    shadow = _on_meta(objective).train()
    images = PARTLY if objective.unlabelled else IMAGES
    batch = dummy_batch(spec, objective.views, images).to("meta")
    with FlopCounterMode(display=False) as counter:
        shadow(batch, 0.0).loss.backward()
    return counter.get_total_flops() / images


def flops_or_nan(objective: Objective, spec: DataSpec) -> float:
    """The same, or NaN and a line for people where an objective cannot be counted."""
    try:
        return training_flops(objective, spec)
    except RuntimeError:  # it looks into tensors, which here are empty
        kind = type(objective).__name__
        print(f"FLOPs: not counted, {kind} does not run on tensors without data")
        return float("nan")


def peak_of(device: torch.device) -> float | None:
    """Operations a second that the device's maker states for bf16; None where it is not listed."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAKS.items() if part in name), None)


def _on_meta(objective: nn.Module) -> nn.Module:
    """A copy without data: every tensor is replaced by its shape before deepcopy reaches it."""
    memo = {}
    for tensor in (*objective.parameters(), *objective.buffers()):
        empty = torch.empty_like(tensor, device="meta")
        if isinstance(tensor, nn.Parameter):
            empty = nn.Parameter(empty, requires_grad=tensor.requires_grad)
        memo[id(tensor)] = empty
    return copy.deepcopy(objective, memo)
