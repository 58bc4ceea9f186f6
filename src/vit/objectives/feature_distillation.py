"""Feature distillation: a small encoder learns the features of a trained one, without labels.

Paper: Wei et al., "Contrastive Learning Rivals Masked Image Modeling in Fine-tuning via Feature
Distillation", arXiv:2205.14141, section 3: the teacher's features are whitened by a LayerNorm
without weights, the student's go through a linear layer, and smooth L1 (beta 2) is between them.
Differs from it: the student is smaller and has another patch size, so the teacher sees the picture
at the size at which it has as many patches; the pooled vectors are a target too, as a small
encoder is mostly asked for these (Ranzinger et al., AM-RADIO, arXiv:2312.06709, learn both); no
shared relative positions, no drop path.

B batch, C channels, H W pixels, N patches, D width, E the teacher's width.
"""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vit.batch import Batch, DataSpec
from vit.models.base import Features, TokenEncoder
from vit.models.frozen_encoder import frozen_encoder
from vit.objectives.base import Losses, Objective, check_fractions
from vit.objectives.parts.held import Held, same_teacher

BETA = 2.0  # of smooth L1, the paper's


class FeatureDistillation(Objective):
    """Predict what a trained encoder sees in a picture: its pooled vector and its patches.

    Args:
        encoder: with patch tokens.
        spec: the data.
        teacher: run folder, checkpoint, released file or name; it never learns.
        patch_weight: of the patches' part in the loss; the pooled vector has the rest.
    """

    best: ClassVar[tuple[str, str]] = ("val/loss", "min")
    validity_protocols: ClassVar[tuple[str, ...]] = ("knn", "ridge", "linear", "attentive")

    def __init__(
        self,
        encoder: TokenEncoder,
        spec: DataSpec,
        teacher: str = "",
        patch_weight: float = 0.5,
    ) -> None:
        super().__init__(encoder, spec)
        if not teacher:
            raise ValueError(
                "FeatureDistillation: teacher must name a run, a released file or a name such as "
                "timm:vit_small_patch14_dinov2.lvd142m"
            )
        check_fractions("FeatureDistillation", patch_weight=patch_weight)
        self.patch_weight = patch_weight
        trained = frozen_encoder(teacher, encoder.grid, spec.channels)
        self.teacher, self.lineage = Held(trained), trained.lineage
        self.pooled_layer = nn.Linear(encoder.width, trained.encoder.width)
        self.patch_layer = nn.Linear(encoder.width, trained.encoder.width)
        self.register_buffer("teacher_key", self.teacher.mark())
        self.register_load_state_dict_post_hook(same_teacher)

    def forward(self, batch: Batch, progress: float) -> Losses:
        """One step."""
        ours = self.encoder(batch.images)
        theirs: Features = self.teacher(self.pixels(batch.images))
        pooled = self.pooled_layer(ours.pooled)  # B E
        target = whitened(theirs.pooled)
        of_pooled = smooth_l1(pooled, target)
        of_patches = smooth_l1(self.patch_layer(ours.tokens), whitened(theirs.tokens)).mean(1)
        loss = (1 - self.patch_weight) * of_pooled + self.patch_weight * of_patches
        cosine = F.cosine_similarity(pooled.float(), target, dim=-1)
        per_image = {
            "loss": loss,
            "pooled_loss": of_pooled,
            "patch_loss": of_patches,
            "teacher_cosine": cosine,
        }
        return Losses(loss.mean(), per_image, {})


def whitened(features: Float[Tensor, "*B E"]) -> Float[Tensor, "*B E"]:
    """Each vector with mean 0 and deviation 1."""
    return F.layer_norm(features.float(), features.shape[-1:])


def smooth_l1(ours: Float[Tensor, "*B E"], target: Float[Tensor, "*B E"]) -> Float[Tensor, "*B"]:
    """Squared below BETA, linear above; the mean over a vector's numbers."""
    return F.smooth_l1_loss(ours.float(), target, reduction="none", beta=BETA).mean(-1)
