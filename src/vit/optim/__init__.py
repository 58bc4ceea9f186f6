"""How weights change: parameter groups, schedules, the learning-rate rule, clipping, Muon."""

from vit.optim.clipping import Clip
from vit.optim.groups import check_factors, freeze, note_base_values, parameter_groups
from vit.optim.lr_scaling import Scaling, scaled_lr
from vit.optim.muon import Muon
from vit.optim.schedules import Constant, Cosine, Linear, Schedule, Steps

__all__ = [
    "Clip",
    "Constant",
    "Cosine",
    "Linear",
    "Muon",
    "Scaling",
    "Schedule",
    "Steps",
    "check_factors",
    "freeze",
    "note_base_values",
    "parameter_groups",
    "scaled_lr",
]
