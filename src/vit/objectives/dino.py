"""DINO: a student's small crops must agree with a teacher's large ones.

Paper: Caron et al., "Emerging Properties in Self-Supervised Vision Transformers",
arXiv:2104.14294, section 3 and algorithm 1: multi-crop, a teacher that is the student's moving
average, centring and sharpening against collapse.
Differs from it: schedules are shares of the run instead of epochs; no blur or solarisation; the
last layer's length is fixed to 1 (their norm_last_layer: true) and trains from the first step.

B batch, V views, G large views, L prototypes.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vit.batch import Batch, DataSpec, ViewSpec
from vit.models.base import Encoder
from vit.models.heads import PrototypeHead
from vit.models.teacher import Teacher
from vit.objectives.base import Losses, Objective
from vit.ranks import mean_over_ranks


class Branch(nn.Module):
    """Encoder and projection together: what the teacher is a copy of."""

    def __init__(self, encoder: Encoder, head: PrototypeHead) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.encoder(images).pooled).float()


class DINO(Objective):
    """Self-distillation without labels.

    Args:
        encoder: any.
        spec: the data.
        prototypes: L. Paper: 65536, for 1.3 million images; 1024 is plenty for a thousand.
        hidden: width of the projection's hidden layers. Paper: 2048.
        bottleneck: width before the prototypes. Paper: 256.
        local_crops: small views an image. Paper: 8.
        local_size: their side in pixels; null: 96/224 of the image, rounded to whole patches.
        global_area: share of the image a large view covers. Paper: (0.4, 1).
        local_area: share of the image a small view covers. Paper: (0.05, 0.4).
        photometric: strength of brightness and colour changes.
        student_temperature: Paper: 0.1.
        teacher_temperature: at the start and after the warm-up. Paper: (0.04, 0.04), or to 0.07.
        temperature_warmup: share of the run over which it rises. Paper: 30 of 100 epochs.
        momentum: of the teacher at the start; a cosine takes it to 1. Paper: 0.996.
        centre_momentum: Paper: 0.9.
    """

    def __init__(
        self,
        encoder: Encoder,
        spec: DataSpec,
        prototypes: int = 65536,
        hidden: int = 2048,
        bottleneck: int = 256,
        local_crops: int = 8,
        local_size: int | None = None,
        global_area: tuple[float, float] = (0.4, 1.0),
        local_area: tuple[float, float] = (0.05, 0.4),
        photometric: float = 0.5,
        student_temperature: float = 0.1,
        teacher_temperature: tuple[float, float] = (0.04, 0.04),
        temperature_warmup: float = 0.3,
        momentum: float = 0.996,
        centre_momentum: float = 0.9,
    ) -> None:
        super().__init__(encoder, spec)
        for name, (low, high) in (("global_area", global_area), ("local_area", local_area)):
            if not 0 < low <= high <= 1:
                raise ValueError(f"DINO: {name} must rise within (0, 1], got {(low, high)}")
        check(
            [
                ("momentum", "in [0, 1]", momentum, 0 <= momentum <= 1),
                ("centre_momentum", "in [0, 1]", centre_momentum, 0 <= centre_momentum <= 1),
                (
                    "temperature_warmup",
                    "in [0, 1]",
                    temperature_warmup,
                    0 <= temperature_warmup <= 1,
                ),
                ("student_temperature", "above 0", student_temperature, student_temperature > 0),
                (
                    "teacher_temperature",
                    "above 0",
                    teacher_temperature,
                    min(teacher_temperature) > 0,
                ),
                ("prototypes", "at least 1", prototypes, prototypes > 0),
                ("local_crops", "at least 0", local_crops, local_crops >= 0),
            ]
        )
        patch = getattr(encoder, "patch_size", 1)
        side = local_size or max(round(min(spec.image_size) * 96 / 224 / patch), 1) * patch
        check([("local_size", f"a multiple of patch_size {patch}", side, side % patch == 0)])
        large = ViewSpec(count=2, area=tuple(global_area), photometric=photometric)
        small = ViewSpec(local_crops, side, tuple(local_area), photometric)
        self.views = (large, small) if local_crops else (large,)
        self.student_temperature = student_temperature
        self.teacher_temperature, self.warmup = tuple(teacher_temperature), temperature_warmup
        self.momentum, self.centre_momentum = momentum, centre_momentum
        self.head = PrototypeHead(encoder.width, prototypes, hidden, bottleneck)
        self.teacher = Teacher(Branch(encoder, self.head))
        self.register_buffer("centre", torch.zeros(prototypes))
        self.seen: list[Tensor] = []  # teacher means of this step's micro-batches

    def temperature(self, progress: float) -> float:
        """The teacher's: linear from start to end over the warm-up."""
        start, end = self.teacher_temperature
        return start + (end - start) * min(progress / self.warmup if self.warmup else 1.0, 1.0)

    def forward(self, batch: Batch, progress: float) -> Losses:
        """One step: two student passes (large views, small views), one of the teacher."""
        count = len(batch)
        large = torch.cat(batch.views[:2])
        taught = self.teacher(large)  # 2B L
        student = [self.project(large)]
        if len(batch.views) > 2:
            student.append(self.project(torch.cat(batch.views[2:])))
        student = torch.cat(student).view(-1, count, taught.shape[1])  # V B L
        taught = taught.view(2, count, -1)
        losses, entropy = self_distillation(
            student, taught, self.centre, self.student_temperature, self.temperature(progress)
        )
        if self.training:
            self.seen.append(taught.mean((0, 1)).detach())
        monitors = {"teacher_entropy": entropy.mean(), "divergence": (losses - entropy).mean()}
        return Losses(losses.mean(), {"loss": losses}, {k: v.detach() for k, v in monitors.items()})

    def project(self, images: Tensor) -> Tensor:
        """The student's prototype logits."""
        return self.head(self.encoder(images).pooled).float()

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """The teacher follows the student; the centre follows the teacher's mean logits."""
        momentum = 1 - (1 - self.momentum) * (math.cos(math.pi * progress) + 1) / 2
        self.teacher.follow(Branch(self.encoder, self.head), momentum)
        mean = mean_over_ranks(torch.stack(self.seen).mean(0))
        self.seen.clear()
        self.centre.mul_(self.centre_momentum).add_(mean, alpha=1 - self.centre_momentum)

    def pictures(self, batch: Batch) -> dict[str, Float[Tensor, "B C H W"]]:
        """The crops of each image side by side, and where the teacher is sure, brightness apart."""
        side = batch.views[0].shape[-2:]
        views = [F.interpolate(view.float(), size=side) for view in batch.views]
        strip = torch.cat(views, -1)  # B C H VW
        sure = self.teacher(batch.views[0]).sub(self.centre).div(self.temperature(1.0))
        sure = sure.softmax(-1).amax(-1).view(-1, 1, 1, 1).expand(-1, strip.shape[1], *side)
        return {"views": self.pixels(strip).clamp(0, 1), "teacher_confidence": sure}


def check(settings: list[tuple[str, str, object, bool]]) -> None:
    """Name the first setting that is out of its range."""
    for name, rule, value, fine in settings:
        if not fine:
            raise ValueError(f"DINO: {name} must be {rule}, got {value}")


def self_distillation(
    student: Float[Tensor, "V B L"],
    taught: Float[Tensor, "G B L"],
    centre: Float[Tensor, " L"],
    student_temperature: float,
    teacher_temperature: float,
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """DINO's loss of each image (mean over pairs of different views) and the targets' entropy.

    The first G student views are the teacher's; a pair of the same view is left out.
    """
    target = ((taught - centre) / teacher_temperature).softmax(-1).detach()  # G B L
    predicted = (student / student_temperature).log_softmax(-1)  # V B L
    pairs = -torch.einsum("gbl,vbl->gvb", target, predicted)
    views, large = len(student), len(taught)
    same = torch.eye(large, views, dtype=torch.bool, device=pairs.device)[..., None]
    loss = torch.where(same, 0, pairs).sum((0, 1)) / (large * views - large)
    entropy = -(target * target.clamp(min=1e-12).log()).sum(-1).mean(0)
    return loss, entropy
