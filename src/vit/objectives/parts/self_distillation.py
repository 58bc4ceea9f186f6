"""What a student learns from a teacher's soft choice among prototypes, and what keeps it alive.

Papers: Caron et al. (DINO), arXiv:2104.14294, section 3.1; Zhou et al. (iBOT), arXiv:2111.07832,
section 3: cross-entropy against targets that are sharpened by a low temperature, which alone would
end in one prototype for all images, and centred, which alone would end in all prototypes alike.

B batch, V views, G large views, L prototypes, M tokens.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vit.collectives import mean_over_ranks
from vit.precision import as_given


class Centre(nn.Module):
    """The running mean of a teacher's logits, over micro-batches and ranks.

    Args:
        prototypes: L.
        momentum: paper: 0.9.
    """

    def __init__(self, prototypes: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(prototypes))
        self.seen: list[Tensor] = []  # means of this step's micro-batches

    def targets(self, taught: Float[Tensor, "... L"], temperature: float) -> Tensor:
        """Probabilities; no gradient flows into them."""
        return ((taught - self.mean) / temperature).softmax(-1).detach()

    def note(self, taught: Float[Tensor, "... L"]) -> None:
        """Remember a micro-batch's logits for `follow`."""
        self.seen.append(taught.detach().flatten(0, -2).mean(0))

    @torch.no_grad()
    def follow(self) -> None:
        """Once a step, after the optimiser's."""
        mean = mean_over_ranks(torch.stack(self.seen).mean(0))
        self.seen.clear()
        self.mean.mul_(self.momentum).add_(mean, alpha=1 - self.momentum)


def across_views(
    student: Float[Tensor, "V B L"], target: Float[Tensor, "G B L"], temperature: float
) -> Float[Tensor, " B"]:
    """Cross-entropy of each image, mean over pairs of different views.

    The first G student views are the teacher's; a pair of the same view is left out. In float32:
    near the teacher the gradient is a difference of two like probabilities.
    """
    predicted = (student / temperature).log_softmax(-1)  # V B L
    with as_given(student):
        pairs = -torch.einsum("gbl,vbl->gvb", target, predicted)
    views, large = len(student), len(target)
    same = torch.eye(large, views, dtype=torch.bool, device=pairs.device)[..., None]
    return torch.where(same, 0, pairs).sum((0, 1)) / (large * views - large)


def cross_entropy(
    student: Float[Tensor, "... L"], target: Float[Tensor, "... L"], temperature: float
) -> Float[Tensor, "..."]:
    """Of each row."""
    return -(target * (student / temperature).log_softmax(-1)).sum(-1)


def entropy(target: Float[Tensor, "... L"]) -> Float[Tensor, "..."]:
    """Of each row: near 0 all is one prototype, near ln L all prototypes are alike."""
    return -(target * target.clamp(min=1e-12).log()).sum(-1)


def warmed(start: float, end: float, fraction: float, progress: float) -> float:
    """Linear from start to end over the first fraction of a run."""
    return start + (end - start) * min(progress / fraction if fraction else 1.0, 1.0)


def rising(momentum: float, progress: float) -> float:
    """A teacher's momentum: half a cosine from its start to 1."""
    return 1 - (1 - momentum) * (math.cos(math.pi * progress) + 1) / 2


def marginal_entropy(target: Float[Tensor, "... L"]) -> Float[Tensor, ""]:
    """Entropy of the mean of all rows: near 0 all rows are on one prototype."""
    return entropy(target.flatten(0, -2).mean(0))


def explained(loss: Tensor, entropy: Tensor, marginal_entropy: Tensor) -> Tensor:
    """Fraction of what the teacher tells apart that the student foretells.

    0: no better than one answer for all images; 1: the teacher's own targets. All three are means,
    in nats.
    """
    return ((marginal_entropy - loss) / (marginal_entropy - entropy).clamp(min=1e-6)).detach()


def collapse_message(
    entropy: float, marginal_entropy: float, prototypes: int, shown: str = "images"
) -> str | None:
    """The two ways in which self-distillation dies: all prototypes alike, or one for everything.

    Args:
        entropy: mean over the targets.
        marginal_entropy: that of their mean.
        prototypes: L.
        shown: what the targets are of.
    """
    most = math.log(prototypes)
    if entropy > 0.99 * most:
        return (
            f"the teacher finds all prototypes alike for {shown} (entropy at its maximum); lower "
            "teacher_temperature, or take fewer prototypes"
        )
    if marginal_entropy < 0.1 * most:  # three of 65,536 prototypes, or less than two of 256
        return (
            f"the teacher puts all {shown} on about one prototype; raise "
            "teacher_temperature or momentum, or lower the learning rate"
        )
    return None
