"""What a classifier confuses, added up batch by batch over all ranks.

B batch, C channels, H W pixels, K images kept, L classes.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from vit.collectives import gather_rows, sum_over_ranks
from vit.metrics import Answers


class Mistake(NamedTuple):
    """An image that was taken for another class.

    Args:
        confidence: probability of the guess, 0 to 1.
        index: the image's number in its split.
        label: what it is.
        guess: what it was taken for.
        pixels: C H W in [0, 1], as the model saw it.
    """

    confidence: float
    index: int
    label: int
    guess: int
    pixels: Tensor


class Confusions:
    """Counts of classes, and the mistakes with the highest confidence.

    Args:
        classes: L.
        several: images have several labels: counts are of each label alone, at a probability above
            one half, and no mistake is kept.
        most: mistakes that are kept.
        device: where batches are.
    """

    def __init__(self, classes: int, several: bool, most: int, device: torch.device) -> None:
        self.several, self.most = several, most
        shape = (3, classes) if several else (classes, classes)
        # several: right, images and guessed of each label; else rows are labels, columns guesses
        self.table = torch.zeros(shape, dtype=torch.int64, device=device)
        self.facts = torch.zeros(0, 3, dtype=torch.int64, device=device)  # index, label, guess
        self.confidence = torch.zeros(0, device=device)
        self.pixels: Tensor | None = None  # as many C H W

    def add(self, answers: Answers, images: Tensor, pixels: Callable[[Tensor], Tensor]) -> None:
        """Count a batch.

        Args:
            answers: of its images, with what was predicted.
            images: B C H W, normalised.
            pixels: makes normalised images those that a person sees, in [0, 1].
        """
        scores, truth = answers.predicted
        counted = answers.index >= 0
        scores, truth = scores[counted].float(), truth[counted]
        if self.several:
            guessed, holds = scores > 0.5, truth.bool()
            self.table += torch.stack([guessed & holds, holds, guessed]).sum(1)
            return
        confidence, guess = scores.max(1)
        classes = len(self.table)
        cells = truth * classes + guess
        self.table += cells.bincount(minlength=classes**2).view(classes, classes)
        facts = torch.stack([answers.index[counted], truth, guess], 1)
        wrong = (guess != truth).nonzero().flatten()
        kept = wrong[surest(confidence[wrong], facts[wrong, 0], self.most)]
        shown = pixels(images[counted][kept]).float().clamp(0, 1)
        before = shown[:0] if self.pixels is None else self.pixels
        self._keep(
            torch.cat([self.confidence, confidence[kept]]),
            torch.cat([self.facts, facts[kept]]),
            torch.cat([before, shown]),
        )

    def _keep(self, confidence: Tensor, facts: Tensor, pixels: Tensor) -> None:
        """The surest of these and no others."""
        rows = surest(confidence, facts[:, 0], self.most)
        self.confidence, self.facts, self.pixels = confidence[rows], facts[rows], pixels[rows]

    def over_ranks(self) -> None:
        """Bring together what all ranks saw; every rank must call it."""
        self.table = sum_over_ranks(self.table)
        if self.several or self.pixels is None:
            return
        missing = self.most - len(self.facts)  # every rank must bring equally many rows
        parts = (self.confidence, -1.0), (self.facts, -1), (self.pixels, 0.0)
        padded = [
            torch.cat([part, part.new_full((missing, *part.shape[1:]), fill)])
            for part, fill in parts
        ]
        confidence, facts, pixels = map(gather_rows, padded)
        real = facts[:, 0] >= 0
        self._keep(confidence[real], facts[real], pixels[real])

    def counts(self) -> Tensor:
        """Right, images and guessed of each class, 3 L."""
        if self.several:
            return self.table.cpu()
        return torch.stack([self.table.diag(), self.table.sum(1), self.table.sum(0)]).cpu()

    def mistakes(self) -> list[Mistake]:
        """Those that are kept, the surest first."""
        if self.pixels is None:
            return []
        rows = zip(self.confidence.tolist(), self.facts.tolist(), self.pixels.cpu(), strict=True)
        return [Mistake(confidence, *facts, pixels) for confidence, facts, pixels in rows]


def surest(confidence: Tensor, index: Tensor, most: int) -> Tensor:
    """Places of the highest confidences, the highest first; the earlier image first among equals.

    The choice does not depend on how a split was cut into batches and ranks.
    """
    order = index.argsort()
    order = order[confidence[order].argsort(descending=True, stable=True)]
    return order[:most]
