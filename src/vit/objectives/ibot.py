"""iBOT: DINO on class tokens, and the teacher's choice for each patch that the student cannot see.

Paper: Zhou et al., "iBOT: Image BERT Pre-Training with Online Tokenizer", arXiv:2111.07832, section
3: the student sees large views with hidden patches, the teacher sees them whole; one head for both.
Differs from it: the student's encoder is kept and judged, not the teacher's; schedules are
fractions of the run instead of epochs; the last layer's length is fixed to 1.

B batch, V views, N patches, K patches that may be hidden, D width, L prototypes.
"""

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vit.batch import Batch, DataSpec
from vit.models.base import TokenEncoder
from vit.models.ema import EMA
from vit.objectives.base import Losses, Objective, in_range
from vit.objectives.parts.heads import PrototypeHead
from vit.objectives.parts.masking import block_mask, hidden_count, kept_patches, random_order
from vit.objectives.parts.multi_crop import multi_crop
from vit.objectives.parts.self_distillation import (
    Centre,
    across_views,
    collapse_message,
    cross_entropy,
    entropy,
    explained,
    marginal_entropy,
    rising,
    warmed,
)
from vit.patches import patchify, unpatchify
from vit.randomness import uniform


class Branch(nn.Module):
    """Encoder and projection together: what the teacher is a copy of."""

    def __init__(self, encoder: TokenEncoder, head: PrototypeHead) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return project(self.encoder, self.head, self.encoder.embed(images))


class IBOT(Objective):
    """Self-distillation of images and of hidden patches, without labels.

    Args:
        encoder: with patch tokens, each made from its own pixels alone.
        spec: the data.
        prototypes: L, shared by images and patches. Paper: 8192.
        hidden_width: width of the projection's hidden layers. Paper: 2048.
        bottleneck: width before the prototypes. Paper: 256.
        masked_images: fraction of the large views in which patches are hidden at all. Paper: 0.5.
        masked: fraction of their patches, from and to. Paper: (0.1, 0.5).
        shape: of what is hidden; block: rectangles (paper), random: single patches (its code finds
            them slightly better).
        patch_weight: of the patches' loss beside the images'. Paper: 1.
        local_crops: small views an image. Paper: 10.
        local_size: their side in pixels; null: 96/224 of the image, rounded to whole patches.
        global_area: fraction of the image a large view covers. Paper: (0.25, 1).
        local_area: fraction of the image a small view covers. Paper: (0.05, 0.25).
        photometric: strength of brightness and colour changes.
        distorted: blur and solarise as the paper does; for photographs of about 224 px.
        student_temperature: Paper: 0.1.
        teacher_temperature: at the start and after the warm-up. Paper: (0.04, 0.07).
        temperature_warmup: fraction of the run over which it rises. Paper: 30 of 800 epochs.
        momentum: of the teacher at the start; a cosine takes it to 1. Paper: 0.996.
        centre_momentum: of both centres. Paper: 0.9.
        last_layer_frozen: fraction of the run before the prototypes learn. Paper: 1 of 800 epochs.
    """

    def __init__(
        self,
        encoder: TokenEncoder,
        spec: DataSpec,
        prototypes: int = 8192,
        hidden_width: int = 2048,
        bottleneck: int = 256,
        masked_images: float = 0.5,
        masked: tuple[float, float] = (0.1, 0.5),
        shape: Literal["block", "random"] = "block",
        patch_weight: float = 1.0,
        local_crops: int = 10,
        local_size: int | None = None,
        global_area: tuple[float, float] = (0.25, 1.0),
        local_area: tuple[float, float] = (0.05, 0.25),
        photometric: float = 0.5,
        distorted: bool = False,
        student_temperature: float = 0.1,
        teacher_temperature: tuple[float, float] = (0.04, 0.07),
        temperature_warmup: float = 0.04,
        momentum: float = 0.996,
        centre_momentum: float = 0.9,
        last_layer_frozen: float = 0.0,
    ) -> None:
        super().__init__(encoder, spec)
        self.views = multi_crop(
            "IBOT", encoder, spec, 2, local_crops, local_size, global_area, local_area, photometric,
            distorted,
        )  # fmt: skip
        in_range("IBOT", masked_images=masked_images, momentum=momentum)
        in_range("IBOT", centre_momentum=centre_momentum, last_layer_frozen=last_layer_frozen)
        in_range("IBOT", temperature_warmup=temperature_warmup)
        if not 0 < masked[0] <= masked[1] < 1:
            raise ValueError(f"IBOT: masked must rise within (0, 1), got {masked}")
        if (
            not min(student_temperature, *teacher_temperature) > 0
            or not 0 <= patch_weight < math.inf
        ):
            raise ValueError("IBOT: temperatures must be above 0 and patch_weight at least 0")
        if prototypes < 2 or math.prod(encoder.grid) < 2:
            raise ValueError("IBOT: wants at least 2 prototypes and 2 patches")
        if not encoder.local_embedding:
            raise ValueError("IBOT: this encoder's stem mixes patches, so hidden pixels leak")
        self.masked_images, self.masked, self.shape = masked_images, tuple(masked), shape
        self.patch_weight, self.student_temperature = patch_weight, student_temperature
        self.teacher_temperature, self.warmup = tuple(teacher_temperature), temperature_warmup
        self.momentum, self.last_layer_frozen = momentum, last_layer_frozen
        self.mask_token = nn.Parameter(torch.empty(encoder.width))
        self.head = PrototypeHead(encoder.width, prototypes, hidden_width, bottleneck)
        self.teacher = EMA(Branch(encoder, self.head))
        self.centre = Centre(prototypes, centre_momentum)
        self.patch_centre = Centre(prototypes, centre_momentum)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def mask(self, batch: Batch) -> Bool[Tensor, "two_B N"]:
        """Hidden patches of both large views."""
        grid, found = self.encoder.grid, []
        total, (low, high) = math.prod(grid), self.masked
        for view in range(2):
            key = batch.keys(f"ibot {view}")
            uniforms = uniform(batch.keys(f"ibot share {view}"), 2)
            count = ((low + (high - low) * uniforms[:, 1]) * total).round().clamp(1, total - 1)
            count = torch.where(uniforms[:, 0] < self.masked_images, count, 0).long()
            if self.shape == "block":
                found.append(block_mask(key, grid, count))
            else:
                found.append(random_order(key, total).argsort(1) < count[:, None])
        return torch.cat(found)

    def forward(self, batch: Batch, progress: float) -> Losses:
        """One step: two student passes (large views, small views), one of the teacher."""
        count, fixed_prototypes = len(batch), progress < self.last_layer_frozen
        images, mask = torch.cat(batch.views[:2]), self.mask(batch)
        most = hidden_count(mask.shape[1], self.masked[1])
        places = kept_patches(~mask, most)  # 2B K: the hidden ones
        asked = mask.gather(1, places).float()
        taught, taught_patches = self.teacher(images)
        patches = self.encoder.embed(images)
        patches = torch.where(mask[..., None], self.mask_token.to(patches.dtype), patches)
        large, said = project(self.encoder, self.head, patches, fixed_prototypes, places)
        student = [large]
        if len(batch.views) > 2:
            small = self.encoder(torch.cat(batch.views[2:])).pooled
            student.append(self.head(small, fixed_prototypes).float())
        student = torch.cat(student).view(-1, count, large.shape[1])  # V B L

        temperature = warmed(*self.teacher_temperature, self.warmup, progress)
        target = self.centre.targets(taught, temperature)
        of_images = across_views(student, target.view(2, count, -1), self.student_temperature)
        answers = self.patch_centre.targets(taught_patches, temperature)  # 2B N L
        wanted = answers.gather(1, places[..., None].expand(-1, -1, answers.shape[2]))
        error = cross_entropy(said, wanted, self.student_temperature)  # 2B K
        of_patches = (error * asked).sum(1) / asked.sum(1).clamp(min=1)
        of_patches = of_patches.view(2, count).mean(0)
        if self.training:
            self.centre.note(taught)
            self.patch_centre.note(taught_patches)
        losses = of_images + self.patch_weight * of_patches
        own, spread = entropy(target).mean(), marginal_entropy(target)
        monitors = {
            "teacher_entropy": own,
            "teacher_marginal_entropy": spread,
            "explained": explained(of_images.mean(), own, spread),
            "patch_entropy": entropy(answers).mean(),
            "patch_marginal_entropy": marginal_entropy(answers),
        }
        per_image = {"loss": losses, "image_loss": of_images, "patch_loss": of_patches}
        return Losses(losses.mean(), per_image, monitors)

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """The teacher follows the student; the centres follow the teacher's mean logits."""
        self.teacher.follow(Branch(self.encoder, self.head), rising(self.momentum, progress))
        self.centre.follow()
        self.patch_centre.follow()

    def collapse_message(self, results: dict[str, float]) -> str | None:
        """Collapse, as the teacher shows it on images or on patches."""
        for monitor, shown in (("teacher", "images"), ("patch", "patches")):
            told = results[f"val/{monitor}_entropy"], results[f"val/{monitor}_marginal_entropy"]
            if found := collapse_message(*told, len(self.centre.mean), shown):
                return found
        return None

    def pictures(self, batch: Batch) -> dict[str, Float[Tensor, "B C H W"]]:
        """A large view as the student sees it (grey: hidden), and all crops side by side."""
        size, grid, first = self.encoder.patch_size, self.encoder.grid, batch.views[0].float()
        hidden = self.mask(batch)[: len(batch), :, None]
        seen = unpatchify(torch.where(hidden, 0.0, patchify(first, size)), size, grid)
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
    own = tokens[:, -patches.shape[1] :]
    if places is not None:
        own = own.gather(1, places[..., None].expand(-1, -1, own.shape[2]))
    return head(encoder.pool(tokens), fixed_prototypes).float(), head(own, fixed_prototypes).float()
