"""Supervised classification: predict the label from the pooled features.

Paper: Dosovitskiy et al., arXiv:2010.11929, section 3 and appendix B; the sigmoid loss is the one
its authors pre-train with (sum over classes, mean over images; head bias -10). It also serves
images with several labels, which are scored by mean average precision (mAP, mean over classes).

B batch, D width, L classes.
"""

import math
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vit.batch import Batch, DataSpec
from vit.models.base import Encoder
from vit.objectives.base import Losses, Objective
from vit.objectives.parts.classification import (
    MOST_CLASSES,
    TooFewClassesError,
    class_counts,
    class_loss,
    score_label,
    score_labels,
    with_class_averages,
)
from vit.objectives.parts.heads import LinearHead
from vit.objectives.parts.mixing import Mixing, blended, mixing_pictures


class Supervised(Objective):
    """Learn the labels.

    Args:
        encoder: any.
        spec: the data; its classes are what is predicted.
        loss: softmax cross-entropy, or a sigmoid for each class, which several labels need.
        label_smoothing: fraction of the target spread over all classes. Paper: 0 (1e-4 with
            sigmoid).
        head_bias: start of the head's biases. Paper with the sigmoid loss: -10.
        mixing: mixup and CutMix of training images; null: none, as in the paper.
        class_weights: what the loss of an image is multiplied with in training, by its class's
            name; 1 for those not named. The mean is over all images and not over the weights, so
            that ranks and accumulation change nothing. null: all alike.
    """

    uses_labels: ClassVar[bool] = True
    best: ClassVar[tuple[str, str]] = ("val/accuracy", "max")
    validity_protocols: ClassVar[tuple[str, ...]] = ("knn", "ridge", "linear", "attentive")
    classifier_head: ClassVar[str] = "head"

    def __init__(
        self,
        encoder: Encoder,
        spec: DataSpec,
        loss: Literal["softmax", "sigmoid"] = "softmax",
        label_smoothing: float = 0.0,
        head_bias: float = 0.0,
        mixing: Mixing | None = None,
        class_weights: dict[str, float] | None = None,
    ) -> None:
        super().__init__(encoder, spec)
        if not 0 <= label_smoothing < 1:
            raise ValueError(
                f"Supervised: label_smoothing must be in [0, 1), got {label_smoothing}"
            )
        if len(spec.classes) < 2:
            only = f" ({spec.classes[0]})" if spec.classes else "; it learns from labels alone"
            raise TooFewClassesError(
                f"Supervised: needs at least 2 classes, the data has {len(spec.classes)}{only}"
            )
        if not math.isfinite(head_bias):
            raise ValueError(f"Supervised: head_bias must be a number, got {head_bias}")
        self.several = spec.multi_label
        if self.several and loss == "softmax":
            raise ValueError("Supervised: images have several labels here; set loss to sigmoid")
        if self.several:
            self.best = ("val/map", "max")
        self.kind = loss
        self.smoothing = label_smoothing
        self.mixing = mixing
        self.register_buffer("weights", class_weight_table(class_weights, spec), persistent=False)
        self.head = LinearHead(encoder.width, len(spec.classes), head_bias)

    def predict(self, images: Float[Tensor, "B C H W"]) -> dict[str, Float[Tensor, "B L"]]:
        """Logits from normalised images."""
        return {"logits": self.head(self.encoder(images).pooled)}

    def forward(self, batch: Batch, progress: float) -> Losses:
        """One step; of a blended image, accuracy asks for the larger part's label."""
        # padding has no label and counts nowhere
        labels = batch.accepted if self.several else batch.labels.clamp(min=0)
        mixed = blended(self.mixing, batch, progress)
        images = batch.images if mixed is None else mixed.images
        logits = self.predict(images)["logits"].float()  # B L
        loss = self.loss(logits, labels)
        step = loss if batch.epoch is None else self.weighted(loss, labels)
        if mixed is not None:
            other = labels[mixed.partner]
            other_loss = self.loss(logits, other)
            step = mixed.blend(step, self.weighted(other_loss, other))
            loss = mixed.blend(loss, other_loss)
            labels = mixed.larger_part(labels)
        score = score_labels if self.several else score_label
        per_image = {"loss": loss} | score(logits, labels)
        if batch.epoch is not None:
            return Losses(step.mean(), per_image, {})
        if self.several:
            return Losses(step.mean(), per_image, {}, (logits.sigmoid(), labels.long()))
        if logits.shape[1] <= MOST_CLASSES:
            per_image["class_counts"] = class_counts(logits.argmax(1), labels, logits.shape[1])
        predicted = logits.softmax(1), labels
        return Losses(step.mean(), per_image, {}, predicted, self.relabelled(logits, batch))

    def relabelled(
        self, logits: Float[Tensor, "B L"], batch: Batch
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Is the first guess among the labels that later annotators accept, where they did?"""
        if batch.accepted is None:
            return {}
        right = batch.accepted.gather(1, logits.argmax(1, keepdim=True))[:, 0]
        return {"real_accuracy": (right.float(), batch.valid & batch.accepted.any(1))}

    def weighted(self, loss: Float[Tensor, " B"], labels: Tensor) -> Float[Tensor, " B"]:
        """Losses times their classes' weights; with several labels, times their mean weight."""
        if self.weights is None:
            return loss
        if not self.several:
            return self.weights[labels] * loss
        weight = (labels * self.weights).sum(1) / labels.sum(1).clamp(min=1)
        return torch.where(labels.any(1), weight, 1.0) * loss

    def metrics(self) -> dict[str, nn.Module]:
        """With several labels: how high those that are right rank, class by class."""
        if not self.several:
            return {}
        from vit.objectives.parts.average_precision import MeanAveragePrecision  # slow to load

        return {"map": MeanAveragePrecision(self.head.out_features)}

    def summary(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """Also what counts every class alike, however few its images."""
        return with_class_averages(means)

    def pictures(self, batch: Batch) -> dict[str, Float[Tensor, "B C H W"]]:
        """What blended images look like, where there are any."""
        return mixing_pictures(self.mixing, batch, self.pixels)

    def loss(self, logits: Float[Tensor, "B L"], labels: Tensor) -> Float[Tensor, " B"]:
        """The loss of each image."""
        return class_loss(logits, labels, self.kind, self.smoothing)


def class_weight_table(given: dict[str, float] | None, spec: DataSpec) -> Tensor | None:
    """The weight of each class (L), in the order of the classes; None where none is given."""
    if not given:
        return None
    unknown = sorted(set(given) - set(spec.classes))
    if unknown or not all(0 < value < math.inf for value in given.values()):
        raise ValueError(
            f"Supervised: class_weights name classes ({', '.join(spec.classes[:5])}, ...) and are "
            f"above 0, got {given}"
        )
    return torch.tensor([float(given.get(name, 1.0)) for name in spec.classes])
