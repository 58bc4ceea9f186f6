"""DINO: a student's small crops must agree with a teacher's large ones.

Paper: Caron et al., "Emerging Properties in Self-Supervised Vision Transformers",
arXiv:2104.14294, section 3 and algorithm 1: multi-crop, a teacher that is the student's moving
average, centring and sharpening against collapse.
Differs from it: the student's encoder is kept and judged, not the teacher's; schedules are
fractions of the run instead of epochs; the last layer's length is fixed to 1 (their
norm_last_layer: true); while it is frozen its gradient is 0, where the original's optimiser skips
it.

B batch, V views, G large views, L prototypes.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vit.batch import Batch, DataSpec
from vit.models.base import Encoder
from vit.models.ema import EMA
from vit.objectives.base import Losses, Objective, in_range
from vit.objectives.parts.heads import PrototypeHead
from vit.objectives.parts.multi_crop import multi_crop
from vit.objectives.parts.self_distillation import (
    Centre,
    across_views,
    collapse_message,
    entropy,
    explained,
    marginal_entropy,
    rising,
    warmed,
)


class Branch(nn.Module):
    """Encoder and projection together: what the teacher is a copy of."""

    def __init__(self, encoder: Encoder, head: PrototypeHead) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, images: Tensor, fixed_prototypes: bool = False) -> Tensor:
        return self.head(self.encoder(images).pooled, fixed_prototypes).float()


class DINO(Objective):
    """Self-distillation without labels.

    Args:
        encoder: any.
        spec: the data.
        prototypes: L. Paper: 65536, for 1.3 million images; 1024 is plenty for a thousand.
        hidden_width: width of the projection's hidden layers. Paper: 2048.
        bottleneck: width before the prototypes. Paper: 256.
        local_crops: small views an image. Paper: 8.
        local_size: their side in pixels; null: 96/224 of the image, rounded to whole patches.
        global_area: fraction of the image a large view covers. Paper: (0.4, 1).
        local_area: fraction of the image a small view covers. Paper: (0.05, 0.4).
        photometric: strength of brightness and colour changes.
        distorted: blur and solarise as the paper does; for photographs of about 224 px.
        student_temperature: Paper: 0.1.
        teacher_temperature: at the start and after the warm-up. Paper: (0.04, 0.04), or to 0.07.
        temperature_warmup: fraction of the run over which it rises. Paper: 30 of 100 epochs.
        momentum: of the teacher at the start; a cosine takes it to 1. Paper: 0.996.
        centre_momentum: Paper: 0.9.
        last_layer_frozen: fraction of the run before the prototypes learn. Paper: 1 of 100 epochs.
    """

    def __init__(
        self,
        encoder: Encoder,
        spec: DataSpec,
        prototypes: int = 65536,
        hidden_width: int = 2048,
        bottleneck: int = 256,
        local_crops: int = 8,
        local_size: int | None = None,
        global_area: tuple[float, float] = (0.4, 1.0),
        local_area: tuple[float, float] = (0.05, 0.4),
        photometric: float = 0.5,
        distorted: bool = False,
        student_temperature: float = 0.1,
        teacher_temperature: tuple[float, float] = (0.04, 0.04),
        temperature_warmup: float = 0.3,
        momentum: float = 0.996,
        centre_momentum: float = 0.9,
        last_layer_frozen: float = 0.0,
    ) -> None:
        super().__init__(encoder, spec)
        self.views = multi_crop(
            "DINO", encoder, spec, 2, local_crops, local_size, global_area, local_area, photometric,
            distorted,
        )  # fmt: skip
        in_range("DINO", momentum=momentum, centre_momentum=centre_momentum)
        in_range("DINO", temperature_warmup=temperature_warmup, last_layer_frozen=last_layer_frozen)
        if min(student_temperature, *teacher_temperature) <= 0:
            raise ValueError(
                "DINO: student_temperature and teacher_temperature must be above 0, "
                f"got {student_temperature} and {teacher_temperature}"
            )
        if prototypes < 2:
            raise ValueError(f"DINO: prototypes must be at least 2, got {prototypes}")
        self.student_temperature = student_temperature
        self.teacher_temperature, self.warmup = tuple(teacher_temperature), temperature_warmup
        self.momentum, self.last_layer_frozen = momentum, last_layer_frozen
        self.head = PrototypeHead(encoder.width, prototypes, hidden_width, bottleneck)
        self.teacher = EMA(self.student())
        self.centre = Centre(prototypes, centre_momentum)

    def temperature(self, progress: float) -> float:
        """The teacher's: linear from start to end over the warm-up."""
        return warmed(*self.teacher_temperature, self.warmup, progress)

    def forward(self, batch: Batch, progress: float) -> Losses:
        """One step: two student passes (large views, small views), one of the teacher."""
        count, fixed_prototypes = len(batch), progress < self.last_layer_frozen
        large = torch.cat(batch.views[:2])
        taught = self.teacher(large)  # 2B L
        project = self.student()
        student = [project(large, fixed_prototypes)]
        if len(batch.views) > 2:
            student.append(project(torch.cat(batch.views[2:]), fixed_prototypes))
        student = torch.cat(student).view(-1, count, taught.shape[1])  # V B L
        target = self.centre.targets(taught, self.temperature(progress)).view(2, count, -1)
        losses = across_views(student, target, self.student_temperature)
        if self.training:
            self.centre.note(taught)
        own, spread = entropy(target).mean(), marginal_entropy(target)
        monitors = {
            "teacher_entropy": own,
            "teacher_marginal_entropy": spread,
            "divergence": losses.mean().detach() - own,
            "explained": explained(losses.mean(), own, spread),
        }
        return Losses(losses.mean(), {"loss": losses}, monitors)

    def student(self) -> Branch:
        """Encoder and projection as they are now."""
        return Branch(self.encoder, self.head)

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """The teacher follows the student; the centre follows the teacher's mean logits."""
        self.teacher.follow(self.student(), rising(self.momentum, progress))
        self.centre.follow()

    def collapse_message(self, results: dict[str, float]) -> str | None:
        """Collapse, as the teacher shows it."""
        told = results["val/teacher_entropy"], results["val/teacher_marginal_entropy"]
        return collapse_message(*told, len(self.centre.mean))

    def pictures(self, batch: Batch) -> dict[str, Float[Tensor, "B C H W"]]:
        """The crops of each image side by side, and where the teacher is sure, brightness apart."""
        side = batch.views[0].shape[-2:]
        views = [F.interpolate(view.float(), size=side) for view in batch.views]
        strip = torch.cat(views, -1)  # B C H VW
        sure = self.centre.targets(self.teacher(batch.views[0]), self.temperature(1.0)).amax(-1)
        sure = sure.view(-1, 1, 1, 1).expand(-1, strip.shape[1], *side)
        return {"views": self.pixels(strip).clamp(0, 1), "teacher_confidence": sure}
