"""torchvision's `vit_*` files.

https://github.com/pytorch/vision, `models/vision_transformer.py`. Positions are resized there by
bicubic interpolation with aligned corners.
"""

import re

from vit.models.weights.known_cards import known_by
from vit.models.weights.released import Origin, Released, WeightsFile

NAMES = (
    ("conv_proj.", "patch_embed.proj."),
    ("class_token", "cls_token"),
    ("encoder.pos_embedding", "pos_embed"),
    ("encoder.ln.", "norm."),
    ("encoder.layers.encoder_layer_", "blocks."),
    (".ln_1.", ".norm1."),
    (".ln_2.", ".norm2."),
    (".self_attention.in_proj_", ".attn.qkv."),
    (".self_attention.out_proj.", ".attn.proj."),
    (".mlp.0.", ".mlp.fc1."),
    (".mlp.3.", ".mlp.fc2."),
    (".mlp.linear_1.", ".mlp.fc1."),
    (".mlp.linear_2.", ".mlp.fc2."),
    ("heads.head.", "head."),
)


def is_torchvision(file: WeightsFile) -> bool:
    """Are the patches made by `conv_proj`, before `encoder.layers`?"""
    return "conv_proj.weight" in file.tensors and any(
        name.startswith("encoder.layers.encoder_layer_") for name in file.tensors
    )


def from_torchvision(file: WeightsFile) -> Released:
    """The weights by our names."""
    origins, notes = {}, []
    inside = dict.fromkeys(file.tensors)
    if any(name.startswith("heads.pre_logits") for name in inside):
        notes.append("pre_logits and the head behind it are left: features are what it reads")
        inside = {name: None for name in inside if not name.startswith("heads.")}
    for name in inside:
        ours = name
        for theirs, new in NAMES:
            ours = ours.replace(theirs, new)
        origins[ours] = Origin((name,))
    known = known_by(file.path.stem, "torchvision")
    swag = re.search(r"swag", file.path.stem) is not None
    if not known.card.data:
        notes.append("ImageNet's mean and deviation are assumed, as of all of torchvision's")
    return Released(
        file.tensors.made(origins),
        known.card,
        normalisation=known.normalisation,
        center_crop_ratio=known.center_crop_ratio or 0.875,
        interpolation="bicubic" if swag else "bilinear",
        resize="bicubic_corners",
        epochs=known.epochs,
        notes=tuple(notes),
    )
