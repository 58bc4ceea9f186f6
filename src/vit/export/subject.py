"""What is exported: a trained encoder, its classifier where it has one, and how pictures are shown.

B batch, C channels, h w pixels that the encoder sees, N patches, D width, L classes.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vit.data.preprocessing import Preprocessing
from vit.models.base import Encoder
from vit.models.prefixes import config_value
from vit.models.weights import Stored, load_into, stored_encoder


class AnswerNetwork(nn.Module):
    """Normalised pixels to what an export gives: tensors, in the order of `names`.

    With a classifier these are probabilities (softmax, or a sigmoid a class where an image may have
    several labels); without, the pooled features and the patch tokens.

    Args:
        encoder: trained.
        weight: of the classifier, L D; None: there is none.
        bias: of the classifier, L.
        multi_label: may an image have several classes?
    """

    def __init__(
        self,
        encoder: Encoder,
        weight: Float[Tensor, "L D"] | None = None,
        bias: Float[Tensor, " L"] | None = None,
        multi_label: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.multi_label = multi_label
        tokens = getattr(encoder, "grid", None) is not None
        self.names = ["probabilities"] if weight is not None else ["pooled", "tokens"][: 1 + tokens]
        self.requires_grad_(False).eval()

    def forward(self, images: Float[Tensor, "B C h w"]) -> tuple[Tensor, ...]:
        """One tensor a name."""
        features = self.encoder(images)
        if self.weight is None:
            return tuple(part for part in features[:2] if part is not None)
        logits = F.linear(features.pooled, self.weight, self.bias)
        return (logits.sigmoid() if self.multi_label else logits.softmax(-1),)


@dataclass(frozen=True)
class Subject:
    """A trained model, ready to be written in any format.

    Args:
        stored: what its file holds.
        answers: the network.
        preprocess: from a picture to what the network sees.
        run: the folder of the run that trained it; None: a file by itself.
    """

    stored: Stored
    answers: AnswerNetwork
    preprocess: Preprocessing
    run: Path | None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of what it tells apart; empty for an encoder alone."""
        return self.stored.spec.classes if self.stored.classifier else ()


def subject_of(path: str | Path) -> Subject:
    """The model of a run, a checkpoint, or released weights.

    Raises:
        ValueError: the file is damaged or foreign, or its model sees neither 1 nor 3 channels.
        FileNotFoundError: there is no such file.
    """
    stored = stored_encoder(path)
    if stored.classifier and not stored.spec.classes:  # whose names nobody knows: their numbers
        numbers = tuple(map(str, range(len(stored.classifier["bias"]))))
        stored = replace(stored, spec=replace(stored.spec, classes=numbers))
    spec = stored.spec
    if spec.channels not in (1, 3):
        raise ValueError(
            f"export: {stored.path} sees {spec.channels} channels; pictures have 3 or 1"
        )
    encoder = stored.build(spec)
    load_into(encoder, stored, spec.channels)
    head = stored.classifier
    answers = AnswerNetwork(encoder, head.get("weight"), head.get("bias"), spec.multi_label)
    preprocess = Preprocessing(spec, **stored.preprocessing)
    above = stored.path.parent.parent
    trained = stored.path.parent.name == "checkpoints" and (above / "config.yaml").is_file()
    return Subject(stored, answers, preprocess, above if trained else None)


def other_head(subject: Subject) -> str:
    """A line where the training told classes by more than a linear layer; else nothing."""
    lineage = subject.stored.lineage
    kind = config_value(lineage[0].config, "model", "objective", "class_path") if lineage else None
    if str(kind).endswith(".Distillation") and not subject.classes:
        return (
            "the classes of a distilled run come from two heads, which no format holds: this is "
            "its encoder alone"
        )
    return ""


def answers_of(subject: Subject, pictures: list[Path]) -> list[list[Tensor]]:
    """What this project says of picture files: for each, one tensor a name of its answers."""
    with torch.no_grad():
        return [
            [part[0] for part in subject.answers(subject.preprocess(picture)[None])]
            for picture in pictures
        ]
