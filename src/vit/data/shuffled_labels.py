"""Labels that say nothing: a training split's own, each on another of its images by chance.

After the randomisation test of Zhang et al., "Understanding deep learning requires rethinking
generalization", arXiv:1611.03530, section 2.1.
Differs from it: labels are permuted, not drawn anew, so that each class keeps its size.

N images.
"""

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vit.randomness import keys, uniform


def shuffle_labels(dataset: Dataset) -> Dataset:
    """The same images in the same order, their labels permuted among them.

    The permutation follows from N alone: every run, resumed or not, learns the same labels.

    Args:
        dataset: a split in memory or in files, opened for this call; its labels change.

    Raises:
        ValueError: an image has no label.
    """
    if missing := int((dataset.labels < 0).sum()):
        raise ValueError(
            f"data: shuffled_labels needs a label of every training image, {missing} of "
            f"{len(dataset)} have none; label them, or leave shuffled_labels out"
        )
    order = permutation(len(dataset))
    dataset.labels = dataset.labels[order]
    if getattr(dataset, "accepted", None) is not None:  # several labels an image move together
        dataset.accepted = dataset.accepted[order]
    return dataset


def permutation(count: int) -> Tensor:
    """N numbers, each from 0 to N - 1 once, in an order that is always the same."""
    drawn = uniform(keys(0, None, torch.arange(count), "shuffled labels"), 1)[:, 0]
    return drawn.argsort(stable=True)
