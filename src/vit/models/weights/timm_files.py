"""timm's files: .safetensors, .bin, .pth, and folders of its Hub with config.json.

https://github.com/huggingface/pytorch-image-models: `vision_transformer.py`, `deit.py` and, for
DINOv3, `eva.py`. A file alone does not say how it was normalised: its name is asked, then it is
assumed and said.
"""

import re
from dataclasses import replace
from typing import Any

from vit.models.weights.card import Card
from vit.models.weights.hub_cards import hub_name
from vit.models.weights.known_cards import Facts, known_by
from vit.models.weights.parameter_names import by_our_names, prefix_in
from vit.models.weights.released import Released, Tensors, WeightsFile

TANH = re.compile(r"(base_patch32|large_patch16|so400m_patch16|giantopt_patch16)_siglip")
GELU = {"gelu": "exact", "gelu_erf": "exact", "gelu_tanh": "tanh", "gelu_pytorch_tanh": "tanh"}
GATED = ("silu", "swish")  # of SwiGLU, which the shapes tell
POOLS = {"token": "cls", "avg": "mean"}


def is_timm(file: WeightsFile) -> bool:
    """Are the names timm's, whatever stands before them?"""
    return prefix_in(file) is not None


def from_timm(file: WeightsFile) -> Released:
    """The weights by our names, with what config.json or the file's name says.

    Raises:
        ValueError: its activation or its names are none of ours.
    """
    about = file.config.get("pretrained_cfg") or {}
    arguments = file.config.get("model_args") or {}
    short = hub_name(file.path).rpartition("/")[2]
    architecture = str(file.config.get("architecture") or short)
    tag = f".{about['tag']}" if about.get("tag") else ""
    known = known_by(architecture + tag, "timm" if file.config else "")
    tensors, notes = by_our_names(file)
    rotated = "pos_embed" not in tensors and "reg_token" in tensors  # DINOv3
    size = arguments.get("img_size") or (about.get("input_size") or (None, None))[1:]
    pool = arguments.get("global_pool") or file.config.get("global_pool") or ""
    return Released(
        tensors,
        card_with(known.card, about, file.config),
        heads=heads_of(architecture, arguments, tensors, rotated),
        gelu=gelu_of(file, architecture, arguments),
        norm_eps=1e-5 if rotated else 1e-6,
        normalisation=normalisation_of(about, known, notes),
        image_size=size_pair(size),
        center_crop_ratio=crop_ratio_in(about, known),
        interpolation="bilinear" if about.get("interpolation") == "bilinear" else "bicubic",
        pool=POOLS.get(pool),
        epochs=known.epochs,
        settings={"position": "rope"} if rotated else {},
        notes=tuple(notes),
    )


def card_with(card: Card, about: dict[str, Any], config: dict[str, Any]) -> Card:
    """The card with the licence and the classes that a config gives."""
    names = about.get("label_names") or config.get("label_names") or ()
    listed = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    return replace(
        card,
        licence=str(about.get("license") or card.licence),
        classes=tuple(names) if listed else card.classes,
    )


def heads_of(
    architecture: str, arguments: dict[str, Any], tensors: Tensors, rotated: bool
) -> int | None:
    """The attention's heads, where the config, the name or the kind tells."""
    if arguments.get("num_heads"):
        return int(arguments["num_heads"])
    if "giantopt" in architecture:
        return 16
    if rotated:  # 64 numbers a head, where ViT-H has 80; the 7B model 128
        width = tensors.shapes["patch_embed.proj.weight"][0]
        return max(width // (128 if width == 4096 else 64), 1)
    return None


def gelu_of(file: WeightsFile, architecture: str, arguments: dict[str, Any]) -> str:
    """Which of the two GELUs: said by the config, or by the few names that mean tanh.

    Raises:
        ValueError: it is another activation.
    """
    said = str(arguments.get("act_layer") or ("gelu_tanh" if TANH.search(architecture) else "gelu"))
    said = "quick_gelu" if "quickgelu" in architecture else said
    if said not in (*GELU, *GATED):
        raise ValueError(f"pretrained: {file.path} needs the activation {said}, ours is GELU")
    return GELU.get(said, "exact")


def normalisation_of(
    about: dict[str, Any], known: Facts, notes: list[str]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation: of the config, of the name, or ImageNet's with a note."""
    if about.get("mean") and about.get("std"):
        return tuple(map(float, about["mean"])), tuple(map(float, about["std"]))
    if not known.card.objective:
        notes.append(
            "ImageNet's mean and deviation are assumed; timm's augreg and orig files need 0.5"
        )
    return known.normalisation


def crop_ratio_in(about: dict[str, Any], known: Facts) -> float | None:
    """The middle that evaluation shows, as a fraction of the short side; None: all, squeezed."""
    if about.get("crop_mode") == "squash":
        return None
    ratio = about.get("crop_pct") or known.center_crop_ratio
    return None if ratio is None else min(float(ratio), 1.0)


def size_pair(size: Any) -> tuple[int, int] | None:
    """Height and width out of a number, a pair, or nothing."""
    if isinstance(size, int):
        return size, size
    pair = tuple(size or ())
    whole = len(pair) == 2 and all(isinstance(side, int) and side > 0 for side in pair)
    return pair if whole else None
