"""iBOT: DINO on class tokens, and the teacher's choice for each patch that the student cannot see.

Paper: Zhou et al., "iBOT: Image BERT Pre-Training with Online Tokenizer", arXiv:2111.07832, section
3: the student sees large views with hidden patches, the teacher sees them whole; one head for both.
Differs from it: the student's encoder is evaluated unless `evaluated: teacher`; schedules are
fractions of the run instead of epochs; the last layer's length is fixed to 1; the encoder begins as
ViT's does, not at deviation 0.02; the number of hidden patches is rounded and exact, where its code
goes up to it and stops when no rectangle fits.

B batch, V views, N patches, K patches that may be hidden, D width, L prototypes.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vit.batch import Batch, DataSpec
from vit.ema import EMA
from vit.models.base import Encoder, TokenEncoder
from vit.objectives.base import Losses, Objective, check_fractions
from vit.objectives.parts.heads import Projection, PrototypeHead
from vit.objectives.parts.masking import block_mask, hidden_count, kept_patches, random_order
from vit.objectives.parts.multi_crop import MultiCrop
from vit.objectives.parts.self_distillation import (
    Branch,
    Center,
    SelfDistillation,
    across_views,
    collapse_message,
    cross_entropy,
    entropy,
    explained,
    marginal_entropy,
)
from vit.patches import patchify, unpatchify
from vit.randomness import uniform

CROPS = MultiCrop(local_crops=10, global_area=(0.25, 1.0), local_area=(0.05, 0.25))  # the paper's
PROJECTION = Projection(prototypes=8192)
DISTILLATION = SelfDistillation(teacher_temperature=(0.04, 0.07), temperature_warmup=0.04)


@dataclass(frozen=True)
class ViewMasking:
    """Which patches of the large views the student does not see.

    Args:
        probability: fraction of the large views in which patches are hidden at all. Paper: 0.5.
        ratio: fraction of their patches, from and to. Paper: (0.1, 0.5).
        shape: of what is hidden; block: rectangles (paper), random: single patches (its code finds
            them slightly better).
    """

    probability: float = 0.5
    ratio: tuple[float, float] = (0.1, 0.5)
    shape: Literal["block", "random"] = "block"

    def __post_init__(self) -> None:
        check_fractions("ViewMasking", probability=self.probability)
        if not 0 < self.ratio[0] <= self.ratio[1] < 1:
            raise ValueError(f"ViewMasking: ratio must rise within (0, 1), got {tuple(self.ratio)}")

    def draw(self, batch: Batch, grid: tuple[int, int]) -> Bool[Tensor, "two_B N"]:
        """Hidden patches of both large views."""
        masks, total, (low, high) = [], math.prod(grid), self.ratio
        for view in range(2):
            key = batch.keys(f"ibot {view}")
            uniforms = uniform(batch.keys(f"ibot share {view}"), 2)
            count = ((low + (high - low) * uniforms[:, 1]) * total).round().clamp(1, total - 1)
            count = torch.where(uniforms[:, 0] < self.probability, count, 0).long()
            if self.shape == "block":
                masks.append(block_mask(key, grid, count))
            else:
                masks.append(random_order(key, total).argsort(1) < count[:, None])
        return torch.cat(masks)


class PatchBranch(Branch):
    """A branch that projects patches too."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return project(self.encoder, self.head, self.encoder.embed(images))


class IBOT(Objective):
    """Self-distillation of images and of hidden patches, without labels.

    Args:
        encoder: with patch tokens, each made from its own pixels alone.
        spec: the data.
        head: the projection to prototypes, one for images and patches.
        crops: the views; two of them large.
        distillation: temperatures and momenta; center_momentum is that of both centres.
        masking: what is hidden of the large views.
        patch_weight: of the patches' loss beside the images'. Paper: 1.
    """

    validity_protocols: ClassVar[tuple[str, ...]] = ("knn", "ridge", "linear", "attentive")

    def __init__(
        self,
        encoder: TokenEncoder,
        spec: DataSpec,
        head: Projection = PROJECTION,
        crops: MultiCrop = CROPS,
        distillation: SelfDistillation = DISTILLATION,
        masking: ViewMasking = ViewMasking(),
        patch_weight: float = 1.0,
    ) -> None:
        super().__init__(encoder, spec)
        self.views = crops.teacher_views(encoder, spec)
        if not 0 <= patch_weight < math.inf:
            raise ValueError(f"IBOT: patch_weight must be at least 0, got {patch_weight}")
        if math.prod(encoder.grid) < 2:
            raise ValueError("IBOT: the image is one patch; set a smaller patch_size")
        if not encoder.local_embedding:
            raise ValueError("IBOT: this encoder's stem mixes patches, so hidden pixels leak")
        self.distillation = distillation
        self.steps = 1  # of the run
        self.masking = masking
        self.patch_weight = patch_weight
        self.mask_token = nn.Parameter(torch.empty(encoder.width))
        self.head = PrototypeHead(encoder.width, head)
        self.teacher = EMA(PatchBranch(encoder, self.head))
        self.centre = Center(head.prototypes, distillation.center_momentum)
        self.patch_centre = Center(head.prototypes, distillation.center_momentum)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def mask(self, batch: Batch) -> Bool[Tensor, "two_B N"]:
        """Hidden patches of both large views."""
        return self.masking.draw(batch, self.encoder.grid)

    def forward(self, batch: Batch, progress: float) -> Losses:
        """One step: two student passes (large views, small views), one of the teacher."""
        images, mask = torch.cat(batch.views[:2]), self.mask(batch)
        most = hidden_count(mask.shape[1], self.masking.ratio[1])
        places = kept_patches(~mask, most)  # 2B K: the hidden ones
        teacher_logits, teacher_patches = self.teacher(images)
        student, student_patches = self.student_logits(batch, images, mask, places, progress)

        temperature = self.distillation.temperature(progress)
        target = self.centre.targets(teacher_logits, temperature)
        image_loss = across_views(
            student, target.view(2, len(batch), -1), self.distillation.student_temperature
        )
        patch_targets = self.patch_centre.targets(teacher_patches, temperature)  # 2B N L
        hidden_targets = patch_targets.gather(
            1, places[..., None].expand(-1, -1, patch_targets.shape[2])
        )
        error = cross_entropy(
            student_patches, hidden_targets, self.distillation.student_temperature
        )  # 2B K
        counted = mask.gather(1, places).float()
        patch_loss = (error * counted).sum(1) / counted.sum(1).clamp(min=1)
        patch_loss = patch_loss.view(2, len(batch)).mean(0)
        if self.training:
            self.centre.note(teacher_logits)
            self.patch_centre.note(teacher_patches)
        losses = image_loss + self.patch_weight * patch_loss
        mean_entropy, marginal = entropy(target).mean(), marginal_entropy(target)
        monitors = {
            "teacher_entropy": mean_entropy,
            "teacher_marginal_entropy": marginal,
            "explained": explained(image_loss.mean(), mean_entropy, marginal),
            "patch_entropy": entropy(patch_targets).mean(),
            "patch_marginal_entropy": marginal_entropy(patch_targets),
        }
        per_image = {"loss": losses, "image_loss": image_loss, "patch_loss": patch_loss}
        return Losses(losses.mean(), per_image, monitors)

    def student_logits(
        self,
        batch: Batch,
        images: Float[Tensor, "two_B C H W"],
        mask: Bool[Tensor, "two_B N"],
        places: Int[Tensor, "two_B K"],
        progress: float,
    ) -> tuple[Float[Tensor, "V B L"], Float[Tensor, "two_B K L"]]:
        """The student's logits of all views, and of the patches at `places` of the large ones."""
        fixed_prototypes = progress < self.distillation.last_layer_frozen
        patches = self.encoder.embed(images)
        patches = torch.where(mask[..., None], self.mask_token.to(patches.dtype), patches)
        large, of_patches = project(self.encoder, self.head, patches, fixed_prototypes, places)
        logits = [large]
        if len(batch.views) > 2:
            small = self.encoder(torch.cat(batch.views[2:])).pooled
            logits.append(self.head(small, fixed_prototypes).float())
        return torch.cat(logits).view(-1, len(batch), large.shape[1]), of_patches

    @property
    def kept_encoder(self) -> Encoder:
        """The student's, or the teacher's."""
        taught = self.distillation.evaluated == "teacher"
        return self.teacher.copy.encoder if taught else self.encoder

    def begin(self, steps: int) -> str | None:
        """The teacher's momentum may follow from the length."""
        self.steps = steps
        return self.distillation.note(steps)

    def before_step(self, progress: float) -> None:
        """Frozen prototypes are skipped."""
        if progress < self.distillation.last_layer_frozen:
            self.head.skip_prototypes()

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """The teacher follows the student; the centres follow the teacher's mean logits."""
        student = PatchBranch(self.encoder, self.head)
        momentum = self.distillation.teacher_momentum(progress, self.steps)
        self.teacher.follow(student, momentum)
        self.centre.follow()
        self.patch_centre.follow()

    def collapse_message(self, results: dict[str, float]) -> str | None:
        """Collapse, as the teacher shows it on images or on patches."""
        for monitor, shown in (("teacher", "images"), ("patch", "patches")):
            message = collapse_message(
                results[f"val/{monitor}_entropy"],
                results[f"val/{monitor}_marginal_entropy"],
                len(self.centre.mean),
                shown,
            )
            if message:
                return message
        return None

    def pictures(self, batch: Batch) -> dict[str, Float[Tensor, "B C H W"]]:
        """A large view as the student sees it (grey: hidden), and all crops side by side."""
        size, grid, first = self.encoder.patch_size, self.encoder.grid, batch.views[0].float()
        mask = self.mask(batch)[: len(batch), :, None]
        seen = unpatchify(torch.where(mask, 0.0, patchify(first, size)), size, grid)
        strip = [F.interpolate(view.float(), size=first.shape[-2:]) for view in batch.views]
        return {
            "seen": self.pixels(seen).clamp(0, 1),
            "views": self.pixels(torch.cat(strip, -1)).clamp(0, 1),
        }


def project(
    encoder: TokenEncoder,
    head: PrototypeHead,
    patches: Float[Tensor, "B N D"],
    fixed_prototypes: bool = False,
    places: Int[Tensor, "B K"] | None = None,
) -> tuple[Float[Tensor, "B L"], Float[Tensor, "B K L"]]:
    """Logits of each image and of its patches, from embeddings without position.

    Args:
        encoder: the student's or the teacher's.
        head: its projection.
        patches: embedded, hidden ones replaced.
        fixed_prototypes: the prototypes do not learn.
        places: only of these patches; None: of all.
    """
    tokens = encoder.encode(encoder.add_position(patches))
    encoded = tokens[:, -patches.shape[1] :]
    if places is not None:
        encoded = encoded.gather(1, places[..., None].expand(-1, -1, encoded.shape[2]))
    pooled = head(encoder.pool(tokens), fixed_prototypes).float()
    return pooled, head(encoded, fixed_prototypes).float()
