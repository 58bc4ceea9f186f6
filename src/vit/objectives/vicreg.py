"""VICReg: views of an image agree, every number varies, and no two numbers say the same.

Paper: Bardes, Ponce and LeCun, "VICReg: Variance-Invariance-Covariance Regularization for
Self-Supervised Learning", arXiv:2105.04906, section 4: no teacher, no negative pairs, no stopped
gradient. Scaled as its released code: the squared distance is a mean over numbers, the variance
term a mean over the views, the covariance term a sum over two of them.
More than two views as its authors' VICRegL (arXiv:2210.01571): each large view agrees with every
other view; variance and covariance are each view's own, averaged over the views.
Differs from it: one pass of the expander normalises all views together, not each alone.

B batch, N images of all processes, V views, D width, E numbers of an embedding.
"""

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

CROPS = MultiCrop(local_crops=0, global_area=(0.08, 1.0), local_area=(0.08, 0.4))  # small: VICRegL
DEVIATION = 1.0  # gamma: what each number's deviation is pushed up to
EPSILON = 1e-4  # under the root, whose gradient at 0 is infinite


class VICReg(Objective):
    """Invariance between views, under a variance and a covariance term.

    Args:
        encoder: any.
        spec: the data.
        invariance: weight of the squared distance between views. Paper: 25.
        variance: weight of the hinge on the deviation of each number. Paper: 25.
        covariance: weight of the squared covariances. Paper: 1.
        hidden_width: width of the expander's two hidden layers. Paper: 8192.
        outputs: E. Paper: 8192.
        crops: the views; two of them large. `distorted` blurs and solarises as the paper does.
    """

    whole_step: ClassVar[bool] = True
    best: ClassVar[tuple[str, str]] = ("val/loss", "min")
    validity_protocols: ClassVar[tuple[str, ...]] = ("knn", "ridge", "linear", "attentive")

    def __init__(
        self,
        encoder: Encoder,
        spec: DataSpec,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        hidden_width: int = 8192,
        outputs: int = 8192,
        crops: MultiCrop = CROPS,
    ) -> None:
        super().__init__(encoder, spec)
        if crops.global_crops != 2:
            raise ValueError(f"VICReg: crops.global_crops must be 2, got {crops.global_crops}")
        self.views = crops.teacher_views(encoder, spec)
        self.weights = {"invariance": invariance, "variance": variance, "covariance": covariance}
        for name, weight in self.weights.items():
            if not weight >= 0:
                raise ValueError(f"VICReg: {name} must be at least 0, got {weight}")
        if hidden_width < 1 or outputs < 2:
            raise ValueError(
                "VICReg: hidden_width must be at least 1, outputs at least 2, got "
                f"{hidden_width} and {outputs}"
            )
        self.expander = nn.Sequential(
            nn.Linear(encoder.width, hidden_width),
            GlobalBatchNorm(hidden_width),
            nn.ReLU(),
            nn.Linear(hidden_width, hidden_width),
            GlobalBatchNorm(hidden_width),
            nn.ReLU(),
            nn.Linear(hidden_width, outputs, bias=False),  # no term sees a bias
        )

    def forward(self, batch: Batch, progress: float) -> Losses:
        """One step: large views in one pass, small ones in another; one expansion of all."""
        groups = [batch.views[:2], batch.views[2:]]
        features = [self.encoder(torch.cat(views)).pooled for views in groups if views]
        points = self.expander(torch.cat(features)).float()
        points = points.view(len(batch.views), len(batch), -1).transpose(0, 1)  # B V E
        cloud = gather_with_gradient(points)
        if batch.epoch is None:  # a last batch is padded
            cloud = cloud[gather_rows(batch.valid)]
        cloud = cloud.transpose(0, 1)  # V N E
        terms = {
            "invariance": distance(cloud).mean(),
            "variance": variance_term(cloud),
            "covariance": covariance_term(cloud),
        }
        loss = sum(self.weights[name] * term for name, term in terms.items())
        monitors = {name: term.detach() for name, term in terms.items()}
        monitors |= {"loss": loss.detach(), "deviation": deviations(cloud.detach()).mean()}
        return Losses(loss, {"distance": distance(points.transpose(0, 1)).detach()}, monitors)


def distance(points: Float[Tensor, "V N E"]) -> Float[Tensor, " N"]:
    """Mean squared distance of each image's two large views from all its other views."""
    total = sum((points - large).square().mean(-1).sum(0) for large in points[:2])
    return total / (2 * (len(points) - 1))


def deviations(points: Float[Tensor, "V N E"]) -> Float[Tensor, "V E"]:
    """The deviation of each number over the images; 0.01 and no more where they are alike."""
    centred = points - points.mean(1, keepdim=True)
    variance = centred.square().sum(1) / max(points.shape[1] - 1, 1)
    return (variance + EPSILON).sqrt()


def variance_term(points: Float[Tensor, "V N E"]) -> Float[Tensor, ""]:
    """How far deviations are below DEVIATION, on average."""
    return F.relu(DEVIATION - deviations(points)).mean()


def covariance_term(points: Float[Tensor, "V N E"]) -> Float[Tensor, ""]:
    """Squared covariances of different numbers, over E; of two views, on average."""
    views, count, width = points.shape
    with as_given(points):
        centred = points - points.mean(1, keepdim=True)
        covariance = centred.transpose(1, 2) @ centred / max(count - 1, 1)  # V E E
    different = covariance.square().sum() - covariance.diagonal(dim1=1, dim2=2).square().sum()
    return 2 * different / (views * width)
