"""Facebook's own files: DeiT, MAE, DINO, DINOv2 and DINOv3 as their repositories publish them.

Parameters carry timm's names; what differs is how positions are resized, and what is known of them:
DINO and DINOv2 add a tenth of a patch to the size that they resize to, except where there are
registers (antialiased, without it); DeiT and MAE resize plainly.
"""

import re

from vit.models.weights.known_cards import known_by
from vit.models.weights.parameter_names import by_our_names, prefix_in
from vit.models.weights.released import Released, WeightsFile

NAMES = re.compile(r"dinov[23]|dino_|mae_|deit_")
INSIDE = ("mask_token", "register_tokens", "storage_tokens", "decoder_pos_embed", "dist_token")


def is_facebook(file: WeightsFile) -> bool:
    """Is it a torch file with timm's names, and a token or a file name as Facebook has them?"""
    prefix = prefix_in(file) if file.kind == "torch" and not file.config else None
    if prefix is None:
        return False
    tokens = any(f"{prefix}{name}" in file.tensors for name in INSIDE)
    return tokens or NAMES.search(file.path.name) is not None


def from_facebook(file: WeightsFile) -> Released:
    """The weights by our names.

    Raises:
        ValueError: part of them is strange.
    """
    prefix = prefix_in(file) or ""
    name = file.path.stem if NAMES.search(file.path.stem) else kind_of_tokens(file, prefix)
    known = known_by(name, "Facebook Research")
    tensors, notes = by_our_names(file)
    if not known.card.objective:
        notes.append("ImageNet's mean and deviation are assumed")
    rotated = "pos_embed" not in tensors and "reg_token" in tensors  # DINOv3
    registers = "reg_token" in tensors and f"{prefix}dist_token" not in file.tensors
    offset = name.startswith("dino") and not registers
    width = tensors.shapes.get("patch_embed.proj.weight", (0,))[0]
    return Released(
        tensors,
        known.card,
        heads=max(width // (128 if width == 4096 else 64), 1) if rotated else None,
        norm_eps=1e-5 if rotated else 1e-6,
        normalisation=known.normalisation,
        center_crop_ratio=known.center_crop_ratio,
        resize="bicubic_offset" if offset else "bicubic_antialias" if registers else "bicubic",
        epochs=known.epochs,
        settings={"position": "rope"} if rotated else {},
        notes=tuple(notes),
    )


def kind_of_tokens(file: WeightsFile, prefix: str) -> str:
    """Which of the families it is, where the file's name does not say it."""
    if f"{prefix}storage_tokens" in file.tensors:
        return "dinov3"
    if f"{prefix}register_tokens" in file.tensors or f"{prefix}blocks.0.ls1.gamma" in file.tensors:
        return "dinov2"
    if f"{prefix}dist_token" in file.tensors:
        return "deit_distilled"
    return "mae"
