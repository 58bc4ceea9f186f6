"""What stands on an encoder during training and is thrown away after it.

B batch, D width, L classes or prototypes.
"""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Projection:
    """The size of a PrototypeHead.

    Args:
        prototypes: L. DINO: 65536, for 1.3 million images; iBOT: 8192; 1024 is plenty for a
            thousand.
        hidden_width: width of the two hidden layers. Papers: 2048.
        bottleneck: numbers before the prototypes. Papers: 256.
    """

    prototypes: int
    hidden_width: int = 2048
    bottleneck: int = 256

    def __post_init__(self) -> None:
        if self.prototypes < 2 or min(self.hidden_width, self.bottleneck) < 1:
            raise ValueError(
                "Projection: prototypes must be at least 2, hidden_width and bottleneck at least "
                f"1, got {self.prototypes}, {self.hidden_width} and {self.bottleneck}"
            )


class PrototypeHead(nn.Module):
    """DINO's projection: MLP, unit length, cosine with L prototypes.

    Caron et al., arXiv:2104.14294, section 3.1; their weight-normalised last layer with its length
    fixed to 1 is here a plain matrix whose rows are normalised on use, so that it can be copied,
    averaged and sharded like any other.

    Args:
        width: D.
        size: of the layers and of what they end in.
    """

    def __init__(self, width: int, size: Projection) -> None:
        super().__init__()
        hidden_width, bottleneck = size.hidden_width, size.bottleneck
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden_width),
            nn.GELU(),
            nn.Linear(hidden_width, hidden_width),
            nn.GELU(),
            nn.Linear(hidden_width, bottleneck),
        )
        self.prototypes = nn.Parameter(torch.empty(size.prototypes, bottleneck))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        nn.init.kaiming_uniform_(self.prototypes, a=5**0.5)  # nn.Linear's start, as in DINO's code

    def forward(self, features: Float[Tensor, "... D"], fixed_prototypes: bool = False) -> Tensor:
        """Logits; fixed prototypes get a gradient of zeros, since all ranks wait for one."""
        rows = self.prototypes
        rows = rows.detach() + 0 * rows if fixed_prototypes else rows
        return F.linear(F.normalize(self.mlp(features), dim=-1), F.normalize(rows, dim=-1))

    def skip_prototypes(self) -> None:
        """Let the optimiser pass over the prototypes at this step, as DINO's code does.

        With zeros instead, Adam would count the step, and its updates after the thaw would be
        several times lr; and weight decay would go on.
        """
        self.prototypes.grad = None
