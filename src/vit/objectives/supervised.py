"""Supervised classification: predict the label from the pooled features.

Paper: Dosovitskiy et al., arXiv:2010.11929, section 3 and appendix B; the sigmoid loss is the one
its authors pre-train with (sum over classes, mean over images; head bias -10).

B batch, D width, L classes.
"""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vit.batch import Batch, DataSpec
from vit.mixing import Mixing
from vit.models.base import Encoder
from vit.models.heads import LinearHead
from vit.objectives.base import Losses, Objective


class Supervised(Objective):
    """Learn the labels.

    Args:
        encoder: any.
        spec: the data; its classes are what is predicted.
        loss: softmax cross-entropy, or a sigmoid for each class.
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
        if spec.multi_label:
            raise ValueError("Supervised: this data has several labels an image; one is expected")
        self.kind, self.smoothing, self.mixing = loss, label_smoothing, mixing
        self.head = LinearHead(encoder.width, len(spec.classes), head_bias)

    def predict(self, images: Float[Tensor, "B C H W"]) -> dict[str, Float[Tensor, "B L"]]:
        """Logits from normalised images."""
        return {"logits": self.head(self.encoder(images).pooled)}

    def forward(self, batch: Batch, progress: float) -> Losses:
        """One step; of a blended image, accuracy asks for the larger part's label."""
        labels = batch.labels.clamp(min=0)  # padding; it counts nowhere
        if self.mixing and batch.epoch is not None and progress < self.mixing.until:
            images, partner, weight = self.mixing(batch.images, batch.keys("mixing"))
            logits = self.predict(images)["logits"].float()  # B L
            other = labels[partner]
            loss = weight * self.loss(logits, labels) + (1 - weight) * self.loss(logits, other)
            labels = torch.where(weight < 0.5, other, labels)
        else:
            logits = self.predict(batch.images)["logits"].float()
            loss = self.loss(logits, labels)
        per_image = {"loss": loss}
        per_image["accuracy"] = (logits.argmax(1) == labels).float()
        if logits.shape[1] > 5:
            per_image["top5"] = (logits.topk(5).indices == labels[:, None]).any(1).float()
        if batch.accepted is not None:
            found = batch.accepted.gather(1, logits.argmax(1, keepdim=True))[:, 0]
            per_image["accepted"] = found.float()
        return Losses(per_image["loss"].mean(), per_image, {})

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
        target = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
        target = target * (1 - self.smoothing) + self.smoothing / logits.shape[1]
        return F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(1)
