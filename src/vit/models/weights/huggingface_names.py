"""Hugging Face's names of a Vision Transformer's tensors, and which of ours they make.

Names as their files hold them (transformers 4 and 5), as a model of transformers 5 has them in
memory, and as ViT, DeiT, ViTMAE, DINOv2 and DINOv3 differ.

D width, M MLP width.
"""

import re
from collections.abc import Iterable

import torch
from torch import Tensor

from vit.models.weights.released import Origin

PATCHES = ("embeddings.patch_embeddings.projection.weight", "embeddings.patch_embeddings.weight")
BLOCK = re.compile(r"(?:encoder\.)?layers?\.(\d+)\.(.+)\.(\w+)")
MODULES = {  # of a block, by theirs
    "layernorm_before": "norm1", "norm1": "norm1",
    "layernorm_after": "norm2", "norm2": "norm2",
    "attention.attention.query": "attn.q", "attention.q_proj": "attn.q",
    "attention.attention.key": "attn.k", "attention.k_proj": "attn.k",
    "attention.attention.value": "attn.v", "attention.v_proj": "attn.v",
    "attention.output.dense": "attn.proj", "attention.o_proj": "attn.proj",
    "intermediate.dense": "mlp.fc1", "mlp.fc1": "mlp.fc1", "mlp.weights_in": "mlp.fc1",
    "mlp.gate_proj": "mlp.gate", "mlp.up_proj": "mlp.up",
    "output.dense": "mlp.fc2", "mlp.fc2": "mlp.fc2", "mlp.weights_out": "mlp.fc2",
    "mlp.down_proj": "mlp.fc2",
    "layer_scale1": "ls1", "layer_scale2": "ls2",
}  # fmt: skip
APART = re.compile(r"attn\.[qkv]\.|mlp\.(gate|up)\.")
SINGLE = {  # outside of the blocks
    "embeddings.cls_token": "cls_token",
    "embeddings.distillation_token": "reg_token",  # one more that nobody reads
    "embeddings.register_tokens": "reg_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "embeddings.patch_embeddings.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.bias": "patch_embed.proj.bias",
    "layernorm.weight": "norm.weight", "layernorm.bias": "norm.bias",
    "norm.weight": "norm.weight", "norm.bias": "norm.bias",
}  # fmt: skip
BESIDE = ("embeddings.mask_token", "pooler.", "decoder.", "classifier.", "rope_embeddings.")


def prefix_of_encoder(names: Iterable[str]) -> str | None:
    """How the names of the encoder begin; None where no encoder has such names, or several."""
    starts = {name.removesuffix(end) for name in names for end in PATCHES if name.endswith(end)}
    return starts.pop() if len(starts) == 1 else None


def theirs_by_ours(names: Iterable[str], prefix: str) -> dict[str, str]:
    """Their name of each tensor by ours, where q, k, v, gate and up are still apart.

    Raises:
        ValueError: the encoder has a tensor that no encoder of this project has.
    """
    ours = {}
    for name in names:
        if not name.startswith(prefix):
            continue
        inside = name.removeprefix(prefix)
        block = BLOCK.fullmatch(inside)
        if inside in SINGLE:
            ours[SINGLE[inside]] = name
        elif block and block[2] in MODULES:
            kind = "gamma" if block[3] == "lambda1" else block[3]
            ours[f"blocks.{block[1]}.{MODULES[block[2]]}.{kind}"] = name
        elif not inside.startswith(BESIDE):
            raise ValueError(f"{name}, for which this project's ViT has no place")
    return ours


def origins(ours: dict[str, str]) -> dict[str, Origin]:
    """Which of their tensors make each of ours.

    Args:
        ours: what `theirs_by_ours` returns.

    Raises:
        ValueError: of a query, a key and a value, or a gate and its partner, one is missing.
    """
    made = {name: Origin((theirs,)) for name, theirs in ours.items() if not APART.search(name)}
    for block in sorted({name[: match.start()] for name in ours if (match := APART.search(name))}):
        if any(name.startswith(f"{block}attn.") and APART.search(name) for name in ours):
            made |= fused(ours, f"{block}attn.", ("q", "k", "v"), "qkv")
        if f"{block}mlp.gate.weight" in ours:
            made |= fused(ours, f"{block}mlp.", ("gate", "up"), "fc1")
        elif f"{block}mlp.up.weight" in ours:
            for kind in ("weight", "bias"):
                if f"{block}mlp.up.{kind}" in ours:
                    made[f"{block}mlp.fc1.{kind}"] = Origin((ours[f"{block}mlp.up.{kind}"],))
    return made


def fused(ours: dict[str, str], place: str, parts: tuple[str, ...], name: str) -> dict[str, Origin]:
    """Weight and bias of layers that are one of ours; a bias that one of them lacks is zero."""
    weights = []
    for part in parts:
        if f"{place}{part}.weight" not in ours:
            raise ValueError(f"{place.rstrip('.')} has no {part} beside its {parts[0]}")
        weights.append(ours[f"{place}{part}.weight"])
    biases = [
        ours.get(f"{place}{part}.bias", weight) for part, weight in zip(parts, weights, strict=True)
    ]
    return {
        f"{place}{name}.weight": Origin(tuple(weights), lambda *all_of: torch.cat(all_of)),
        f"{place}{name}.bias": Origin(tuple(biases), fused_bias),
    }


def fused_bias(*parts: Tensor) -> Tensor:
    """Biases one after the other; a weight says where there is none."""
    return torch.cat([part.new_zeros(len(part)) if part.ndim == 2 else part for part in parts])
