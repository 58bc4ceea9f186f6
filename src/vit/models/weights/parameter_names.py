"""Parameters by timm's names, which are ours, out of files that write them a little differently.

The variants: a prefix of the module around; blocks in chunks; LayerScale as gamma_1; gated MLPs in
one or two layers; biases of queries and values alone; registers under other names.

D width, L classes.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from vit.models.weights.released import Origin, Tensors, WeightsFile

FIRST = "patch_embed.proj.weight"
PREFIX = re.compile(
    r"((module|model|encoder|backbone|base_encoder|momentum_encoder|_orig_mod|visual|trunk"
    r"|student|teacher)\.)*"
)
LEFT = re.compile(  # what only the training needed
    r"(mask_token|decoder_.*|.*\.bias_mask|rope.*|local_cls_norm\..*|projectors\..*"
    r"|(head_dist|dino_head|ibot_head|lm_head)\..*)$"
)
RENAMED = (
    (r"^blocks\.\d+\.(\d+\.)", r"blocks.\1"),  # a chunk of blocks
    (r"gamma_([12])$", r"ls\1.gamma"),
    (r"\.mlp\.w12\.", ".mlp.fc1."),
    (r"\.mlp\.w3\.", ".mlp.fc2."),
    (r"^(register_tokens|storage_tokens|dist_token)$", "reg_token"),
)


def prefix_in(file: WeightsFile) -> str | None:
    """What stands before timm's names; None where the names are others.

    Raises:
        ValueError: several encoders are there, or a prefix that is not known.
    """
    prefixes = [name.removesuffix(FIRST) for name in file.tensors if name.endswith(FIRST)]
    prefixes = [p for p in prefixes if any(n.startswith(f"{p}blocks.") for n in file.tensors)]
    averaged = [prefix for prefix in prefixes if "teacher" in prefix or "momentum" in prefix]
    prefixes = averaged or prefixes
    if not prefixes:
        return None
    if len(prefixes) > 1:
        raise ValueError(
            f"pretrained: {file.path} holds several encoders: {', '.join(sorted(prefixes))}; save "
            "the one that is meant alone"
        )
    if not PREFIX.fullmatch(prefixes[0]):
        raise ValueError(
            f"pretrained: the names in {file.path} begin with {prefixes[0]!r}, which is no prefix "
            "that is known; save the encoder's state_dict alone"
        )
    return prefixes[0]


def by_our_names(file: WeightsFile) -> tuple[Tensors, list[str]]:
    """The encoder and its classifier by our names, and what was left out or assumed."""
    prefix = prefix_in(file) or ""
    inside = {n.removeprefix(prefix): n for n in file.tensors if n.startswith(prefix)}
    notes, origins = [], {}
    if any(name.startswith("pre_logits.") for name in inside):
        notes.append("pre_logits and the head behind it are left: features are what it reads")
        inside = {n: v for n, v in inside.items() if not n.startswith(("pre_logits.", "head."))}
    if any(name.startswith("head_dist.") for name in inside):
        notes.append("the head is the class token's; published figures average two heads")
    for name, origin in inside.items():
        if not LEFT.match(name):
            ours = name
            for pattern, new in RENAMED:
                ours = re.sub(pattern, new, ours)
            origins[ours] = Origin((origin,))
    for name in [n for n in inside if n.endswith(".bias_mask")]:  # DINOv3: none for keys
        bias = name.removesuffix("_mask")
        origins[re.sub(*RENAMED[0], bias)] = Origin((inside[bias],), without_keys)
    return file.tensors.made(gathered(origins, file.tensors.shapes)), notes


def gathered(
    origins: dict[str, Origin], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Origin]:
    """The same with one layer for a gated MLP, and one bias for queries, keys and values."""
    whole = dict(origins)
    for name in origins:
        if ".mlp.fc1_g." in name:
            value = name.replace("fc1_g", "fc1_x")
            if value in whole:
                parts = whole.pop(name).names + whole.pop(value).names
                whole[name.replace("fc1_g", "fc1")] = Origin(parts, joined)
    for name in origins:
        if name.endswith(".attn.qkv.weight"):
            block = name.removesuffix("qkv.weight")
            bias, query, value = (f"{block}{end}" for end in ("qkv.bias", "q_bias", "v_bias"))
            if {query, value} <= whole.keys():
                parts = whole.pop(query).names + whole.pop(value).names
                whole[bias] = Origin(parts, around_zeros)
            elif bias not in whole and len(shapes[origins[name].names[0]]) == 2:
                whole[bias] = Origin(origins[name].names, no_bias)
    return whole


def joined(*parts: Tensor) -> Tensor:
    """Tensors one below the other."""
    return torch.cat(parts)


def around_zeros(query: Tensor, value: Tensor) -> Tensor:
    """The bias of queries, keys and values where keys have none."""
    return torch.cat([query, torch.zeros_like(query), value])


def without_keys(bias: Tensor) -> Tensor:
    """The same bias (3 D), that of the keys being zero."""
    query, _, value = bias.chunk(3)
    return around_zeros(query, value)


def no_bias(weight: Tensor) -> Tensor:
    """The bias that a layer without one has."""
    return weight.new_zeros(len(weight))
