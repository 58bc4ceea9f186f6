"""How many directions features really use: the effective rank that tells of collapse.

RankMe: Garrido et al., arXiv:2210.02885, equation 1: the exponential of the entropy of the
normalised singular values. 1: all images on one line. Needs no labels.
"""

import torch
from jaxtyping import Float
from torch import Tensor

EPSILON = 1e-7  # the paper's
COLLAPSED = 1.5  # below it features lie on about one line


def rankme(features: Float[Tensor, "M _d"]) -> float:
    """From 1 to the smaller of M and the width; features are not centred, as in the paper."""
    values = torch.linalg.svdvals(features.double().cpu())
    fraction = values / values.sum() + EPSILON
    return float((-(fraction * fraction.log()).sum()).exp())
