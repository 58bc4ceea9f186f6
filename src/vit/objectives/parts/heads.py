"""What stands on an encoder during training and is thrown away after it.

B batch, D width, L classes or prototypes.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class LinearHead(nn.Linear):
    """A linear layer that starts at zero weights (ViT paper, section 3.2).

    Args:
        width: D.
        outputs: L.
        bias_start: start value of every bias. ViT paper with the sigmoid loss: -10; big_vision
            on ImageNet-1k: -ln 1000.
    """

    def __init__(self, width: int, outputs: int, bias_start: float = 0.0) -> None:
        self.bias_start = bias_start
        super().__init__(width, outputs)

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.constant_(self.bias, self.bias_start)


class PrototypeHead(nn.Module):
    """DINO's projection: MLP, unit length, cosine with L prototypes.

    Caron et al., arXiv:2104.14294, section 3.1; their weight-normalised last layer with its length
    fixed to 1 is here a plain matrix whose rows are normalised on use, so that it can be copied,
    averaged and sharded like any other.

    Args:
        width: D.
        prototypes: L. Paper: 65536.
        hidden_width: width of the two hidden layers. Paper: 2048.
        bottleneck: numbers before the prototypes. Paper: 256.
    """

    def __init__(self, width: int, prototypes: int, hidden_width: int, bottleneck: int) -> None:
        super().__init__()
        if min(prototypes, hidden_width, bottleneck) < 1:
            raise ValueError(
                "PrototypeHead: prototypes, hidden_width and bottleneck must be at least 1, "
                f"got {prototypes}, {hidden_width} and {bottleneck}"
            )
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden_width),
            nn.GELU(),
            nn.Linear(hidden_width, hidden_width),
            nn.GELU(),
            nn.Linear(hidden_width, bottleneck),
        )
        self.prototypes = nn.Parameter(torch.empty(prototypes, bottleneck))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        nn.init.kaiming_uniform_(self.prototypes, a=5**0.5)  # nn.Linear's own, as in DINO's code

    def forward(self, features: Float[Tensor, "... D"], fixed_prototypes: bool = False) -> Tensor:
        """Logits; fixed prototypes get a gradient of zeros, since all ranks wait for one."""
        rows = self.prototypes
        rows = rows.detach() + 0 * rows if fixed_prototypes else rows
        return F.linear(F.normalize(self.mlp(features), dim=-1), F.normalize(rows, dim=-1))
