"""Supervised classification: predict the label from the pooled features.

Paper: Dosovitskiy et al., arXiv:2010.11929, section 3 and appendix B; the sigmoid loss is the one
its authors pre-train with (sum over classes, mean over images; head bias -10). It also serves
images with several labels, which are judged by mean average precision (mAP, mean over classes).

B batch, D width, L classes.
"""

import math
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric

from vit.batch import Batch, DataSpec
from vit.models.base import Encoder
from vit.objectives.base import Losses, Objective
from vit.objectives.parts.classification import (
    MOST_CLASSES,
    MeanAveragePrecision,
    averages,
    by_class,
    class_loss,
    judge_one,
    judge_several,
)
from vit.objectives.parts.heads import LinearHead
from vit.objectives.parts.mixing import Mixing


class Supervised(Objective):
    """Learn the labels.

    Args:
        encoder: any.
        spec: the data; its classes are what is predicted.
        loss: softmax cross-entropy, or a sigmoid for each class, which several labels want.
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
            raise ValueError(
                f"Supervised: needs at least 2 classes, the data has {len(spec.classes)}"
                + (f" ({spec.classes[0]})" if spec.classes else "; pictures want labels")
            )
        if not math.isfinite(head_bias):
            raise ValueError(f"Supervised: head_bias must be a number, got {head_bias}")
        self.several = spec.multi_label
        if self.several and loss == "softmax":
            raise ValueError("Supervised: images have several labels here; set loss to sigmoid")
        if self.several:
            self.best = ("val/map", "max")
        self.kind, self.smoothing, self.mixing = loss, label_smoothing, mixing
        self.register_buffer("weights", weights_of(class_weights, spec), persistent=False)
        self.head = LinearHead(encoder.width, len(spec.classes), head_bias)

    def predict(self, images: Float[Tensor, "B C H W"]) -> dict[str, Float[Tensor, "B L"]]:
        """Logits from normalised images."""
        return {"logits": self.head(self.encoder(images).pooled)}

    def forward(self, batch: Batch, progress: float) -> Losses:
        """One step; of a blended image, accuracy asks for the larger part's label."""
        # padding has no label and counts nowhere
        labels = batch.accepted if self.several else batch.labels.clamp(min=0)
        if self.mixing and batch.epoch is not None and progress < self.mixing.until:
            images, partner, weight = self.mixing(batch.images, batch.keys("mixing"))
            logits = self.predict(images)["logits"].float()  # B L
            other = labels[partner]
            first, second = self.loss(logits, labels), self.loss(logits, other)
            loss = weight * first + (1 - weight) * second
            step = weight * self.weighted(first, labels) + (1 - weight) * self.weighted(
                second, other
            )
            swapped = weight < 0.5
            labels = torch.where(swapped[:, None] if self.several else swapped, other, labels)
        else:
            logits = self.predict(batch.images)["logits"].float()
            loss = self.loss(logits, labels)
            step = loss if batch.epoch is None else self.weighted(loss, labels)
        judge = judge_several if self.several else judge_one
        per_image = {"loss": loss} | judge(logits, labels)
        if batch.epoch is not None:
            return Losses(step.mean(), per_image, {})
        if self.several:
            return Losses(step.mean(), per_image, {}, (logits.sigmoid(), labels.long()))
        if logits.shape[1] <= MOST_CLASSES:
            per_image["by_class"] = by_class(logits.argmax(1), labels, logits.shape[1])
        if batch.accepted is not None:
            found = batch.accepted.gather(1, logits.argmax(1, keepdim=True))[:, 0]
            per_image["accepted"] = found.float()
        return Losses(step.mean(), per_image, {})

    def weighted(self, loss: Float[Tensor, " B"], labels: Tensor) -> Float[Tensor, " B"]:
        """Losses times their classes' weights; of several labels, times their mean weight."""
        if self.weights is None:
            return loss
        if not self.several:
            return self.weights[labels] * loss
        weight = (labels * self.weights).sum(1) / labels.sum(1).clamp(min=1)
        return torch.where(labels.any(1), weight, 1.0) * loss

    def metrics(self) -> dict[str, Metric]:
        """Of several labels: how high those that are right rank, class by class."""
        if not self.several:
            return {}
        return {"map": MeanAveragePrecision(self.head.out_features)}

    def summary(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """Also what counts every class alike, however few its images."""
        means = dict(means)
        if (fractions := means.pop("by_class", None)) is not None:
            means |= averages(fractions)
        return means

    def pictures(self, batch: Batch) -> dict[str, Float[Tensor, "B C H W"]]:
        """What blended images look like, where there are any."""
        if not self.mixing:
            return {}
        mixed = self.mixing(batch.images.float(), batch.keys("mixing")).images
        return {"mixed": self.pixels(mixed).clamp(0, 1)}

    def loss(self, logits: Float[Tensor, "B L"], labels: Tensor) -> Float[Tensor, " B"]:
        """The loss of each image."""
        return class_loss(logits, labels, self.kind, self.smoothing)


def weights_of(given: dict[str, float] | None, spec: DataSpec) -> Tensor | None:
    """L numbers, in the order of the classes."""
    if not given:
        return None
    unknown = sorted(set(given) - set(spec.classes))
    if unknown or not all(0 < value < math.inf for value in given.values()):
        raise ValueError(
            f"Supervised: class_weights name classes ({', '.join(spec.classes[:5])}, ...) and are "
            f"above 0, got {given}"
        )
    return torch.tensor([float(given.get(name, 1.0)) for name in spec.classes])
