"""Batch normalisation over the images of all processes, on any device.

Ioffe and Szegedy, arXiv:1502.03167, section 3.1. PyTorch's own that crosses processes
(SyncBatchNorm) runs on GPUs only.

B batch of one process, E numbers of an image.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vit.collectives import active, sum_with_gradient, world_size
from vit.precision import as_given


class GlobalBatchNorm(nn.BatchNorm1d):
    """BatchNorm1d whose mean and deviation are those of all processes' images.

    Two processes then train as one does, and no process can tell its own images from the others by
    their common mean (SimCLR, arXiv:2002.05709, section 2.2). In evaluation, and in one process,
    it is PyTorch's.
    """

    def forward(self, rows: Float[Tensor, "B E"]) -> Float[Tensor, "B E"]:
        """Each of the E numbers with mean 0 and deviation 1, then scaled and moved as learned."""
        if not (self.training and active()):
            return super().forward(rows)
        with as_given(rows):
            full, count = rows.float(), len(rows) * world_size()
            mean = sum_with_gradient(full.sum(0)) / count
            centred = full - mean
            variance = sum_with_gradient(centred.square().sum(0)) / count
            self.follow(mean.detach(), variance.detach() * count / (count - 1))
            normal = centred * (variance + self.eps).rsqrt()
            return (normal * self.weight + self.bias).to(rows.dtype)

    @torch.no_grad()
    def follow(self, mean: Float[Tensor, " E"], variance: Float[Tensor, " E"]) -> None:
        """The statistics that evaluation uses move towards this batch's."""
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
