"""Hugging Face's folders: ViT, DeiT, ViTMAE, DINOv2 with and without registers, DINOv3.

Facts: transformers 5, `modeling_*.py` of each, and the configs' defaults; older files leave out
what is a default. Positions are resampled as each of them does it.

L classes, D width.
"""

from typing import Any, Literal, NamedTuple

from vit.models.weights.hub_cards import hub_name, known_on_hub
from vit.models.weights.huggingface_names import origins, prefix_of_encoder, theirs_by_ours
from vit.models.weights.released import HALF, IMAGENET, Origin, Released, WeightsFile
from vit.patches import Resize


class Family(NamedTuple):
    """What a kind of model is where its config does not say it.

    Args:
        norm_eps: LayerNorm's epsilon.
        normalisation: mean and deviation of the pixels.
        resize: how its code resamples positions.
    """

    norm_eps: float
    normalisation: tuple[tuple[float, ...], tuple[float, ...]]
    resize: Resize


FAMILIES = {  # by config.json's model_type
    "vit": Family(1e-12, HALF, "bicubic"),
    "deit": Family(1e-12, IMAGENET, "bicubic"),
    "vit_mae": Family(1e-12, IMAGENET, "bicubic"),
    "dinov2": Family(1e-6, IMAGENET, "bicubic"),
    "dinov2_with_registers": Family(1e-6, IMAGENET, "bicubic_antialias"),
    "dinov3_vit": Family(1e-5, IMAGENET, "bicubic_antialias"),
}
GELU = {
    "gelu": "exact", "gelu_python": "exact", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh",
    "gelu_fast": "tanh",
}  # fmt: skip
RESAMPLE = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
HEADS = ("classifier", "cls_classifier")


def is_huggingface(file: WeightsFile) -> bool:
    """Is it a folder that transformers wrote, or a file of such a folder?"""
    return prefix_of_encoder(file.tensors) is not None or "model_type" in file.config


def from_huggingface(file: WeightsFile) -> Released:
    """A folder's weights by our names.

    Raises:
        ValueError: of another kind of model, or damaged.
    """
    try:
        return converted(file, model_type(file))
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"weights: {file.path} is damaged ({lines[0][:160]})") from error


def converted(file: WeightsFile, kind: str) -> Released:
    """The same, of a kind that is known."""
    config, family, notes = file.config, FAMILIES[kind], []
    prefix = prefix_of_encoder(file.tensors)
    if prefix is None:
        raise ValueError(
            f"weights: {file.path} says that it is a {kind} and holds no "
            "embeddings.patch_embeddings.projection.weight"
        )
    try:
        made = origins(theirs_by_ours(file.tensors, prefix))
    except ValueError as error:
        raise ValueError(f"weights: {file.path} holds {error}") from error
    check_against_config(file, made)
    head, classes, said = classifier_of(file, made)
    notes += said
    if not config:
        notes.append(f"no config.json: epsilon {family.norm_eps:g}, 64 numbers a head")
    shown = shown_as(file, family)
    notes += shown.pop("notes")
    known = known_on_hub(hub_name(file.path), classes)
    settings = {}
    if kind == "dinov3_vit":
        settings = {"position": "rope", "rope_base": float(config.get("rope_theta", 100.0))}
    return Released(
        file.tensors.made(made | head),
        known.card,
        heads=config.get("num_attention_heads"),
        gelu=gelu_named(file),
        norm_eps=float(config.get("layer_norm_eps", family.norm_eps)),
        resize=family.resize,
        epochs=known.epochs,
        pool=half_read(file, file.tensors.shapes[made["patch_embed.proj.weight"].names[0]][0]),
        settings=settings,
        multi_label=config.get("problem_type") == "multi_label_classification",
        notes=tuple(notes),
        **shown,
    )


def model_type(file: WeightsFile) -> str:
    """The kind of model, as config.json calls it; else as the names tell.

    Raises:
        ValueError: config.json says another.
    """
    kind = file.config.get("model_type")
    if kind is None:
        names = " ".join(file.tensors)
        kind = "dinov2" if "layer_scale1" in names else "vit"
        kind = "dinov2_with_registers" if "register_tokens" in names else kind
        kind = "dinov3_vit" if "embeddings.patch_embeddings.weight" in names else kind
        kind = "deit" if "distillation_token" in names else kind
        kind = "vit_mae" if "decoder.decoder_embed" in names else kind
    if kind not in FAMILIES:
        raise ValueError(
            f"weights: {file.path} holds a {kind}, which no encoder of this project is; known: "
            f"{', '.join(FAMILIES)}"
        )
    return kind


def gelu_named(file: WeightsFile) -> str:
    """Which GELU config.json names; a gate has none, and SiLU instead."""
    act, gated = file.config.get("hidden_act", "gelu"), file.config.get("use_gated_mlp", False)
    if gated and act == "silu":
        return "exact"
    if gated or act not in GELU:
        raise ValueError(f"weights: {file.path} uses {act}; known: {', '.join(GELU)}")
    return GELU[act]


def check_against_config(file: WeightsFile, made: dict[str, Origin]) -> None:
    """Refuse tensors of another size than config.json says."""
    depth = len({name.split(".")[1] for name in made if name.startswith("blocks.")})
    width = file.tensors.shapes[made["patch_embed.proj.weight"].names[0]][0]
    for key, value in (("hidden_size", width), ("num_hidden_layers", depth)):
        said = file.config.get(key, value)
        if said != value:
            raise ValueError(
                f"weights: {file.path}: config.json says {key} {said}, the tensors say {value}"
            )


def classifier_of(
    file: WeightsFile, made: dict[str, Origin]
) -> tuple[dict[str, Origin], tuple[str, ...], list[str]]:
    """Head, names of its classes, and what was left out."""
    shapes = file.tensors.shapes
    width = shapes[made["patch_embed.proj.weight"].names[0]][0]
    name = next((name for name in HEADS if f"{name}.weight" in shapes), None)
    if name is None:
        return {}, (), []
    rows, half = shapes[f"{name}.weight"], half_read(file, width)
    if rows[-1] != width and half is None:
        return {}, (), [f"{name} reads {rows[-1]:,} numbers, class token and patches; not used"]
    parts = [kind for kind in ("weight", "bias") if f"{name}.{kind}" in shapes]
    head = {f"head.{kind}": Origin((f"{name}.{kind}",)) for kind in parts}
    if half is not None:
        columns = slice(0, width) if half == "cls" else slice(width, None)
        head["head.weight"] = Origin((f"{name}.weight",), lambda weight: weight[:, columns])
    names = {str(key): str(value) for key, value in file.config.get("id2label", {}).items()}
    other = "distillation_classifier.weight" in shapes
    said = ["distillation_classifier is not used"] if other else []
    if names.keys() != {str(number) for number in range(rows[0])}:
        return head, (), [*said, f"config.json has no names for its {rows[0]:,} classes"]
    return head, tuple(names[str(number)] for number in range(rows[0])), said


def half_read(file: WeightsFile, width: int) -> Literal["cls", "mean"] | None:
    """What a Dinov2's head reads of class token and mean of the patches, where it is one of them.

    Such a head has zeros for the other: `export --to huggingface` writes it so.
    """
    if file.tensors.shapes.get("classifier.weight", (0,))[-1] != 2 * width:
        return None
    cls, mean = file.tensors["classifier.weight"].split(width, 1)
    if cls.any() and mean.any():
        return None
    return "cls" if cls.any() else "mean"


def shown_as(file: WeightsFile, family: Family) -> dict[str, Any]:
    """How pictures are shown in evaluation: fields of Released, and notes.

    Raises:
        ValueError: preprocessor_config.json asks for something that nothing here does.
    """
    about, notes = file.preprocessor, []
    size = pair(file.config.get("image_size"))
    if not about:
        notes.append("no preprocessor_config.json: normalisation as usual for this kind of model")
        return {"normalisation": family.normalisation, "image_size": size, "notes": notes}
    check_pixels(file)
    mean = tuple(about.get("image_mean", family.normalisation[0]))
    std = tuple(about.get("image_std", family.normalisation[1]))
    if not about.get("do_normalize", True):
        mean, std = (0.0,) * len(mean), (1.0,) * len(std)
    ratio = None
    edge, cut = resized(about), pair(about.get("crop_size"))
    if cut is not None and about.get("do_center_crop", True):
        size = cut
        ratio = cut[0] / edge[0] if edge and edge[0] > cut[0] else 1.0
        if edge and edge == pair(about.get("size")):
            notes.append("its pictures are squeezed before they are cropped; here they are not")
            ratio = None if edge == cut else ratio
    elif edge and about.get("do_resize", True):
        size = edge
    if about.get("resample", 3) not in RESAMPLE:
        notes.append(f"its resampling, {about['resample']} of Pillow's, is not offered; bicubic")
    return {
        "normalisation": (mean, std),
        "image_size": size,
        "center_crop_ratio": ratio,
        "interpolation": RESAMPLE.get(about.get("resample", 3), "bicubic"),
        "notes": notes,
    }


def check_pixels(file: WeightsFile) -> None:
    """Refuse pixels on another scale than 0 to 1."""
    about = file.preprocessor
    factor = about.get("rescale_factor", 1 / 255)
    if about.get("do_rescale", True) and abs(factor * 255 - 1) > 1e-3:
        raise ValueError(
            f"weights: {file.path}: preprocessor_config.json multiplies pixels by {factor}; "
            "only 1 / 255 is known"
        )


def resized(about: dict[str, Any]) -> tuple[int, int] | None:
    """Height and width after the resize, of a square picture; None where it is not said."""
    size = about.get("size")
    edge = size.get("shortest_edge") if isinstance(size, dict) else None
    return pair(edge if edge else size)


def pair(size: Any) -> tuple[int, int] | None:
    """Height and width as configs write them: 224, [224, 224] or {height: 224, width: 224}."""
    if isinstance(size, dict):
        size = [size.get("height"), size.get("width")]
    size = [size, size] if isinstance(size, int) else size
    whole = isinstance(size, list) and len(size) == 2 and all(type(n) is int for n in size)
    return (size[0], size[1]) if whole else None
