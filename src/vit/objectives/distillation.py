"""Distillation as in DeiT: a token of its own learns what a trained classifier says.

Paper: Touvron et al., "Training data-efficient image transformers & distillation through
attention", arXiv:2012.12877, section 4.
Differs from it: the token has one table entry (token and position are one sum); the soft loss is
averaged over images as the paper writes it, where the released code also divides by the classes.

B batch, C channels, N patches, D width, L classes.
"""

import copy
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vit.batch import Batch, DataSpec
from vit.models.base import TokenEncoder
from vit.models.classifier import Classifier, classifier
from vit.objectives.base import Losses, Objective
from vit.objectives.parts.classification import (
    MOST_CLASSES,
    averages,
    by_class,
    class_loss,
    judge_one,
)
from vit.objectives.parts.heads import LinearHead
from vit.objectives.parts.mixing import Mixing


class Held:
    """Something that a module uses and does not own: neither saved, sharded, averaged nor copied.

    Args:
        module: in eval mode, without gradients.
    """

    def __init__(self, module: Classifier) -> None:
        self.module, self.key = module, module.key()

    def __deepcopy__(self, memo: dict) -> "Held":
        return self

    def __call__(self, images: Tensor) -> Tensor:
        """On the images' device; a copy without data where only shapes are worked out."""
        if images.device.type == "meta":
            return copy.deepcopy(self.module).to("meta")(images)
        return self.module.to(images.device)(images)


class Distillation(Objective):
    """Learn the labels with one token and a teacher's answers with another.

    Args:
        encoder: with patch tokens.
        spec: the data.
        teacher: run folder or checkpoint of a supervised run, or torchvision/<name>.
        weights: of torchvision's teacher: a file, or a name such as IMAGENET1K_V2.
        kind: hard: its first choice (paper: better); soft: its probabilities.
        teacher_weight: of the teacher's part in the loss. Paper: 0.5 (hard), 0.1 (soft).
        temperature: of soft answers. Paper: 3.
        label_smoothing: fraction of the labels' target spread over all classes.
        mixing: mixup and CutMix of training images, which the teacher sees too.
    """

    uses_labels: ClassVar[bool] = True
    best: ClassVar[tuple[str, str]] = ("val/accuracy", "max")

    def __init__(
        self,
        encoder: TokenEncoder,
        spec: DataSpec,
        teacher: str = "",
        weights: str | None = None,
        kind: Literal["hard", "soft"] = "hard",
        teacher_weight: float = 0.5,
        temperature: float = 3.0,
        label_smoothing: float = 0.0,
        mixing: Mixing | None = None,
    ) -> None:
        super().__init__(encoder, spec)
        if not teacher:
            raise ValueError("Distillation: teacher must name a supervised run or torchvision/...")
        if not (0 <= teacher_weight <= 1 and temperature > 0 and 0 <= label_smoothing < 1):
            raise ValueError(
                "Distillation: teacher_weight must be in [0, 1], temperature above 0, "
                "label_smoothing in [0, 1); "
                f"got {teacher_weight}, {temperature} and {label_smoothing}"
            )
        if spec.multi_label:
            raise ValueError("Distillation: wants one label an image")
        self.kind, self.teacher_weight, self.temperature = kind, teacher_weight, temperature
        self.smoothing, self.mixing = label_smoothing, mixing
        self.head = LinearHead(encoder.width, len(spec.classes))
        self.taught_head = LinearHead(encoder.width, len(spec.classes))
        self.token = nn.Parameter(torch.empty(encoder.width))
        self.teacher = Held(classifier(teacher, weights, spec))
        key = torch.tensor(list(bytes.fromhex(self.teacher.key)), dtype=torch.uint8)
        self.register_buffer("teacher_key", key)
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
        labels, images = batch.labels.clamp(min=0), batch.images
        mixed = None
        if self.mixing and batch.epoch is not None and progress < self.mixing.until:
            mixed = self.mixing(images, batch.keys("mixing"))
            images = mixed.images
        own, taught = self.both(images)
        loss = class_loss(own, labels, smoothing=self.smoothing)
        if mixed is not None:
            other = class_loss(own, labels[mixed.partner], smoothing=self.smoothing)
            loss = mixed.weight * loss + (1 - mixed.weight) * other
            labels = torch.where(mixed.weight < 0.5, labels[mixed.partner], labels)
        answers = self.teacher(self.pixels(images)).float()
        from_teacher = self.agreement(taught, answers)
        loss = (1 - self.teacher_weight) * loss + self.teacher_weight * from_teacher
        logits = (own + taught) / 2
        per_image = {"loss": loss, "teacher_loss": from_teacher} | judge_one(logits, labels)
        per_image["teacher_accuracy"] = (answers.argmax(1) == labels).float()
        if batch.epoch is None and logits.shape[1] <= MOST_CLASSES:
            per_image["by_class"] = by_class(logits.argmax(1), labels, logits.shape[1])
        return Losses(loss.mean(), per_image, {})

    def agreement(
        self, taught: Float[Tensor, "B L"], answers: Float[Tensor, "B L"]
    ) -> Float[Tensor, " B"]:
        """Cross-entropy with the first choice, or T^2 KL of softened answers."""
        if self.kind == "hard":
            return F.cross_entropy(taught, answers.argmax(1), reduction="none")
        ours = (taught / self.temperature).log_softmax(1)
        theirs = (answers / self.temperature).log_softmax(1)
        gap = F.kl_div(ours, theirs, reduction="none", log_target=True).sum(1)
        return gap * self.temperature**2

    def summary(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """Also what counts every class alike, however few its images."""
        means = dict(means)
        if (counts := means.pop("by_class", None)) is not None:
            means |= averages(counts)
        return means

    def pictures(self, batch: Batch) -> dict[str, Float[Tensor, "B C H W"]]:
        """What blended images look like, where there are any."""
        if not self.mixing:
            return {}
        mixed = self.mixing(batch.images.float(), batch.keys("mixing")).images
        return {"mixed": self.pixels(mixed).clamp(0, 1)}


def same_teacher(objective: Distillation, keys: object) -> None:
    """A run goes on with the teacher that it began with."""
    stored, own = bytes(objective.teacher_key.cpu().tolist()).hex(), objective.teacher.key
    if stored != own:
        raise ValueError(
            f"Distillation: the teacher has changed since the run began ({stored}, now {own})"
        )
