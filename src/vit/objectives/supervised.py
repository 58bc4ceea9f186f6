"""Supervised classification: predict the label from the pooled features.

Paper: Dosovitskiy et al., arXiv:2010.11929, section 3 and appendix B; the sigmoid loss is the one
its authors pre-train with (sum over classes, mean over images; head bias -10). It also serves
images with several labels, which are judged by mean average precision (mAP, mean over classes).

B batch, D width, L classes.
"""

from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.classification import MultilabelAveragePrecision

from vit.batch import Batch, DataSpec
from vit.mixing import Mixing
from vit.models.base import Encoder
from vit.models.heads import LinearHead
from vit.objectives.base import Losses, Objective

MOST_CLASSES = 2000  # for which averages over classes are made


class Supervised(Objective):
    """Learn the labels.

    Args:
        encoder: any.
        spec: the data; its classes are what is predicted.
        loss: softmax cross-entropy, or a sigmoid for each class, which several labels want.
        label_smoothing: share of the target spread over all classes. Paper: 0 (1e-4 with sigmoid).
        head_bias: start of the head's biases. Paper with the sigmoid loss: -10.
        mixing: mixup and CutMix of training images; null: none, as in the paper.
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
    ) -> None:
        super().__init__(encoder, spec)
        if not 0 <= label_smoothing < 1:
            raise ValueError(
                f"Supervised: label_smoothing must be in [0, 1), got {label_smoothing}"
            )
        if len(spec.classes) < 2:
            raise ValueError(
                f"Supervised: needs at least 2 classes, the data has {len(spec.classes)}"
            )
        self.several = spec.multi_label
        if self.several and loss == "softmax":
            raise ValueError("Supervised: images have several labels here; set loss to sigmoid")
        if self.several:
            self.best = ("val/map", "max")
        self.kind, self.smoothing, self.mixing = loss, label_smoothing, mixing
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
            loss = weight * self.loss(logits, labels) + (1 - weight) * self.loss(logits, other)
            swapped = weight < 0.5
            labels = torch.where(swapped[:, None] if self.several else swapped, other, labels)
        else:
            logits = self.predict(batch.images)["logits"].float()
            loss = self.loss(logits, labels)
        judge = judge_several if self.several else judge_one
        per_image = {"loss": loss} | judge(logits, labels)
        if batch.epoch is not None:
            return Losses(loss.mean(), per_image, {})
        if self.several:
            return Losses(loss.mean(), per_image, {}, (logits.sigmoid(), labels.long()))
        if logits.shape[1] <= MOST_CLASSES:
            per_image["by_class"] = by_class(logits.argmax(1), labels, logits.shape[1])
        if batch.accepted is not None:
            found = batch.accepted.gather(1, logits.argmax(1, keepdim=True))[:, 0]
            per_image["accepted"] = found.float()
        return Losses(loss.mean(), per_image, {})

    def metrics(self) -> dict[str, Metric]:
        """Of several labels: how high those that are right rank, class by class."""
        if not self.several:
            return {}
        return {"map": MultilabelAveragePrecision(self.head.out_features, average="macro")}

    def summary(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """Also what counts every class alike, however few its images."""
        means = dict(means)
        if (shares := means.pop("by_class", None)) is not None:
            means |= averages(shares)
        return means

    def pictures(self, batch: Batch) -> dict[str, Float[Tensor, "B C H W"]]:
        """What blended images look like, where there are any."""
        if not self.mixing:
            return {}
        mixed = self.mixing(batch.images.float(), batch.keys("mixing")).images
        return {"mixed": self.pixels(mixed).clamp(0, 1)}

    def loss(self, logits: Float[Tensor, "B L"], labels: Tensor) -> Float[Tensor, " B"]:
        """The loss of each image."""
        if self.kind == "softmax":
            return F.cross_entropy(logits, labels, label_smoothing=self.smoothing, reduction="none")
        one = labels.ndim == 1
        target = (F.one_hot(labels, logits.shape[1]) if one else labels).to(logits.dtype)
        target = target * (1 - self.smoothing) + self.smoothing / logits.shape[1]
        return F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(1)


def judge_one(logits: Float[Tensor, "B L"], labels: Int[Tensor, " B"]) -> dict[str, Tensor]:
    """Is the label the first guess; is it among five?"""
    found = {"accuracy": (logits.argmax(1) == labels).float()}
    if logits.shape[1] > 5:
        found["top5"] = (logits.topk(5).indices == labels[:, None]).any(1).float()
    return found


def judge_several(logits: Float[Tensor, "B L"], labels: Bool[Tensor, "B L"]) -> dict[str, Tensor]:
    """Are exactly the right labels given a chance above one half?"""
    return {"exact": ((logits > 0) == labels).all(1).float()}


def by_class(
    guessed: Int[Tensor, " B"], labels: Int[Tensor, " B"], classes: int
) -> Float[Tensor, "B three_L"]:
    """What the counts of a split are made of: found, there, and guessed, for each class."""
    there, said = F.one_hot(labels, classes), F.one_hot(guessed, classes)
    return torch.cat([there * said, there, said], 1).float()


def averages(shares: Float[Tensor, " three_L"]) -> dict[str, Tensor]:
    """Balanced accuracy and macro-F1, as scikit-learn defines them: of classes that occur."""
    found, there, said = shares.view(3, -1)
    present, named = there > 0, there + said > 0
    return {
        "balanced_accuracy": (found / there)[present].mean(),
        "macro_f1": (2 * found / (there + said))[named].mean(),
    }
