"""Attentive probe: one learned query looks at the frozen patch tokens, then a linear layer.

Chen et al., "Context Autoencoder for Self-Supervised Representation Learning", arXiv:2202.03026
(attentive probing); Bardes et al., V-JEPA, arXiv:2404.08471 (a cross-attention layer with a
learnable query). For encoders whose patches know more than their mean: masked modelling above all.
Differs from them: no MLP, no residual; LayerNorm, without affine, stands after the values; tokens
are standardised by the training tokens' mean and variance; Adam, no weight decay. Keys and values
are never formed, which is the same function for heads / width of the work: with one query,
q.(Kx) = (K'q).x, and the values' projection may follow the weighted mean. The encoder is out of
reach: tokens are detached.

B M images, N patches, D width, H heads to choose from (learning rates), A attention heads of K
numbers, L classes.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vit.evaluate.base import Result, Task
from vit.evaluate.grid import Rows, batches, check_grid, choose, descend
from vit.randomness import step_seed

NEEDS_TOKENS = True
CHOOSES = True  # among heads, on labelled images that are not the queries


@torch.no_grad()
def attentive(
    task: Task,
    lrs: tuple[float, ...] = (0.003, 0.01, 0.03),
    steps: int = 600,
    batch: int = 256,
    heads: int = 8,
) -> Result:
    """Train one attention pooling and classifier for each learning rate, keep the best.

    Args:
        task: what to learn from, choose on and classify; all with tokens.
        lrs: peaks of Adam's learning rate.
        steps: of training, however many images there are.
        batch: images a step; up to so many, each step sees all.
        heads: attention heads; each reads width / heads numbers.
    """
    check_grid("attentive", lrs, steps, batch)
    if task.train.tokens is None:
        raise ValueError(
            "attentive: this encoder has no patch tokens; leave the probe out, linear reads any"
        )
    width = task.train.tokens.shape[-1]
    if not 1 <= heads <= width:
        raise ValueError(f"attentive: heads must be 1 to {width}, the tokens' width; got {heads}")
    lrs = sorted(lrs)
    standard = _statistics(task.train.tokens, batch)
    weights = _train_attention(task, standard, lrs, steps, batch, heads)
    choice, queries = (
        torch.cat([_forward(weights, rows, standard) for rows in split.tokens.split(batch)], 1)
        for split in (task.choice, task.queries)
    )  # H M L
    _, head, edge = choose(choice[None], task.choice.labels)
    correct = queries[head].argmax(-1) == task.queries.labels
    return Result(
        {"accuracy": correct.double().mean().item()},
        {"correct": correct},
        {
            "name": "attentive",
            "lrs": lrs,
            "steps": steps,
            "batch": batch,
            "heads": heads,
            "train": len(task.train.labels),
        },
        {"lr": lrs[head], "edge": edge},
    )


def _statistics(tokens: Float[Tensor, "M N D"], batch: int) -> Float[Tensor, "2 D"]:
    """Mean and deviation over all patches of all training images, a batch at a time."""
    blocks, count = tokens.detach().split(batch), tokens[..., 0].numel()
    mean = sum(block.double().sum((0, 1)) for block in blocks) / count
    variance = sum((block.double() - mean).square().sum((0, 1)) for block in blocks) / count
    return torch.stack([mean, (variance + 1e-6).sqrt()]).float()


def _train_attention(
    task: Task, standard: Tensor, lrs: list[float], steps: int, batch: int, heads: int
) -> list[Tensor]:
    """Query, keys, values, classifier and its bias; H first, all H from the same start."""
    width, generator = task.train.tokens.shape[-1], torch.Generator()
    generator.manual_seed(step_seed(task.seed, "attentive start"))
    size = width // heads  # K
    start = [
        torch.randn(heads, size, generator=generator),
        torch.randn(heads, size, width, generator=generator) * width**-0.5,
        torch.randn(heads, width, size, generator=generator) * width**-0.5,
        torch.zeros(heads * size, task.classes),
        torch.zeros(task.classes),
    ]
    weights = [part.repeat(len(lrs), *[1] * part.ndim).requires_grad_() for part in start]

    @torch.enable_grad()
    def gradients(rows: Rows) -> list[Tensor]:
        logits = _forward(weights, task.train.tokens[rows], standard)  # H B L
        targets = task.train.labels[rows].expand(len(lrs), -1)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
        return list(torch.autograd.grad(loss / targets.shape[1], weights))

    rows = batches(len(task.train.labels), batch, steps, task.seed, "attentive")
    descend(weights, gradients, lrs, steps, rows)
    return weights


def _forward(
    weights: list[Tensor], tokens: Float[Tensor, "B N D"], standard: Float[Tensor, "2 D"]
) -> Float[Tensor, "H B L"]:
    """Logits of every head for the same images."""
    query, key, value, classifier, bias = weights
    tokens = (tokens.detach().float() - standard[0]) / standard[1]
    asked = torch.einsum("hak,hakd->had", query, key) * query.shape[-1] ** -0.5
    attention = (tokens @ asked.flatten(0, 1).T).softmax(1)  # B N HA
    seen = (attention.transpose(1, 2) @ tokens).unflatten(1, query.shape[:2])  # B H A D
    values = torch.einsum("bhad,hadk->hbak", seen, value).flatten(2)  # H B AK
    return F.layer_norm(values, values.shape[-1:]) @ classifier + bias[:, None]
