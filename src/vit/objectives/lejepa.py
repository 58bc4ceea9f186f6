"""LeJEPA: views of an image agree, and all images together look like a Gaussian cloud.

Paper: Balestriero and LeCun, "LeJEPA: Provable and Scalable Self-Supervised Learning Without the
Heuristics", arXiv:2511.08544: no teacher, no stopped gradient, no schedule, one weight. SIGReg
compares random projections of the cloud with a normal distribution by the Epps-Pulley statistic.
As in its code, each view's cloud is tested alone and the statistics are averaged.
Differs from it: directions are drawn from the seed and the run's progress, alike on all ranks;
saturation changes half as much as in its example (a rule of our photometric strength).

B batch, V views, G large views, D width, E numbers of a projection, S directions, K knots.
"""

from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vit.batch import Batch, DataSpec
from vit.collectives import sum_over_ranks, world_size
from vit.models.base import Encoder
from vit.objectives.base import Losses, Objective, check_fractions
from vit.objectives.parts.multi_crop import MultiCrop
from vit.precision import as_given
from vit.randomness import step_seed, uniform

CROPS = MultiCrop(local_crops=6, global_area=(0.3, 1.0), local_area=(0.05, 0.3))  # the paper's
REACH = 3.0  # the characteristic function is compared from 0 to here; paper: [-3, 3], which is even


class LeJEPA(Objective):
    """Predict the mean of the large views from every view, under a Gaussian constraint.

    Args:
        encoder: any.
        spec: the data.
        weight: of SIGReg; the agreement has 1 - weight. Paper: 0.02.
        outputs: E. Paper's example: 16 to 128.
        hidden_width: width of the projection's two hidden layers. Paper: 2048.
        directions: S, drawn anew at each step. Paper: 1024; its example: 256.
        knots: K, points of the integral. Paper: 17.
        crops: the views. `distorted` blurs half of all and solarises a fifth, as its example does,
            whose photometric strength is 1.
    """

    whole_step: ClassVar[bool] = True
    best: ClassVar[tuple[str, str]] = ("val/loss", "min")
    validity_protocols: ClassVar[tuple[str, ...]] = ("knn", "ridge", "linear", "attentive")

    def __init__(
        self,
        encoder: Encoder,
        spec: DataSpec,
        weight: float = 0.02,
        outputs: int = 128,
        hidden_width: int = 2048,
        directions: int = 256,
        knots: int = 17,
        crops: MultiCrop = CROPS,
    ) -> None:
        super().__init__(encoder, spec)
        if crops.global_crops + crops.local_crops < 2 or crops.global_crops < 1:
            raise ValueError(
                "LeJEPA: crops needs at least one large view and two views in all, got "
                f"{crops.global_crops} large and {crops.local_crops} small"
            )
        self.views = crops.views(encoder, spec)
        if crops.distorted:
            self.views = tuple(replace(view, blur=0.5, solarise=0.2) for view in self.views)
        check_fractions("LeJEPA", weight=weight)
        if min(outputs, hidden_width, directions) < 1 or knots < 2:
            raise ValueError(
                "LeJEPA: outputs, hidden_width and directions must be at least 1, knots at least "
                f"2, got {outputs}, {hidden_width}, {directions} and {knots}"
            )
        self.weight = weight
        self.outputs = outputs
        self.directions = directions
        self.large = crops.global_crops
        self.projector = nn.Sequential(
            nn.Linear(encoder.width, hidden_width),
            nn.BatchNorm1d(hidden_width),
            nn.ReLU(),
            nn.Linear(hidden_width, hidden_width),
            nn.BatchNorm1d(hidden_width),
            nn.ReLU(),
            nn.Linear(hidden_width, outputs),
        )
        self.register_buffer("knots", torch.linspace(0, REACH, knots), persistent=False)

    def forward(self, batch: Batch, progress: float) -> Losses:
        """One step: large views in one pass, small ones in another; one projection of all."""
        groups = [batch.views[: self.large], batch.views[self.large :]]
        features = [self.encoder(torch.cat(views)).pooled for views in groups if views]
        points = self.projector(torch.cat(features)).float()
        points = points.view(len(batch.views), len(batch), -1)  # V B E
        center = points[: self.large].mean(0)
        agreement = (points - center).square().mean((0, 2))  # B
        if batch.epoch is not None:
            cloud, counted, count = points, agreement, len(batch) * world_size()
            seed = step_seed(batch.seed, "lejepa", repr(progress))
        else:  # a last batch may be all padding on one rank, on another not
            cloud, counted = points[:, batch.valid], agreement[batch.valid]
            count = sum_over_ranks(batch.valid.sum())
            seed = step_seed(batch.seed, "lejepa", repr(None))
        normality = sigreg(cloud, self.unit_vectors(seed), self.knots, count)
        loss = (1 - self.weight) * mean_over_all(counted, count) + self.weight * normality
        monitors = {"loss": loss.detach(), "normality": normality.detach()}
        mean, square = (
            mean_over_all(part.mean(0), count) for part in (cloud.detach(), cloud.detach().square())
        )
        monitors["spread"] = (square - mean.square()).clamp(min=0).sqrt().mean()
        return Losses(loss, {"agreement": agreement}, monitors)

    def unit_vectors(self, seed: int) -> Float[Tensor, "E S"]:
        """Random directions, the same wherever the seed is."""
        key = torch.full((self.outputs,), seed, device=self.knots.device)
        key = key + torch.arange(self.outputs, device=key.device)
        even = uniform(key, self.directions).clamp(min=2**-25)
        normal = (2 * even - 1).erfinv()
        return normal / normal.norm(dim=0)


def sigreg(
    points: Float[Tensor, "V B E"],
    directions: Float[Tensor, "E S"],
    knots: Float[Tensor, " K"],
    count: int | Tensor,
) -> Float[Tensor, ""]:
    """Mean Epps-Pulley statistic over directions and views; about 1 for a normal cloud.

    N times the integral of |characteristic function of the sample - exp(-t^2 / 2)|^2 under the
    weight exp(-t^2 / 2), by the trapezoid rule over [0, REACH], doubled; N (count) images of all
    ranks. In float32: the sums cancel.
    """
    with as_given(points):
        normal = torch.exp(-knots.square() / 2)
        weights = torch.full_like(knots, 2 * REACH / (len(knots) - 1))
        weights[[0, -1]] /= 2
        angles = (points @ directions)[..., None] * knots  # V B S K
        real, imaginary = (
            mean_over_all(part.transpose(0, 1), count) for part in (angles.cos(), angles.sin())
        )  # V S K
        error = (real - normal).square() + imaginary.square()  # V S K
        return (error @ (weights * normal)).mean() * count


def mean_over_all(rows: Float[Tensor, "B ..."], count: int | Tensor) -> Float[Tensor, "..."]:
    """The mean over the rows of all ranks, count of them.

    Its gradient is that of this rank's part alone: ranks average their gradients afterwards, so
    that each ends with the gradient of the statistic of all.
    """
    part = rows.sum(0) / count
    constant = part.detach()
    return sum_over_ranks(constant) + (part - constant) * world_size()
