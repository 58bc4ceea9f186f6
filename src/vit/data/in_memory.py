"""Small data sets, whole in memory or on the device.

N images, C channels, H W pixels.
"""

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vit.batch import Batch
from vit.data.sampling import BatchIndices


class InMemory(Dataset):
    """Images of one split as one uint8 tensor; a batch is one gather.

    Args:
        images: N C H W, uint8.
        labels: N, int64; -1 unlabelled.
        seed: the run's, handed on to each batch.
    """

    def __init__(self, images: Tensor, labels: Tensor, seed: int = 0) -> None:
        self.images = images
        self.labels = labels
        self.seed = seed

    def to(self, device: torch.device) -> None:
        """Live there; a batch is then made without a copy from the host."""
        self.images, self.labels = self.images.to(device), self.labels.to(device)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: BatchIndices) -> Batch:
        index = torch.tensor(chosen.index)
        if self.images.is_cuda:  # page-locked, so that nobody waits for the copy
            index = index.pin_memory().to(self.images.device, non_blocking=True)
        place = index.clamp(min=0)  # padding shows sample 0 and counts nowhere
        labels = torch.where(index < 0, -1, self.labels[place])
        repeat = torch.tensor(chosen.repeat, device=index.device) if chosen.repeat else None
        images = self.images.index_select(0, place)
        return Batch([images], labels, index, self.seed, chosen.epoch, repeat=repeat)
