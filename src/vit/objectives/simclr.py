"""SimCLR: tell the other view of an image from the views of all other images.

Paper: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations",
arXiv:2002.05709, section 2 and algorithm 1: NT-Xent, a cross-entropy over cosines, with negatives
from all processes. Two-layer projection with batch normalisation, as its released code.
More than two views: each large view against every other view, two at a time, averaged.
Differs from it: the last batch normalisation learns a shift too.

B batch, N images of all processes, V views, D width, E numbers of a point.
"""

from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vit.batch import Batch, DataSpec
from vit.collectives import gather_rows, gather_with_gradient
from vit.models.base import Encoder
from vit.objectives.base import Losses, Objective
from vit.objectives.parts.batch_norm import GlobalBatchNorm
from vit.objectives.parts.multi_crop import MultiCrop
from vit.precision import as_given

CROPS = MultiCrop(  # small views are no part of the paper; where they are asked for, as DINO's
    local_crops=0, global_area=(0.08, 1.0), local_area=(0.05, 0.4), photometric=1.0
)


class SimCLR(Objective):
    """Contrast each image's views with those of all others.

    Args:
        encoder: any.
        spec: the data.
        temperature: what cosines are divided by. Paper: 0.1 on ImageNet, 0.5 on CIFAR-10.
        hidden_width: width of the projection's hidden layer. Paper: the encoder's, 2048.
        outputs: E. Paper: 128.
        crops: the views; two of them large. `distorted` blurs half of all, as the paper does.
    """

    whole_step: ClassVar[bool] = True
    best: ClassVar[tuple[str, str]] = ("val/loss", "min")
    validity_protocols: ClassVar[tuple[str, ...]] = ("knn", "ridge", "linear", "attentive")

    def __init__(
        self,
        encoder: Encoder,
        spec: DataSpec,
        temperature: float = 0.1,
        hidden_width: int = 2048,
        outputs: int = 128,
        crops: MultiCrop = CROPS,
    ) -> None:
        super().__init__(encoder, spec)
        if crops.global_crops != 2:
            raise ValueError(f"SimCLR: crops.global_crops must be 2, got {crops.global_crops}")
        self.views = crops.views(encoder, spec)
        if crops.distorted:
            self.views = tuple(replace(view, blur=0.5) for view in self.views)
        if not temperature > 0:
            raise ValueError(f"SimCLR: temperature must be above 0, got {temperature}")
        if min(hidden_width, outputs) < 1:
            raise ValueError(
                "SimCLR: hidden_width and outputs must be at least 1, got "
                f"{hidden_width} and {outputs}"
            )
        self.temperature = temperature
        self.projector = nn.Sequential(
            nn.Linear(encoder.width, hidden_width, bias=False),
            GlobalBatchNorm(hidden_width),
            nn.ReLU(),
            nn.Linear(hidden_width, outputs, bias=False),
            GlobalBatchNorm(outputs),
        )

    def forward(self, batch: Batch, progress: float) -> Losses:
        """One step: large views in one pass, small ones in another; one projection of all."""
        groups = [batch.views[:2], batch.views[2:]]
        features = [self.encoder(torch.cat(views)).pooled for views in groups if views]
        points = F.normalize(self.projector(torch.cat(features)).float(), dim=-1)
        points = points.view(len(batch.views), len(batch), -1)  # V B E
        cloud = gather_with_gradient(points.transpose(0, 1))  # N V E
        if batch.epoch is None:  # a last batch is padded
            cloud = cloud[gather_rows(batch.valid)]
        cloud = cloud.transpose(0, 1)  # V N E
        pairs = [(i, j) for i in range(2) for j in range(i + 1, len(cloud))]
        pairs += [(0, 1)] * (len(cloud) > 2)  # seen from each of the two large views
        terms = [nt_xent(cloud[i], cloud[j], self.temperature) for i, j in pairs]
        loss, matched = (torch.stack(values).mean() for values in zip(*terms, strict=True))
        similar = torch.stack([(points[i] * points[j]).sum(-1) for i, j in pairs]).mean(0)
        monitors = {"loss": loss.detach(), "matched": matched}
        return Losses(loss, {"similarity": similar.detach()}, monitors)


def nt_xent(
    first: Float[Tensor, "N E"], second: Float[Tensor, "N E"], temperature: float
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The paper's loss of two views of unit length, and how often the other view is the nearest.

    Each of the 2N points is to be told which of the other 2N - 1 shows its own image.
    """
    points = torch.cat([first, second])
    with as_given(points):
        logits = points @ points.T / temperature  # 2N 2N
    itself = torch.eye(len(points), dtype=torch.bool, device=points.device)
    logits = logits.masked_fill(itself, -torch.inf)
    other_view = torch.arange(len(points), device=points.device).roll(len(first))
    matched = (logits.argmax(1) == other_view).float().mean()
    return F.cross_entropy(logits, other_view), matched
