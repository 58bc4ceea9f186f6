"""How weights change: parameter groups, schedules, the learning-rate rule, clipping, Muon."""

from vit.optim.clipping import Clip
from vit.optim.groups import check_factors, freeze, parameter_groups, prepare
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
    "parameter_groups",
    "prepare",
    "scaled_lr",
]
