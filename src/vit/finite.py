"""The first loss that was not finite, and the images it came from.

Each step only stores its losses; they are checked where the run waits for the device anyway: at a
logged step and before a checkpoint.
"""

import torch
from torch import Tensor

from vit.collectives import gather_rows, sum_over_ranks
from vit.objectives.base import Losses

NAMED = 10  # images, at most, in the message


class RecentLosses:
    """Losses of the micro-batches since the last look."""

    def __init__(self) -> None:
        self.kept: list[tuple[int, Tensor, Tensor, Tensor]] = []

    def add(self, step: int, losses: Losses, index: Tensor) -> None:
        """Keep one micro-batch's.

        Args:
            step: optimiser steps done before it.
            losses: what the objective returned.
            index: B, sample numbers.
        """
        loss = losses.loss.detach()
        each = losses.per_image.get("loss")
        self.kept.append(
            (step, loss, loss.expand(len(index)) if each is None else each.detach(), index)
        )

    def check(self) -> None:
        """Look through them and forget them; every rank must call it.

        Raises:
            FloatingPointError: names the step and the images; the same on every rank.
        """
        kept, self.kept = self.kept, []
        if not kept:
            return
        fine = torch.stack([loss for _, loss, _, _ in kept]).isfinite()
        bad = sum_over_ranks((~fine).float())  # every rank keeps equally many
        if not bad.any():
            return
        step, _, each, index = kept[int(bad.nonzero()[0])]
        index = gather_rows(torch.where(each.isfinite(), -1, index))
        numbers = sorted(index[index >= 0].tolist())
        if not numbers:
            whose = "the loss of no image alone"
        elif len(numbers) == len(index) > 1:
            whose = "every image of the batch, so the weights were damaged before"
        else:
            more = f" and {len(numbers) - NAMED} more" if len(numbers) > NAMED else ""
            named = ", ".join(map(str, numbers[:NAMED]))
            whose = f"training image{'s' if len(numbers) > 1 else ''} {named}{more}"
        raise FloatingPointError(
            f"train/loss is not finite from step {step + 1} on ({whose}): lower the lr or set "
            "model.clip"
        )
