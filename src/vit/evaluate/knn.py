"""Weighted nearest neighbours on frozen features.

Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination",
arXiv:1805.01978, section 3.4, with DINO's settings: cosine similarity, k = 20, each neighbour
votes exp(similarity / 0.07). Over the full bank, nothing learned, nothing tuned.

N bank images, M query images, D width, L classes.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from vit.evaluate.base import Result

ROWS = 1024  # queries a block: bounds the similarity matrix to ROWS x N


def knn(
    bank: Float[Tensor, "N D"],
    bank_labels: Int[Tensor, " N"],
    queries: Float[Tensor, "M D"],
    labels: Int[Tensor, " M"],
    classes: int,
    k: int = 20,
    temperature: float = 0.07,
) -> Result:
    """Classify each query by its k most similar bank images."""
    if k < 1 or temperature <= 0:
        raise ValueError(
            f"knn: k must be at least 1 and temperature above 0, got {k} and {temperature}"
        )
    k = min(k, len(bank))
    bank = F.normalize(bank.float(), dim=1)
    votes = []
    for rows in queries.float().split(ROWS):
        similarity, nearest = (F.normalize(rows, dim=1) @ bank.T).topk(k, dim=1)
        # relative to the nearest, which changes no vote's share and cannot overflow
        weight = ((similarity - similarity[:, :1]) / temperature).exp()
        ballot = torch.zeros(len(rows), classes, device=rows.device)
        votes.append(ballot.scatter_add_(1, bank_labels[nearest], weight))
    correct = torch.cat(votes).argmax(1) == labels
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
