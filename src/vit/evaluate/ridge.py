"""Few-shot ridge regression in closed form.

Paper: Dosovitskiy et al., "An Image is Worth 16x16 Words", arXiv:2010.11929, section 4.1; settings
from the authors' code (big_vision, evaluators/fewshot_lsr.py): features standardised by the
labelled images at hand, a constant feature of 100 as bias so that the penalty hardly reaches it,
targets +-1, l2 = 1024, float64. A feature that is constant among the labelled images is divided by
1e-5, as there.
Differs from it: also with every label; draws follow vit.randomness, not numpy.

N labelled images, M query images, d width, D width with the bias, L classes.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from vit.evaluate.base import FrozenFeatures, Result, Task
from vit.randomness import keys

BIAS = 100.0


def ridge(
    task: Task, shots: tuple[int, ...] = (1, 5, 10, 25), draws: int = 5, l2: float = 1024.0
) -> Result:
    """Regress the classes on all labels, and on a few labels a class.

    Args:
        task: what to learn from and what to classify.
        shots: labels a class; a count that some class does not have gives no figure.
        draws: nested draws of the labels, averaged; the paper takes 3.
        l2: the penalty.
    """
    if draws < 1 or l2 <= 0 or any(count < 1 for count in shots):
        raise ValueError(
            "ridge: shots and draws must be at least 1 and l2 above 0, "
            f"got {tuple(shots)}, {draws} and {l2}"
        )
    rarest = torch.bincount(task.train.labels, minlength=task.classes).min()
    correct = {"": _correct(task, task.train, l2)}
    for count in shots:
        if count <= rarest:
            drawn = (task.train[_draw(task, draw, count)] for draw in range(draws))
            each = torch.stack([_correct(task, few, l2) for few in drawn])  # draws M
            correct[f"_{count}shot"] = each.mean(0)
    return Result(
        {f"accuracy{name}": rows.mean().item() for name, rows in correct.items()},
        {f"correct{name}": rows for name, rows in correct.items()},
        {
            "name": "ridge",
            "shots": list(shots),
            "draws": draws,
            "l2": l2,
            "bias": BIAS,
            "train": len(task.train.labels),
        },
    )


def _draw(task: Task, draw: int, shots: int) -> Int[Tensor, " _few"]:
    """The first `shots` images a class in this draw's order, so that fewer are part of more."""
    labels = task.train.labels
    order = keys(task.seed, None, torch.arange(len(labels)), f"ridge draw {draw}").argsort()
    return torch.cat([order[labels[order] == label][:shots] for label in range(task.classes)])


def _correct(task: Task, labelled: FrozenFeatures, l2: float) -> Float[Tensor, " M"]:
    """1.0 where the highest score is the query's class."""
    features, queries = labelled.features.double(), task.queries.features.double()
    scores = _scores(features, labelled.labels, queries, task.classes, l2)
    return (scores.argmax(1) == task.queries.labels).double()


def _scores(
    features: Float[Tensor, "N d"],
    labels: Int[Tensor, " N"],
    queries: Float[Tensor, "M d"],
    classes: int,
    l2: float,
) -> Float[Tensor, "M L"]:
    """Regress on the labelled images, answer for the queries."""
    mean, deviation = features.mean(0), features.std(0, correction=0) + 1e-5
    train, test = (
        F.pad((part - mean) / deviation, (0, 1), value=BIAS) for part in (features, queries)
    )  # N D, M D
    targets = 2 * F.one_hot(labels, classes).double() - 1  # N L
    if len(train) >= train.shape[1]:  # as many images as numbers: D equations, else N
        return test @ _solve(train.T @ train, train.T @ targets, l2)
    return test @ train.T @ _solve(train @ train.T, targets, l2)


def _solve(gram: Tensor, right: Tensor, l2: float) -> Tensor:
    """(gram + l2 I)^-1 right."""
    gram = gram + l2 * torch.eye(len(gram), dtype=gram.dtype)
    return torch.cholesky_solve(right, torch.linalg.cholesky(gram))
