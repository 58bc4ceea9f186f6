"""What a fit prints of its groups of parameters: a line a kind, whatever the layer decay."""

import torch

from vit.callbacks.header import group_lines


def group(factor: float, kind: str, count: int, decay: float) -> dict:
    return {
        "name": f"lr x {factor:.4g}, {kind}",
        "lr_factor": factor,
        "base_weight_decay": decay,
        "params": [torch.zeros(count)],
    }


def test_layers_with_rates_of_their_own_take_one_line():
    lines = group_lines([
        group(0.25, "decay", 1000, 0.05), group(0.25, "no decay", 10, 0.0),
        group(0.5, "decay", 2000, 0.05), group(1.0, "decay", 4000, 0.05),
        group(1.0, "no decay", 20, 0.0),
    ])  # fmt: skip
    assert lines == [
        "group: lr x 0.25 to 1 by layer, decay: 7,000 parameters, weight decay 0.05",
        "group: lr x 0.25 to 1 by layer, no decay: 30 parameters, weight decay 0",
    ]


def test_one_rate_for_all_says_it():
    assert group_lines([group(1.0, "decay", 1000, 0.1)]) == [
        "group: lr x 1, decay: 1,000 parameters, weight decay 0.1"
    ]
