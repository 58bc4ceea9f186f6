"""What classifiers share: losses over labels, and what is said of them.

B batch, L classes.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.classification import MultilabelAveragePrecision
from torchmetrics.functional.classification import multilabel_average_precision
from torchmetrics.utilities import dim_zero_cat

MOST_CLASSES = 2000  # for which averages over classes are made


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


def judge_one(logits: Float[Tensor, "B L"], labels: Int[Tensor, " B"]) -> dict[str, Tensor]:
    """Is the label the first guess; is it among five?"""
    found = {"accuracy": (logits.argmax(1) == labels).float()}
    if logits.shape[1] > 5:
        found["top5"] = (logits.topk(5).indices == labels[:, None]).any(1).float()
    return found


def judge_several(logits: Float[Tensor, "B L"], labels: Bool[Tensor, "B L"]) -> dict[str, Tensor]:
    """Are exactly the right labels given a chance above one half?"""
    return {"exact": ((logits > 0) == labels).all(1).float()}


class MeanAveragePrecision(MultilabelAveragePrecision):
    """The mean over classes that occur; a class without an image has no precision."""

    def compute(self) -> Tensor:
        """NaN where no class occurs."""
        scores, truth = dim_zero_cat(self.preds), dim_zero_cat(self.target)
        there = truth.any(0)
        if not there.any():
            return torch.tensor(float("nan"))
        count = int(there.sum())
        return multilabel_average_precision(scores[:, there], truth[:, there], max(count, 1))


def by_class(
    guessed: Int[Tensor, " B"], labels: Int[Tensor, " B"], classes: int
) -> Float[Tensor, "B three_L"]:
    """What the counts of a split are made of: found, there, and guessed, for each class."""
    there, said = F.one_hot(labels, classes), F.one_hot(guessed, classes)
    return torch.cat([there * said, there, said], 1).float()


def averages(fractions: Float[Tensor, " three_L"]) -> dict[str, Tensor]:
    """Balanced accuracy and macro-F1, as scikit-learn defines them: of classes that occur."""
    found, there, said = fractions.view(3, -1)
    present, named = there > 0, there + said > 0
    return {
        "balanced_accuracy": (found / there)[present].mean(),
        "macro_f1": (2 * found / (there + said))[named].mean(),
    }
