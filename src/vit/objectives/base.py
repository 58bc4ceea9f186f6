"""What every objective is: a batch in, a loss and named values out.

B batch, C channels, H W pixels, L classes.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple, get_type_hints

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vit.batch import Batch, DataSpec, ViewSpec
from vit.models.base import Encoder
from vit.models.lineage import Link


class Losses(NamedTuple):
    """What an objective returns (a tuple, so that sharding sees its tensors).

    Args:
        loss: scalar to minimise, over the whole batch.
        per_image: B (or B k for a histogram), exact in evaluation whatever the batches and ranks.
        monitors: scalars of the batch, for watching; never claimed exact.
        predicted: probabilities of classes (B L) and truth (labels, B; or which hold, B L) that
            `metrics` and tables of mistakes are fed with in evaluation.
        masked: as per_image, and for each which images count (B, bool); the others have no such
            value. Only in evaluation.
    """

    loss: Float[Tensor, ""]
    per_image: dict[str, Tensor]
    monitors: dict[str, Tensor]
    predicted: tuple[Tensor, Tensor] | None = None
    masked: dict[str, tuple[Tensor, Tensor]] | None = None


class Objective(nn.Module, ABC):
    """Base of all objectives; no logging, optimiser, device, rank or path in here or below.

    `self.encoder` is what is kept; heads, decoders and teachers beside it are thrown away.

    A subclass may offer `predict(images) -> {"logits": B L}` and
    `pictures(batch) -> {name: B C H W in [0, 1]}`.

    Args:
        encoder: of the kind that the subclass's own annotation names; others are refused.
        spec: the data.
    """

    views: tuple[ViewSpec, ...] = (ViewSpec(),)
    uses_labels: ClassVar[bool] = False
    unlabelled: float = 0.0  # fraction of a training batch, its last rows, that needs no label
    whole_step: ClassVar[bool] = False  # the loss compares all images of a step: no micro-batches
    best: ClassVar[tuple[str, str] | None] = None  # ("val/accuracy", "max") picks best.ckpt
    # ("val/x", "val/trivial x"): what was trained is above what needs no training
    trivial_baseline: ClassVar[tuple[str, str] | None] = None
    # protocols by which frozen features are compared with random ones, the best suited first
    validity_protocols: ClassVar[tuple[str, ...]] = ("attentive", "ridge", "knn", "linear")
    # the linear layer from pooled features to the classes, where it alone makes the answer
    classifier_head: ClassVar[str | None] = None
    lineage: tuple[Link, ...] = ()  # the trainings behind teachers that somebody trained before
    STEPS: ClassVar[tuple[str, ...]] = ("predict", "pictures")  # run parameters outside forward

    def __init__(self, encoder: Encoder, spec: DataSpec) -> None:
        super().__init__()
        needed = get_type_hints(type(self).__init__).get("encoder", Encoder)
        if not isinstance(encoder, needed):
            raise ValueError(
                f"{type(self).__name__} needs a {needed.__name__}, got a {type(encoder).__name__}, "
                "which has no patch tokens"
            )
        self.encoder = encoder
        self.register_buffer("mean", torch.tensor(spec.mean), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std), persistent=False)

    def pixels(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Normalised images back in [0, 1]."""
        return images.float() * self.std.view(1, -1, 1, 1) + self.mean.view(1, -1, 1, 1)

    @property
    def kept_encoder(self) -> Encoder:
        """What probes, evaluation and later runs read: what learns, or an average of it."""
        return self.encoder

    @abstractmethod
    def forward(self, batch: Batch, progress: float) -> Losses:
        """One step; progress through the run, in [0, 1]."""

    def begin(self, steps: int) -> str | None:
        """Called before the first step, and again after a resume, with the length of the run.

        Returns:
            A line for the header, where the length asks for one.
        """
        return None

    def before_step(self, progress: float) -> None:
        """Called when a step's gradients are there: None as a gradient, and the optimiser skips it.

        On every rank alike; a parameter that gets no gradient at all would keep DDP waiting.
        """

    def after_step(self, progress: float) -> None:
        """Called after each optimiser step: teachers and centres follow here."""

    def metrics(self) -> dict[str, nn.Module]:
        """torchmetrics of a whole split that no mean over images gives; new for each evaluation."""
        return {}

    def collapse_message(self, results: dict[str, float]) -> str | None:
        """What is wrong with a validation in mid-run, and what to change; None: nothing known."""
        return None

    def summary(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """The scalars that are logged, from the means of `per_image` and `masked` over a split."""
        return means


def check_fractions(name: str, **fractions: float) -> None:
    """Refuse the first setting that is no fraction.

    Raises:
        ValueError: naming it and the class whose setting it is.
    """
    for key, value in fractions.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name}: {key} must be in [0, 1], got {value}")
