"""SSAT: labels, and hidden pixels as an auxiliary task, in one run.

Paper: Das et al., "Limited Data, Unlimited Potential: A Study on ViTs Augmented by Masked
Autoencoders", arXiv:2310.20704, section 3: the encoder sees each image twice, whole for the
classes and a quarter of it for the decoder.
Differs from it: images without a label may stand in the batch and add to the pixels' part alone
(the paper has none); the loss is cross-entropy + weight x pixels where its code has lambda x
cross-entropy + (1 - lambda) x pixels, lambda 0.1, which is weight 9; our ViT and decoder (mae.py).

B batch, R rows that have a label, C channels, H W pixels, L classes.
"""

from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vit.batch import Batch, DataSpec, ViewSpec, labelled_rows
from vit.models.base import TokenEncoder
from vit.objectives.base import Losses
from vit.objectives.parts.classification import (
    MOST_CLASSES,
    class_counts,
    class_loss,
    score_label,
    with_class_averages,
)
from vit.objectives.parts.heads import LinearHead
from vit.objectives.parts.masked_autoencoding import MaskedAutoencoding


class SSAT(MaskedAutoencoding):
    """Learn the labels where there are some, and the hidden pixels of every image.

    Args:
        encoder: with patch tokens, each made from its own pixels alone.
        spec: the data; its classes are what is predicted.
        weight: of the pixels' part beside the labels'. Paper: 9.
        unlabelled: fraction of each training batch that needs no label: it is drawn from all
            training images, those too whose label `data.labels_per_class` leaves out or that never
            had one; the other rows have a label. Paper: 0.
        label_smoothing: fraction of the labels' target spread over all classes. Paper: 0.1.
        reconstruction: mask_ratio, decoder_width, decoder_depth, decoder_heads, normalise: see
            MaskedAutoencoding.
    """

    views = (ViewSpec(),)  # augmented as for the labels alone, and those pixels are the targets
    uses_labels: ClassVar[bool] = True
    best: ClassVar[tuple[str, str]] = ("val/accuracy", "max")
    validity_protocols: ClassVar[tuple[str, ...]] = ("knn", "ridge", "linear", "attentive")
    classifier_head: ClassVar[str] = "head"

    def __init__(
        self,
        encoder: TokenEncoder,
        spec: DataSpec,
        weight: float = 9.0,
        unlabelled: float = 0.0,
        label_smoothing: float = 0.0,
        **reconstruction: Any,
    ) -> None:
        super().__init__(encoder, spec, **reconstruction)
        if spec.multi_label or len(spec.classes) < 2:
            raise ValueError(
                "SSAT: needs one label of at least 2 classes an image, the data has "
                + ("several" if spec.multi_label else f"{len(spec.classes)} classes")
            )
        for name, value, most in (
            ("weight", weight, float("inf")),
            ("unlabelled", unlabelled, 1.0),
            ("label_smoothing", label_smoothing, 1.0),
        ):
            if not 0 <= value < most:
                raise ValueError(f"SSAT: {name} must be in [0, {most:g}), got {value}")
        self.weight = weight
        self.unlabelled = unlabelled
        self.smoothing = label_smoothing
        self.head = LinearHead(encoder.width, len(spec.classes))

    def predict(self, images: Float[Tensor, "B C H W"]) -> dict[str, Float[Tensor, "B L"]]:
        """Logits from normalised images, of which every patch is seen."""
        return {"logits": self.head(self.encoder(images).pooled)}

    def forward(self, batch: Batch, progress: float) -> Losses:
        """One step: the classes of the rows with a label, the hidden pixels of every row."""
        training = batch.epoch is not None
        rows = labelled_rows(len(batch), self.unlabelled) if training else len(batch)
        labels = batch.labels[:rows].clamp(min=0)
        logits = self.predict(batch.images[:rows])["logits"].float()  # R L
        # an unreadable file may have been replaced by one without a label
        label_loss = class_loss(logits, labels, smoothing=self.smoothing)
        label_loss = label_loss * (batch.labels[:rows] >= 0)
        errors = self.errors(batch)
        pixel_loss = errors["loss"]
        loss = label_loss.mean() + self.weight * pixel_loss.mean()
        each = F.pad(label_loss, (0, len(batch) - rows)) + self.weight * pixel_loss  # B
        scores = score_label(logits, labels)
        if training:
            monitors = {name: score.mean() for name, score in scores.items()}
            monitors |= {"label_loss": label_loss.mean(), "pixel_loss": pixel_loss.mean()}
            return Losses(loss, {"loss": each}, monitors)
        per_image = {"loss": each, "label_loss": label_loss, "pixel_loss": pixel_loss}
        per_image |= {"nothing": errors["nothing"]} | scores
        if logits.shape[1] <= MOST_CLASSES:
            per_image["class_counts"] = class_counts(logits.argmax(1), labels, logits.shape[1])
        return Losses(loss, per_image, {}, (logits.softmax(1), labels))

    def summary(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """Also what counts every class alike, and the fraction of the pixels' square explained."""
        means = with_class_averages(means)
        explained = 1 - means["pixel_loss"] / means.pop("nothing").clamp(min=1e-12)
        return means | {"explained": explained}
