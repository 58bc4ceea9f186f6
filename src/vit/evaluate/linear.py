"""Linear probe: multinomial logistic regression on frozen features, by gradient.

He et al., "Masked Autoencoders Are Scalable Vision Learners", arXiv:2111.06377, appendix A.1:
BatchNorm without affine (epsilon 1e-6), then a linear layer, no augmentation of our own.
Differs from it: the normalisation is frozen at the training images' own mean and variance, which is
what BatchNorm computes on full batches and what its running averages aim at on smaller ones; Adam,
not LARS; the loss is scikit-learn's LogisticRegression (mean cross-entropy + penalty / 2N |W|^2,
bias free), so that long training ends at a known place; from zero. A grid of learning rates and
every pooling are tried at once and chosen on the images to choose on.

N images, D width, L classes, H heads (learning rates), P poolings.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vit.evaluate.base import Result, Task
from vit.evaluate.grid import Rows, batches, check_grid, choose, descend

CHOOSES = True  # among heads, on labelled images that are not the queries


def linear(
    task: Task,
    lrs: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
    steps: int = 500,
    batch: int = 2048,
    penalty: float = 1.0,
) -> Result:
    """Train one linear layer for each pooling and learning rate, keep the best.

    Args:
        task: what to learn from, choose on and classify.
        lrs: peaks of Adam's learning rate.
        steps: of training, however many images there are.
        batch: images a step; up to so many, each step sees all.
        penalty: 1 / C of scikit-learn; 0 for none.
    """
    check_grid("linear", lrs, steps, batch)
    if penalty < 0:
        raise ValueError(f"linear: penalty must be at least 0, got {penalty}")
    lrs, poolings = sorted(lrs), list(task.train.pooled)
    choice, queries = [], []
    for pooling in poolings:
        splits = (task.train, task.choice, task.queries)
        train, *others = _standardise([split.pooled[pooling] for split in splits])
        rows = batches(len(train), batch, steps, task.seed, f"linear {pooling}")
        weight, bias = _train_linear(train, task, lrs, steps, rows, penalty)
        for features, logits in zip(others, (choice, queries), strict=True):
            logits.append(features @ weight + bias[:, None])  # H M L
    pool, head, edge = choose(torch.stack(choice), task.choice.labels)
    correct = queries[pool][head].argmax(-1) == task.queries.labels
    return Result(
        {"accuracy": correct.double().mean().item()},
        {"correct": correct},
        {
            "name": "linear",
            "lrs": lrs,
            "steps": steps,
            "batch": batch,
            "penalty": penalty,
            "poolings": sorted(poolings),
            "train": len(task.train.labels),
        },
        {"lr": lrs[head], "pooling": poolings[pool], "edge": edge},
    )


def _standardise(splits: list[Float[Tensor, "_ D"]]) -> list[Float[Tensor, "_ D"]]:
    """The features of all splits, by the mean and variance of the first."""
    variance, mean = torch.var_mean(splits[0].float(), 0, correction=0)
    return [(features.float() - mean) / (variance + 1e-6).sqrt() for features in splits]


def _train_linear(
    features: Float[Tensor, "N D"],
    task: Task,
    lrs: list[float],
    steps: int,
    rows: Iterator[Rows],
    penalty: float,
) -> tuple[Float[Tensor, "H D L"], Float[Tensor, "H L"]]:
    """Train all heads; the derivative is written out, as autograd would take twice the time."""
    answers = F.one_hot(task.train.labels, task.classes).float()  # N L
    weight = torch.zeros(len(lrs), features.shape[1], task.classes)
    bias = torch.zeros(len(lrs), task.classes)

    def gradients(rows: Rows) -> list[Tensor]:
        batch = features[rows]
        side_by_side = weight.transpose(0, 1).flatten(1)  # D HL: one product for all heads
        logits = (batch @ side_by_side).unflatten(1, bias.shape) + bias  # B H L
        wrong = (logits.softmax(-1) - answers[rows][:, None]) / len(batch)
        slope = (batch.T @ wrong.flatten(1)).unflatten(1, bias.shape).transpose(0, 1)  # H D L
        return [slope + penalty / len(features) * weight, wrong.sum(0)]

    descend([weight, bias], gradients, lrs, steps, rows)
    return weight, bias
