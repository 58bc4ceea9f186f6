"""From released weights to our encoder: what the shapes say, what is assumed, what contradicts.

P patch size, D width, M MLP width, N patches, L classes.
"""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vit.batch import DataSpec
from vit.models.sizes import SIZES
from vit.models.vit import ViT
from vit.models.weights.card import Card
from vit.models.weights.known_cards import imagenet_classes
from vit.models.weights.released import Origin, Released, Tensors, WeightsFile
from vit.models.weights.stored import Stored

HEADS = {  # width: heads, where they have another width than 64
    width: heads for _, width, _, heads in SIZES.values() if width != 64 * heads
}
START = 1e-5  # of LayerScale, as of the giant DINOv2; loaded weights overwrite it


def stored_from(file: WeightsFile, released: Released) -> Stored:
    """Released weights as the rest of the project takes them.

    Raises:
        ValueError: a tensor is missing, too many, or of another shape; it is named.
    """
    tensors = released.tensors
    head = {name: tensors.shapes.get(f"head.{name}") for name in ("weight", "bias")}
    body = tensors.made({name: Origin((name,)) for name in tensors if not name.startswith("head.")})
    shapes, notes = body.shapes, list(released.notes)
    lacking = {"patch_embed.proj.weight", "blocks.0.mlp.fc2.weight"} - shapes.keys()
    if lacking:
        raise ValueError(f"pretrained: {file.path} lacks {sorted(lacking)[0]}")
    try:
        settings = settings_in(shapes, released, notes)
        settings["position"] = position_in(shapes, settings)
        grid = grid_in(shapes, released, settings)
        state = with_our_positions(body, settings, math.prod(grid))
        spec = released_spec(shapes, released, grid, head["weight"], notes)
        check_whole(spec, grid, settings, state.shapes)
    except (ValueError, IndexError) as error:
        raise ValueError(f"pretrained: {file.path} {error}") from error
    return Stored(
        path=file.path,
        class_path="vit.models.vit.ViT",
        settings=settings,
        spec=spec,
        grid=grid,
        state=state,
        classifier=classifier_in(tensors, head, settings["width"], notes),
        lineage=(with_flops(released, settings).link(),),
        preprocessing={
            "center_crop_ratio": released.center_crop_ratio,
            "interpolation": released.interpolation,
            "apply_exif_and_alpha": True,
            "rounded": True,
        },
        notes=tuple(notes),
    )


def settings_in(
    shapes: dict[str, tuple[int, ...]], released: Released, notes: list[str]
) -> dict[str, Any]:
    """The arguments of our ViT; position and the last norm's place follow in `stored_from`."""
    width, _, *patch = shapes["patch_embed.proj.weight"]
    if len(patch) != 2 or patch[0] != patch[1]:
        raise ValueError(f"has patches of {patch}; only square ones load")
    numbers = {int(name.split(".")[1]) for name in shapes if name.startswith("blocks.")}
    if numbers != set(range(len(numbers))):
        raise ValueError(f"lacks block {min(set(range(max(numbers))) - numbers)}")
    mlp_width = shapes["blocks.0.mlp.fc2.weight"][1]
    gated = shapes.get("blocks.0.mlp.fc1.weight", (0,))[0] == 2 * mlp_width
    class_token, pooled = "cls_token" in shapes, "fc_norm.weight" in shapes
    return {
        "width": width,
        "depth": len(numbers),
        "heads": heads_in(shapes, width, released, notes),
        "mlp_width": mlp_width,
        "patch_size": patch[0],
        "class_token": class_token,
        "registers": shapes["reg_token"][1] if "reg_token" in shapes else 0,
        "pool": released.pool or ("cls" if class_token and not pooled else "mean"),
        "resize": released.resize,
        "gelu": released.gelu,
        "norm_eps": released.norm_eps,
        "layer_scale": START if "blocks.0.ls1.gamma" in shapes else None,
        "mlp": "swiglu" if gated else "gelu",
        "qk_norm": "blocks.0.attn.q_norm.weight" in shapes,
        "norm": "pooled" if pooled else released.norm,
        "dropout": 0.0,
        "drop_path": 0.0,
        "drop_path_form": "image",
        "rope_base": 100.0,
        **released.settings,
    }


def heads_in(
    shapes: dict[str, tuple[int, ...]], width: int, released: Released, notes: list[str]
) -> int:
    """The heads of the attention: said, or read off the norm of queries, or assumed."""
    if released.heads is not None:
        return released.heads
    if "blocks.0.attn.q_norm.weight" in shapes:
        return width // shapes["blocks.0.attn.q_norm.weight"][0]
    heads = HEADS.get(width, max(width // 64, 1))
    said = "1 head of {} is" if heads == 1 else f"{heads} heads of {{}} are"
    notes.append(f"{said.format(width // heads)} assumed")
    return heads


def grid_in(
    shapes: dict[str, tuple[int, ...]], released: Released, settings: dict[str, Any]
) -> tuple[int, int]:
    """Rows and columns of patches that the positions are of; without positions, of the pictures."""
    patch, given = settings["patch_size"], released.image_size
    told = tuple(side // patch for side in given or (224, 224))
    if "pos_embed" not in shapes:
        return told
    length, front = shapes["pos_embed"][1], int(settings["class_token"])
    before = dict.fromkeys((front, 0, front + settings["registers"]))
    if given and length - math.prod(told) in before:
        return told
    for count in (length - tokens for tokens in before):
        side = math.isqrt(max(count, 0))
        if side and side * side == count:
            return side, side
    raise ValueError(
        f"has {length} positions, which make no square grid, and nothing says its rows and columns"
    )


def position_in(shapes: dict[str, tuple[int, ...]], settings: dict[str, Any]) -> str:
    """Which kind of positions: a table, or RoPE where the format says so."""
    position = settings.get("position", "learned")
    if position == "learned" and "pos_embed" not in shapes:
        raise ValueError("lacks pos_embed")
    return position


def with_our_positions(tensors: Tensors, settings: dict[str, Any], count: int) -> Tensors:
    """Positions as ours are: one for the class token, none for registers, then the patches.

    A file may have none for the class token (big_vision, DeiT III): zeros are put there. Or some
    for the registers too (timm, DeiT's distillation token): they are added to those.
    """
    if "pos_embed" not in tensors:
        return tensors
    front, registers = int(settings["class_token"]), settings["registers"]
    before = tensors.shapes["pos_embed"][1] - count
    if before == front:
        return tensors
    if before == 0:

        def filled(table: Tensor) -> Tensor:
            return torch.cat([table.new_zeros(1, front, table.shape[2]), table], 1)

        return replaced(tensors, "pos_embed", ("pos_embed",), filled)
    if before != front + registers:
        raise ValueError(
            f"has {before} positions beside those of {count} patches, and {front} class token "
            f"with {registers} registers"
        )
    moved = replaced(
        tensors,
        "reg_token",
        ("reg_token", "pos_embed"),
        lambda token, table: token + table[:, front:before],
    )
    return replaced(
        moved,
        "pos_embed",
        ("pos_embed",),
        lambda table: torch.cat([table[:, :front], table[:, before:]], 1),
    )


def replaced(tensors: Tensors, name: str, names: tuple[str, ...], make: Any) -> Tensors:
    """The same tensors, one of them made out of some."""
    return tensors | tensors.made({name: Origin(names, make)})


def released_spec(
    shapes: dict[str, tuple[int, ...]],
    released: Released,
    grid: tuple[int, int],
    head: tuple[int, ...] | None,
    notes: list[str],
) -> DataSpec:
    """What the weights expect of pictures, and their classes where they are known."""
    _, channels, patch, _ = shapes["patch_embed.proj.weight"]
    image_size = tuple(side * patch for side in grid)
    if released.image_size:
        image_size = tuple(side // patch * patch for side in released.image_size)
    mean, std = released.normalisation
    if len(mean) != channels:
        mean = std = (0.5,) * channels
        notes.append(f"mean and deviation 0.5 are assumed for {channels} channels")
    classes, outputs = released.card.classes, head[0] if head else 0
    if len(classes) != outputs:
        classes = ()
    if outputs == 1000 and not classes:
        classes = imagenet_classes()
        notes.append("1000 outputs: the classes are assumed to be ImageNet's")
    several = released.multi_label
    return DataSpec(classes, image_size, channels, tuple(mean), tuple(std), multi_label=several)


def classifier_in(
    tensors: Tensors, head: dict[str, tuple[int, ...] | None], width: int, notes: list[str]
) -> dict[str, Tensor]:
    """Weight and bias over the classes; empty where there is none that reads the pooled vector."""
    if not head["weight"]:
        return {}
    if len(head["weight"]) != 2 or head["weight"][1] != width:
        notes.append(f"its head {head['weight']} does not read the {width} pooled numbers: left")
        return {}
    weight = tensors["head.weight"].float().clone()
    bias = tensors["head.bias"].float().clone() if head["bias"] else weight.new_zeros(len(weight))
    return {"weight": weight, "bias": bias}


class Undrawn(TorchFunctionMode):
    """Normal numbers are not drawn: on the meta device that loads a compiler, for four seconds."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        """The tensor as it is, in place of one with drawn numbers."""
        kwargs = kwargs or {}
        if function is nn.init.normal_:
            return kwargs["tensor"]
        return function(*args, **kwargs)


def check_whole(
    spec: DataSpec,
    grid: tuple[int, int],
    settings: dict[str, Any],
    shapes: dict[str, tuple[int, ...]],
) -> None:
    """Our encoder of these settings has exactly these tensors.

    Raises:
        ValueError: naming the first that is missing, too many, or of another shape.
    """
    spec = replace(spec, image_size=tuple(side * settings["patch_size"] for side in grid))
    with torch.device("meta"), Undrawn():
        needed = {k: tuple(v.shape) for k, v in ViT(spec, **settings).state_dict().items()}
    missing = [name for name in needed if name not in shapes]
    if missing:
        raise ValueError(f"lacks {missing[0]}{more(missing)}")
    surplus = [name for name in shapes if name not in needed]
    if surplus:
        raise ValueError(f"holds {surplus[0]}{more(surplus)}, which our ViT does not have")
    for name, shape in needed.items():
        if shapes[name] != shape:
            raise ValueError(f"has {name} of shape {shapes[name]}; the rest of it needs {shape}")


def more(names: list[str]) -> str:
    """How many come after the first."""
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def with_flops(released: Released, settings: dict[str, Any]) -> Card:
    """The card with what the training took: 6 per multiplication, of pictures of 224 px."""
    card, width, mlp = released.card, settings["width"], settings["mlp_width"]
    if not (released.epochs and card.images) or card.flops:
        return card
    patch = settings["patch_size"]
    count = (224 // patch) ** 2
    tokens = count + int(settings["class_token"]) + settings["registers"]
    maps = 4 * width**2 + (3 if settings["mlp"] == "swiglu" else 2) * width * mlp
    blocks = settings["depth"] * (tokens * maps + 2 * tokens**2 * width)
    return replace(
        card, flops=6.0 * (blocks + count * 3 * patch**2 * width) * card.images * released.epochs
    )
