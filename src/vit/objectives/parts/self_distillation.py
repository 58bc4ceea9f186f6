"""What a student learns from a teacher's soft choice among prototypes, and what keeps it alive.

Papers: Caron et al. (DINO), arXiv:2104.14294, section 3.1; Zhou et al. (iBOT), arXiv:2111.07832,
section 3: cross-entropy against targets that are sharpened by a low temperature, which alone would
end in one prototype for all images, and centred, which alone would end in all prototypes alike.

B batch, V views, G large views, L prototypes, M tokens.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vit.collectives import mean_over_ranks
from vit.models.base import Encoder
from vit.objectives.base import check_fractions
from vit.objectives.parts.heads import PrototypeHead
from vit.precision import as_given

RANDOM_LEFT = 0.01  # of a teacher's random start, at most, after a run


@dataclass(frozen=True)
class SelfDistillation:
    """How sharply a student and its teacher choose, and how the teacher follows.

    Args:
        student_temperature: divides the student's logits. Papers: 0.1.
        teacher_temperature: divides the teacher's, at the start and after the warm-up. DINO:
            (0.04, 0.04), or to 0.07; iBOT: (0.04, 0.07).
        temperature_warmup: fraction of the run over which it rises. DINO: 30 of 100 epochs; iBOT:
            30 of 800.
        momentum: of the teacher at the start; a cosine takes it to 1. Papers: 0.996, for 100,000
            steps. null: the highest up to that by which the teacher forgets its random start.
        center_momentum: of the mean of the teacher's logits. Papers: 0.9.
        last_layer_frozen: fraction of the run before the prototypes learn. Papers: 1 epoch.
        evaluated: whose encoder probes, `evaluate` and later runs read; of the two the teacher is
            the average. Papers: the teacher's.
    """

    student_temperature: float = 0.1
    teacher_temperature: tuple[float, float] = (0.04, 0.04)
    temperature_warmup: float = 0.3
    momentum: float | None = 0.996
    center_momentum: float = 0.9
    last_layer_frozen: float = 0.0
    evaluated: Literal["student", "teacher"] = "student"

    def __post_init__(self) -> None:
        check_fractions(
            "SelfDistillation",
            momentum=1.0 if self.momentum is None else self.momentum,
            center_momentum=self.center_momentum,
            temperature_warmup=self.temperature_warmup,
            last_layer_frozen=self.last_layer_frozen,
        )
        if not min(self.student_temperature, *self.teacher_temperature) > 0:
            raise ValueError(
                "SelfDistillation: student_temperature and teacher_temperature must be above 0, "
                f"got {self.student_temperature} and {tuple(self.teacher_temperature)}"
            )

    def temperature(self, progress: float) -> float:
        """The teacher's temperature: linear from start to end over the warm-up."""
        start, end = self.teacher_temperature
        return linear_warmup(start, end, self.temperature_warmup, progress)

    def teacher_momentum(self, progress: float, steps: int) -> float:
        """How much of itself the teacher keeps at a step of a run of so many."""
        start = forgetting_momentum(steps) if self.momentum is None else self.momentum
        return cosine_to_one(start, progress)

    def note(self, steps: int) -> str | None:
        """What to say where the teacher is still its random start, in part, after so many steps."""
        allowed = forgetting_momentum(steps)
        if self.momentum is None:
            return f"teacher: momentum {allowed:.4g} to 1, which {steps:,} steps allow"
        left = remaining(self.momentum, steps)
        if left <= RANDOM_LEFT:
            return None
        return (
            f"teacher: {left:.0%} of its random start is left after {steps:,} steps at momentum "
            f"{self.momentum:g} to 1; under {RANDOM_LEFT:.0%} from {allowed:.4g} down (null: that)"
        )


class Branch(nn.Module):
    """An encoder and the projection on it: what a teacher is a copy of."""

    def __init__(self, encoder: Encoder, head: PrototypeHead) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, images: Tensor, fixed_prototypes: bool = False) -> Tensor:
        return self.head(self.encoder(images).pooled, fixed_prototypes).float()


class Center(nn.Module):
    """The running mean of a teacher's logits, over micro-batches and ranks.

    Args:
        prototypes: L.
        momentum: fraction of the mean that stays at each step. Papers: 0.9.
    """

    def __init__(self, prototypes: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(prototypes))
        self.step_means: list[Tensor] = []  # of this step's micro-batches

    def targets(self, logits: Float[Tensor, "... L"], temperature: float) -> Tensor:
        """The teacher's probabilities; no gradient flows into them."""
        return ((logits - self.mean) / temperature).softmax(-1).detach()

    def note(self, logits: Float[Tensor, "... L"]) -> None:
        """Remember a micro-batch's logits for `follow`."""
        self.step_means.append(logits.detach().flatten(0, -2).mean(0))

    @torch.no_grad()
    def follow(self) -> None:
        """Move towards the mean of the logits noted since the last call; once a step."""
        mean = mean_over_ranks(torch.stack(self.step_means).mean(0))
        self.step_means.clear()
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
    """The cross-entropy of each row of logits with its target."""
    return -(target * (student / temperature).log_softmax(-1)).sum(-1)


def entropy(target: Float[Tensor, "... L"]) -> Float[Tensor, "..."]:
    """The entropy of each row: near 0 all is one prototype, near ln L all prototypes are alike."""
    return -(target * target.clamp(min=1e-12).log()).sum(-1)


def remaining(momentum: float, steps: int) -> float:
    """The fraction of its start that a teacher still is after a run, its momentum rising to 1.

    The product of `cosine_to_one` over the steps: 1 - momentum is halved by the cosine, on average.
    """
    return math.exp(-(1 - momentum) * steps / 2)


def forgetting_momentum(steps: int) -> float:
    """The highest momentum, up to the papers', that leaves RANDOM_LEFT of a teacher's start."""
    return min(max(1 + 2 * math.log(RANDOM_LEFT) / max(steps, 1), 0.0), 0.996)


def linear_warmup(start: float, end: float, fraction: float, progress: float) -> float:
    """A value that goes linearly from start to end over the first fraction of a run."""
    return start + (end - start) * min(progress / fraction if fraction else 1.0, 1.0)


def cosine_to_one(start: float, progress: float) -> float:
    """A value that goes from its start to 1 by half a cosine."""
    return 1 - (1 - start) * (math.cos(math.pi * progress) + 1) / 2


def marginal_entropy(target: Float[Tensor, "... L"]) -> Float[Tensor, ""]:
    """Entropy of the mean of all rows: near 0 all rows are on one prototype."""
    return entropy(target.flatten(0, -2).mean(0))


def explained(loss: Tensor, entropy: Tensor, marginal_entropy: Tensor) -> Tensor:
    """Fraction of the teacher's distinctions that the student predicts.

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
        marginal_entropy: the entropy of their mean.
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
