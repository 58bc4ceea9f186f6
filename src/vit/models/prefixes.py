"""Where a checkpoint's state_dict holds what later runs read, as beginnings of its names."""

from typing import Any

from torch import Tensor, nn

from vit.yaml_text import load_yaml

UNWRITTEN = {  # what holds for format-1 files that were written before they said it themselves
    "trained": "objective.",
    "average": "average.copy.",
    "encoder": "encoder.",
    "head": "head.",
    "classifier": "Supervised",  # the objective whose head is a linear layer over the classes
}


def describe_prefixes(
    module: nn.Module, trained: nn.Module, average: nn.Module | None
) -> dict[str, str | None]:
    """Where a module's state_dict holds what later runs read, as beginnings of names.

    Args:
        module: whose state_dict is stored.
        trained: the objective in it.
        average: the objective with the averaged weights, where there is one.
    """
    names = {part: f"{name}." for name, part in module.named_modules()}
    head = trained.classifier_head
    inside = names[trained.encoder].removeprefix(names[trained])
    kept = (trained if average is None else average).kept_encoder  # or a teacher's, an average too
    return {
        "trained": names[trained],
        "average": None if kept is trained.encoder else names[kept].removesuffix(inside),
        "encoder": inside,
        "head": f"{head}." if head else None,
        "head_kind": "linear" if head else None,
    }


def stored_prefixes(content: dict[str, Any]) -> dict[str, str | None]:
    """What `describe_prefixes` said of a checkpoint, or what holds for one that does not say it.

    Raises:
        ValueError: they are no beginnings of names.
    """
    prefixes = content["encoder"].get("prefixes")
    if prefixes is None:
        prefixes = dict(UNWRITTEN)
        objective = config_value(content["config"], "model", "objective", "class_path")
        if str(objective).rpartition(".")[2] != prefixes.pop("classifier"):
            prefixes["head"] = None
    elif prefixes.get("head_kind") != "linear":
        prefixes = prefixes | {"head": None}
    for key in ("trained", "average", "encoder", "head"):
        optional = key in ("average", "head") and prefixes[key] is None
        if not optional and not isinstance(prefixes[key], str):
            raise ValueError(f"{key} is {prefixes[key]!r}")
    return prefixes


def config_value(config: str, *keys: str) -> Any:
    """A value of a stored config by its keys; None where it is not there."""
    try:
        value = load_yaml(config, "config")
        for key in keys:
            value = value[key]
    except (ValueError, KeyError, TypeError):
        return None
    return value


def tensors_below(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin so, by the rest of their names."""
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
