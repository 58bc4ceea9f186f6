"""Distillation as in DeiT: an extra token learns the answers of a trained classifier.

Paper: Touvron et al., "Training data-efficient image transformers & distillation through
attention", arXiv:2012.12877, section 4.
Differs from it: the token has one table entry (token and position are one sum); the soft loss is
averaged over images as the paper writes it, where the released code also divides by the classes.

B batch, C channels, N patches, D width, L classes.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vit.batch import Batch, DataSpec
from vit.models.base import TokenEncoder
from vit.models.classifier import classifier
from vit.objectives.base import Losses, Objective, check_fractions
from vit.objectives.parts.classification import (
    MOST_CLASSES,
    class_counts,
    class_loss,
    score_label,
    with_class_averages,
)
from vit.objectives.parts.heads import LinearHead
from vit.objectives.parts.held import Held, same_teacher
from vit.objectives.parts.mixing import Mixing, blended, mixing_pictures


@dataclass(frozen=True)
class TeacherLoss:
    """How a teacher's answer enters the loss.

    Args:
        kind: hard: its first choice (paper: better); soft: its probabilities.
        weight: of the teacher's part in the loss; the labels have the rest. Paper: 0.5 (hard), 0.1
            (soft).
        temperature: of soft answers. Paper: 3.
    """

    kind: Literal["hard", "soft"] = "hard"
    weight: float = 0.5
    temperature: float = 3.0

    def __post_init__(self) -> None:
        check_fractions("TeacherLoss", weight=self.weight)
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"TeacherLoss: temperature must be above 0, got {self.temperature}")

    def __call__(
        self, logits: Float[Tensor, "B L"], answers: Float[Tensor, "B L"]
    ) -> Float[Tensor, " B"]:
        """Cross-entropy with the first choice, or T^2 KL of softened answers."""
        if self.kind == "hard":
            return F.cross_entropy(logits, answers.argmax(1), reduction="none")
        ours = (logits / self.temperature).log_softmax(1)
        theirs = (answers / self.temperature).log_softmax(1)
        gap = F.kl_div(ours, theirs, reduction="none", log_target=True).sum(1)
        return gap * self.temperature**2


class Distillation(Objective):
    """Learn the labels with one token and a teacher's answers with another.

    Args:
        encoder: with patch tokens.
        spec: the data.
        teacher: run folder or checkpoint of a supervised run, or torchvision/<name>.
        weights: of torchvision's teacher: a file, or a name such as IMAGENET1K_V2.
        teacher_loss: which of its answers is learned, and how much it weighs.
        label_smoothing: fraction of the labels' target spread over all classes.
        mixing: mixup and CutMix of training images, which the teacher sees too.
    """

    uses_labels: ClassVar[bool] = True
    best: ClassVar[tuple[str, str]] = ("val/accuracy", "max")
    validity_protocols: ClassVar[tuple[str, ...]] = ("knn", "ridge", "linear", "attentive")

    def __init__(
        self,
        encoder: TokenEncoder,
        spec: DataSpec,
        teacher: str = "",
        weights: str | None = None,
        teacher_loss: TeacherLoss = TeacherLoss(),
        label_smoothing: float = 0.0,
        mixing: Mixing | None = None,
    ) -> None:
        super().__init__(encoder, spec)
        if not teacher:
            raise ValueError("Distillation: teacher must name a supervised run or torchvision/...")
        if not 0 <= label_smoothing < 1:
            raise ValueError(
                f"Distillation: label_smoothing must be in [0, 1), got {label_smoothing}"
            )
        if spec.multi_label:
            raise ValueError("Distillation: needs one label an image, the data has several")
        self.teacher_loss = teacher_loss
        self.smoothing = label_smoothing
        self.mixing = mixing
        self.head = LinearHead(encoder.width, len(spec.classes))
        self.taught_head = LinearHead(encoder.width, len(spec.classes))
        self.token = nn.Parameter(torch.empty(encoder.width))
        trained = classifier(teacher, weights, spec)
        self.teacher, self.lineage = Held(trained), trained.lineage
        self.register_buffer("teacher_key", self.teacher.mark())
        self.register_load_state_dict_post_hook(same_teacher)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.trunc_normal_(self.token, std=0.02)

    def both(self, images: Float[Tensor, "B C H W"]) -> tuple[Tensor, Tensor]:
        """Logits of the label head and of the teacher's head, B L each."""
        encoder = self.encoder
        patches = encoder.add_position(encoder.embed(images))
        token = self.token.to(patches.dtype).expand(len(patches), 1, -1)
        tokens = encoder.encode(patches, prefix=token)
        place = tokens.shape[1] - patches.shape[1] - 1
        rest = torch.cat([tokens[:, :place], tokens[:, place + 1 :]], 1)
        labels, taught = self.head(encoder.pool(rest)), self.taught_head(tokens[:, place])
        return labels.float(), taught.float()

    def predict(self, images: Float[Tensor, "B C H W"]) -> dict[str, Float[Tensor, "B L"]]:
        """The mean of both heads, as the paper tests."""
        labels, taught = self.both(images)
        return {"logits": (labels + taught) / 2}

    def forward(self, batch: Batch, progress: float) -> Losses:
        """One step; of a blended image, accuracy asks for the larger part's label."""
        labels = batch.labels.clamp(min=0)
        mixed = blended(self.mixing, batch, progress)
        images = batch.images if mixed is None else mixed.images
        label_logits, teacher_logits = self.both(images)
        loss = class_loss(label_logits, labels, smoothing=self.smoothing)
        if mixed is not None:
            other = class_loss(label_logits, labels[mixed.partner], smoothing=self.smoothing)
            loss = mixed.blend(loss, other)
            labels = mixed.larger_part(labels)
        answers = self.teacher(self.pixels(images)).float()
        from_teacher = self.teacher_loss(teacher_logits, answers)
        weight = self.teacher_loss.weight
        loss = (1 - weight) * loss + weight * from_teacher
        logits = (label_logits + teacher_logits) / 2
        per_image = {"loss": loss, "teacher_loss": from_teacher} | score_label(logits, labels)
        per_image["teacher_accuracy"] = (answers.argmax(1) == labels).float()
        if batch.epoch is not None:
            return Losses(loss.mean(), per_image, {})
        if logits.shape[1] <= MOST_CLASSES:
            per_image["class_counts"] = class_counts(logits.argmax(1), labels, logits.shape[1])
        return Losses(loss.mean(), per_image, {}, (logits.softmax(1), labels))

    def summary(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """Also what counts every class alike, however few its images."""
        return with_class_averages(means)

    def pictures(self, batch: Batch) -> dict[str, Float[Tensor, "B C H W"]]:
        """What blended images look like, where there are any."""
        return mixing_pictures(self.mixing, batch, self.pixels)
