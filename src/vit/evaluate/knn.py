"""Weighted nearest neighbours on frozen features.

Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination",
arXiv:1805.01978, section 3.4, with DINO's settings: cosine similarity, k = 20, each neighbour
votes exp(similarity / 0.07). Over the full bank, nothing learned, nothing tuned: the bank is the
training split, and the images to choose on are left alone.

N bank images, M query images, L classes.
"""

import torch
from torch.nn import functional as F

from vit.evaluate.base import Result, Task

ROWS = 1024  # queries a block: bounds the similarity matrix to ROWS x N


def knn(task: Task, k: int = 20, temperature: float = 0.07) -> Result:
    """Classify each query by its k most similar training images.

    Args:
        task: what to learn from and what to classify.
        k: neighbours that vote; the whole bank where it is smaller.
        temperature: a neighbour's vote is exp(similarity / temperature).
    """
    if k < 1 or temperature <= 0:
        raise ValueError(
            f"knn: k must be at least 1 and temperature above 0, got {k} and {temperature}"
        )
    bank = F.normalize(task.train.features.float(), dim=1)
    k = min(k, len(bank))
    votes = []
    for rows in task.queries.features.float().split(ROWS):
        similarity, nearest = (F.normalize(rows, dim=1) @ bank.T).topk(k, dim=1)
        # relative to the nearest: the outcome is the same, and nothing overflows
        weight = ((similarity - similarity[:, :1]) / temperature).exp()
        ballot = torch.zeros(len(rows), task.classes, device=rows.device)  # ROWS L
        votes.append(ballot.scatter_add_(1, task.train.labels[nearest], weight))
    correct = torch.cat(votes).argmax(1) == task.queries.labels
    return Result(
        {"accuracy": correct.double().mean().item()},
        {"correct": correct},
        {
            "name": "knn",
            "k": k,
            "temperature": temperature,
            "similarity": "cosine",
            "bank": len(bank),
        },
    )
