"""Many learning rates at once: H heads trained side by side, and one rule that chooses among them.

M images, H heads, P poolings, L classes.
"""

from collections.abc import Callable, Iterator
from math import cos, pi

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vit.randomness import keys

Rows = Tensor | slice  # the images of a step


def batches(count: int, batch: int, steps: int, seed: int, purpose: str) -> Iterator[Rows]:
    """The images of each step: all where they fit in a batch, else shuffled, no partial batch."""
    for step in range(steps):
        epoch, place = divmod(step, max(count // batch, 1))
        if place == 0:
            order = keys(seed, epoch, torch.arange(count), purpose).argsort()
        yield slice(None) if count <= batch else order[place * batch :][:batch]


def descend(
    weights: list[Tensor],
    gradients: Callable[[Rows], list[Tensor]],
    lrs: list[float],
    steps: int,
    rows: Iterator[Rows],
) -> None:
    """Adam on H heads at once, in place.

    Args:
        weights: H first in each.
        gradients: of every weight, from some images; no head's may depend on another head.
        lrs: H peaks; the rate rises over a tenth of the steps, then falls to 0 as a cosine.
        steps: how many.
        rows: the images of each.
    """
    means, squares = ([torch.zeros_like(weight) for weight in weights] for _ in range(2))
    for step, batch in enumerate(rows, 1):
        scale = min(1, 10 * step / steps) * (1 + cos(pi * (step - 1) / steps)) / 2
        rates = scale * torch.tensor(lrs) / (1 - 0.9**step)
        slopes = gradients(batch)
        for weight, slope, mean, square in zip(weights, slopes, means, squares, strict=True):
            mean.lerp_(slope, 0.1)
            square.lerp_(slope.square(), 0.01)
            size = (square / (1 - 0.99**step)).sqrt_() + 1e-8
            weight.sub_(mean / size * rates.view(-1, *[1] * (weight.ndim - 1)))


def choose(logits: Float[Tensor, "P H M L"], labels: Int[Tensor, " M"]) -> tuple[int, int, bool]:
    """Pooling, rate, and whether no rate inside the grid is as accurate for that pooling.

    Most accurate wins; of equals the one of lower loss, then the first.
    """
    accuracy = (logits.argmax(-1) == labels).double().mean(-1)  # P H
    right = logits.log_softmax(-1).gather(-1, labels.expand(logits.shape[:-1])[..., None])
    likelihood = right.mean((2, 3))  # P H
    places = [(pool, head) for pool in range(len(logits)) for head in range(logits.shape[1])]
    best = max(places, key=lambda place: (accuracy[place].item(), likelihood[place].item()))
    return *best, accuracy[best] not in accuracy[best[0], 1:-1]


def check_grid(name: str, lrs: tuple[float, ...], steps: int, batch: int) -> None:
    """Refuse settings that teach nothing."""
    if not lrs or min(lrs) <= 0 or min(steps, batch) < 1:
        raise ValueError(
            f"{name}: lrs must be above 0, steps and batch at least 1; "
            f"got {list(lrs)}, {steps} and {batch}"
        )
