"""DINO: a student's small crops must agree with a teacher's large ones.

Paper: Caron et al., "Emerging Properties in Self-Supervised Vision Transformers",
arXiv:2104.14294, section 3 and algorithm 1: multi-crop, a teacher that is the student's moving
average, centring and sharpening against collapse.
Differs from it: the student's encoder is evaluated unless `evaluated: teacher`; schedules are
fractions of the run instead of epochs; the last layer's length is fixed to 1 (their
norm_last_layer: true); the encoder begins as ViT's does, not at deviation 0.02.

B batch, V views, G large views, L prototypes.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vit.batch import Batch, DataSpec
from vit.ema import EMA
from vit.models.base import Encoder
from vit.objectives.base import Losses, Objective
from vit.objectives.parts.heads import Projection, PrototypeHead
from vit.objectives.parts.multi_crop import MultiCrop
from vit.objectives.parts.self_distillation import (
    Branch,
    Center,
    SelfDistillation,
    across_views,
    collapse_message,
    entropy,
    explained,
    marginal_entropy,
)

CROPS = MultiCrop(local_crops=8, global_area=(0.4, 1.0), local_area=(0.05, 0.4))  # the paper's
PROJECTION = Projection(prototypes=65536)
DISTILLATION = SelfDistillation(teacher_temperature=(0.04, 0.04), temperature_warmup=0.3)


class DINO(Objective):
    """Self-distillation without labels.

    Args:
        encoder: any.
        spec: the data.
        head: the projection to prototypes.
        crops: the views; two of them large.
        distillation: temperatures and momenta.
    """

    validity_protocols: ClassVar[tuple[str, ...]] = ("knn", "ridge", "linear", "attentive")

    def __init__(
        self,
        encoder: Encoder,
        spec: DataSpec,
        head: Projection = PROJECTION,
        crops: MultiCrop = CROPS,
        distillation: SelfDistillation = DISTILLATION,
    ) -> None:
        super().__init__(encoder, spec)
        self.views = crops.teacher_views(encoder, spec)
        self.distillation = distillation
        self.steps = 1  # of the run
        self.head = PrototypeHead(encoder.width, head)
        self.teacher = EMA(self.student())
        self.centre = Center(head.prototypes, distillation.center_momentum)

    def forward(self, batch: Batch, progress: float) -> Losses:
        """One step: two student passes (large views, small views), one of the teacher."""
        settings, count = self.distillation, len(batch)
        fixed_prototypes = progress < settings.last_layer_frozen
        large = torch.cat(batch.views[:2])
        teacher_logits = self.teacher(large)  # 2B L
        project = self.student()
        student = [project(large, fixed_prototypes)]
        if len(batch.views) > 2:
            student.append(project(torch.cat(batch.views[2:]), fixed_prototypes))
        student = torch.cat(student).view(-1, count, teacher_logits.shape[1])  # V B L
        target = self.centre.targets(teacher_logits, settings.temperature(progress))
        target = target.view(2, count, -1)
        losses = across_views(student, target, settings.student_temperature)
        if self.training:
            self.centre.note(teacher_logits)
        mean_entropy, marginal = entropy(target).mean(), marginal_entropy(target)
        monitors = {
            "teacher_entropy": mean_entropy,
            "teacher_marginal_entropy": marginal,
            "divergence": losses.mean().detach() - mean_entropy,
            "explained": explained(losses.mean(), mean_entropy, marginal),
        }
        return Losses(losses.mean(), {"loss": losses}, monitors)

    def student(self) -> Branch:
        """Encoder and projection as they are now."""
        return Branch(self.encoder, self.head)

    @property
    def kept_encoder(self) -> Encoder:
        """The student's, or the teacher's."""
        taught = self.distillation.evaluated == "teacher"
        return self.teacher.copy.encoder if taught else self.encoder

    def begin(self, steps: int) -> str | None:
        """The teacher's momentum may follow from the length."""
        self.steps = steps
        return self.distillation.note(steps)

    def before_step(self, progress: float) -> None:
        """Frozen prototypes are skipped."""
        if progress < self.distillation.last_layer_frozen:
            self.head.skip_prototypes()

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """The teacher follows the student; the centre follows the teacher's mean logits."""
        momentum = self.distillation.teacher_momentum(progress, self.steps)
        self.teacher.follow(self.student(), momentum)
        self.centre.follow()

    def collapse_message(self, results: dict[str, float]) -> str | None:
        """Collapse, as the teacher shows it."""
        return collapse_message(
            results["val/teacher_entropy"],
            results["val/teacher_marginal_entropy"],
            len(self.centre.mean),
        )

    def pictures(self, batch: Batch) -> dict[str, Float[Tensor, "B C H W"]]:
        """The crops of each image side by side, and where the teacher is sure, brightness apart."""
        side = batch.views[0].shape[-2:]
        views = [F.interpolate(view.float(), size=side) for view in batch.views]
        strip = torch.cat(views, -1)  # B C H VW
        temperature = self.distillation.temperature(1.0)
        sure = self.centre.targets(self.teacher(batch.views[0]), temperature).amax(-1)
        sure = sure.view(-1, 1, 1, 1).expand(-1, strip.shape[1], *side)
        return {"views": self.pixels(strip).clamp(0, 1), "teacher_confidence": sure}
