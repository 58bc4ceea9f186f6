"""What classifiers share: losses over labels, and scores of their answers.

B batch, L classes.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

MOST_CLASSES = 2000  # for which averages over classes are made


class TooFewClassesError(ValueError):
    """An objective learns to tell classes apart, and the data has none, or one."""


def class_loss(
    logits: Float[Tensor, "B L"],
    labels: Tensor,
    kind: Literal["softmax", "sigmoid"] = "softmax",
    smoothing: float = 0.0,
) -> Float[Tensor, " B"]:
    """The loss of each image.

    Args:
        logits: of each class.
        labels: B, numbers of classes; or B L, which classes hold (sigmoid only).
        kind: softmax cross-entropy, or the sum over classes of sigmoid cross-entropies.
        smoothing: fraction of the target spread over all classes.
    """
    if kind == "softmax":
        return F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
    target = (F.one_hot(labels, logits.shape[1]) if labels.ndim == 1 else labels).to(logits.dtype)
    target = target * (1 - smoothing) + smoothing / logits.shape[1]
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(1)


def score_label(logits: Float[Tensor, "B L"], labels: Int[Tensor, " B"]) -> dict[str, Tensor]:
    """Is the label the first guess; is it among five?"""
    scores = {"accuracy": (logits.argmax(1) == labels).float()}
    if logits.shape[1] > 5:
        scores["top5"] = (logits.topk(5).indices == labels[:, None]).any(1).float()
    return scores


def score_labels(logits: Float[Tensor, "B L"], labels: Bool[Tensor, "B L"]) -> dict[str, Tensor]:
    """Are exactly the right labels given a chance above one half?"""
    return {"exact": ((logits > 0) == labels).all(1).float()}


def class_counts(
    guessed: Int[Tensor, " B"], labels: Int[Tensor, " B"], classes: int
) -> Float[Tensor, "B three_L"]:
    """Was each class guessed rightly, was it the label, was it guessed?"""
    truth, guess = F.one_hot(labels, classes), F.one_hot(guessed, classes)
    return torch.cat([truth * guess, truth, guess], 1).float()


def class_averages(fractions: Float[Tensor, " three_L"]) -> dict[str, Tensor]:
    """Balanced accuracy and macro-F1, as scikit-learn defines them: over classes that occur.

    Args:
        fractions: means of `class_counts` over a split.
    """
    right, truth, guess = fractions.view(3, -1)
    present, named = truth > 0, truth + guess > 0
    return {
        "balanced_accuracy": (right / truth)[present].mean(),
        "macro_f1": (2 * right / (truth + guess))[named].mean(),
    }


def with_class_averages(means: dict[str, Tensor]) -> dict[str, Tensor]:
    """Means of a split, and averages in which every class weighs alike, however few its images."""
    means = dict(means)
    fractions = means.pop("class_counts", None)
    return means if fractions is None else means | class_averages(fractions)
