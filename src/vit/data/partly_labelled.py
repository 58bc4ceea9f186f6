"""Few labels among many images: objectives that need a label of some rows of a batch only.

N images, R rows of a micro-batch.
"""

import copy
import math
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import Dataset

from vit.batch import LoaderContext, labelled_rows
from vit.data.sampling import TrainingBatches, appearances


def every_image(data: Any) -> Any:
    """The same data (an Images), its training split with those that have no label or none to use.

    Args:
        data: of which `labels_per_class` may leave images out, and a folder those without a class.
    """
    whole = copy.copy(data)
    whole.labels_per_class, whole.unlabelled, whole._contents = None, True, {}
    return whole


def partly_labelled(data: Any) -> Dataset:
    """The training split with every image of it; labels are those that the data allows to read.

    Args:
        data: an Images.

    Raises:
        ValueError: its labels shall be shuffled.
    """
    if data.shuffled_labels:
        raise ValueError(
            "data: shuffled_labels does not go with an objective that needs a label of some rows "
            "only; leave it out"
        )
    whole = every_image(data)
    dataset = whole.open("train")
    allowed = set(data.split_indices()["train"])
    kept = torch.tensor([place in allowed for place in whole.split_indices()["train"]])
    dataset.labels = torch.where(kept, dataset.labels, -1)
    return dataset


class PartlyLabelledBatches(TrainingBatches):
    """Training batches whose first rows have a label; the others are drawn from all images.

    Those with a label come again as often as there are rows for them, each time augmented anew.
    An epoch has as many steps as if each image were shown once.

    Args:
        labels: N; -1 unlabelled.
        per_device: R.
        context: its `unlabelled` says how many of the rows need no label.

    Raises:
        ValueError: no image has a label, or a micro-batch has no room for both.
    """

    def __init__(self, labels: Int[Tensor, " N"], per_device: int, context: LoaderContext) -> None:
        super().__init__(len(labels), per_device, context)
        if per_device < 2:
            raise ValueError(
                "data: batch_size needs 2 images on each device, one with and one without a label"
            )
        self.labelled = (labels >= 0).nonzero()[:, 0].cpu()
        if not len(self.labelled):
            raise ValueError("data: no training image has a label; label some")

    def refuse(self, **settings: bool) -> None:
        """Refuse settings of the data that mean nothing here.

        Args:
            settings: by name, is it on?

        Raises:
            ValueError: naming the first that is.
        """
        for name, on in settings.items():
            if on:
                raise ValueError(
                    f"data: {name} does not go with an objective that needs a label of some rows "
                    "only; leave it out"
                )

    def order(self, generator: torch.Generator) -> tuple[list[int], list[int]]:
        """An epoch's samples, micro-batch by micro-batch, and which appearance each is.

        Both streams are drawn first and cut into rows then, so that a step sees the same images,
        augmented alike, on any number of ranks.
        """
        count = self.full * self.context.world_size
        first = labelled_rows(self.per_device, self.context.unlabelled)
        rest = torch.randperm(self.size, generator=generator)[: count * (self.per_device - first)]
        passes = math.ceil(count * first / len(self.labelled))
        orders = [torch.randperm(len(self.labelled), generator=generator) for _ in range(passes)]
        some = self.labelled[torch.cat(orders)[: count * first]]
        repeats = appearances(torch.cat([some, rest])).split([len(some), len(rest)])
        return rows(some, rest, count), rows(*repeats, count)


def rows(first: Tensor, last: Tensor, count: int) -> list[int]:
    """Two streams of numbers, cut into `count` rows each and laid side by side."""
    return torch.cat([first.view(count, -1), last.view(count, -1)], 1).flatten().tolist()
