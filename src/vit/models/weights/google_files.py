"""Google's .npz files: the paper's and AugReg's, those of today's code, and big_vision's.

https://github.com/google-research/vision_transformer and https://github.com/google-research/big_vision.
Parts are counted in three ways: by kind over the whole block (released files:
MultiHeadDotProductAttention_1, MlpBlock_3, LayerNorm_2), each kind from zero (today's flax), or all
blocks in one array (scan). GELU is the tanh approximation, pixels go from -1 to 1, pictures are
squeezed. Positions are resized by scipy's zoom of order 1.

P patch size, D width, A heads, d width of a head.
"""

import re
from functools import partial

import torch
from torch import Tensor

from vit.models.weights.known_cards import known_by
from vit.models.weights.released import HALF, Origin, Released, WeightsFile

FIRST = "embedding/kernel"
BLOCK = re.compile(r"Transformer/encoderblock(?:_(\d+))?/")
OFFERED_NOT = {
    "conv_root/": "a ResNet in front (a hybrid)",
    "MAPHead_0/": "an attention pooling head",
    "pos_embedding_": "several tables of positions",
}
INSIDE = (  # of a block: the part by its kind, what it holds, ours, how it is made
    (r"LayerNorm_0/scale", "norm1.weight"),
    (r"LayerNorm_0/bias", "norm1.bias"),
    (r"LayerNorm_[12]/scale", "norm2.weight"),
    (r"LayerNorm_[12]/bias", "norm2.bias"),
    (r"MlpBlock_\d+/Dense_0/kernel", "mlp.fc1.weight"),
    (r"MlpBlock_\d+/Dense_0/bias", "mlp.fc1.bias"),
    (r"MlpBlock_\d+/Dense_1/kernel", "mlp.fc2.weight"),
    (r"MlpBlock_\d+/Dense_1/bias", "mlp.fc2.bias"),
    (r"MultiHeadDotProductAttention_\d+/out/kernel", "attn.proj.weight"),
    (r"MultiHeadDotProductAttention_\d+/out/bias", "attn.proj.bias"),
)
READ = re.compile(r"MultiHeadDotProductAttention_\d+/(query|key|value)/(kernel|bias)")


def is_google(file: WeightsFile) -> bool:
    """Is it an archive with a patch embedding and blocks by flax's names?"""
    return file.kind == "npz" and any(BLOCK.search(name) for name in file.tensors)


def from_google(file: WeightsFile) -> Released:
    """The weights by our names.

    Raises:
        ValueError: it has parts that no ViT of ours has, or lacks some.
    """
    begins = [n.removesuffix(FIRST) for n in file.tensors if n.endswith(FIRST)]
    if len(begins) != 1:
        raise ValueError(f"pretrained: {file.path} holds {len(begins)} patch embeddings")
    inside = {n.removeprefix(begins[0]): n for n in file.tensors if n.startswith(begins[0])}
    for part, what in OFFERED_NOT.items():
        if any(name.startswith(part) for name in inside):
            raise ValueError(f"pretrained: {file.path} has {what}, which our ViT does not have")
    notes = []
    if "pre_logits/kernel" in inside:
        notes.append("pre_logits and the head behind it are left: features are what it reads")
        inside = {n: v for n, v in inside.items() if not n.startswith(("pre_logits/", "head/"))}
    origins = {ours: origin for name, file_name in inside.items()
               for ours, origin in around(name, file_name)}  # fmt: skip
    shapes = file.tensors.shapes
    blocks, heads = in_blocks(inside, shapes)
    known = known_by(file.path.stem, "Google Research")
    return Released(
        file.tensors.made(origins | blocks),
        known.card,
        heads=heads,
        gelu="tanh",
        normalisation=HALF,
        interpolation="bilinear",
        resize="bilinear_corners",
        epochs=known.epochs,
        notes=tuple(notes),
    )


def around(name: str, file_name: str) -> list[tuple[str, Origin]]:
    """Ours for a tensor outside of the blocks."""
    plain = {
        "embedding/bias": "patch_embed.proj.bias",
        "cls": "cls_token",
        "pos_embedding": "pos_embed",
        "Transformer/posembed_input/pos_embedding": "pos_embed",
        "Transformer/encoder_norm/scale": "norm.weight",
        "Transformer/encoder_norm/bias": "norm.bias",
        "head/bias": "head.bias",
    }
    if name == FIRST:
        return [("patch_embed.proj.weight", Origin((file_name,), as_convolution))]
    if name == "head/kernel":
        return [("head.weight", Origin((file_name,), Tensor.t))]
    if BLOCK.match(name):
        return []
    return [(plain.get(name, name), Origin((file_name,)))]


def in_blocks(
    inside: dict[str, str], shapes: dict[str, tuple[int, ...]]
) -> tuple[dict[str, Origin], int | None]:
    """Ours for the tensors of the blocks, and the attention's heads."""
    origins, heads = {}, None
    reads: dict[tuple[str, str, int | None], dict[str, str]] = {}
    for name, file_name in inside.items():
        begin = BLOCK.match(name)
        if begin is None:
            continue
        rest = name[begin.end() :]
        places = range(shapes[file_name][0]) if begin[1] is None else [None]
        read = READ.fullmatch(rest)
        for place in places:
            block = f"blocks.{begin[1] if place is None else place}"
            if read:
                reads.setdefault((block, read[2], place), {})[read[1]] = file_name
                heads = shapes[file_name][-2] if read[2] == "kernel" else heads
                continue
            ours = next((o for p, o in INSIDE if re.fullmatch(p, rest)), rest)
            origins[f"{block}.{ours}"] = Origin((file_name,), partial(as_linear, place, ours))
    for (block, kind, place), names in reads.items():
        ours = f"{block}.attn.qkv.{'weight' if kind == 'kernel' else 'bias'}"
        parts = tuple(names[part] for part in ("query", "key", "value") if part in names)
        origins[ours] = Origin(parts, partial(side_by_side, place))
    return origins, heads


def as_convolution(kernel: Tensor) -> Tensor:
    """A flax kernel (P, P, C, D) as torch's (D, C, P, P)."""
    return kernel.permute(3, 2, 0, 1)


def as_linear(place: int | None, ours: str, tensor: Tensor) -> Tensor:
    """A flax tensor, of a place on its first axis, as torch's; kernels lie transposed there."""
    tensor = tensor if place is None else tensor[place]
    if ours == "attn.proj.weight":
        tensor = tensor.flatten(0, 1)  # A d D
    return tensor.t() if ours.endswith(".weight") and tensor.ndim == 2 else tensor


def side_by_side(place: int | None, *parts: Tensor) -> Tensor:
    """Queries, keys and values, kernels (D, A, d) or biases (A, d), in torch's one layer."""
    parts = [part if place is None else part[place] for part in parts]
    if parts[0].ndim == 3:
        return torch.cat([part.flatten(1).t() for part in parts])
    return torch.cat([part.flatten() for part in parts])
