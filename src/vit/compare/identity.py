"""When two commands count as the same run: a hash of what can change the result, and nothing else.

Values count where they differ from their class's default, so that a new argument with a default
changes no run's identity. Paths, names, folders, comments and hardware do not count. Changing an
existing default would change what old ids mean: whoever does so raises VERSION (a test holds the
defaults).
"""

import ast
import dataclasses
import importlib
import inspect
import types
import typing
from functools import cache
from pathlib import Path
from typing import Any

import vit
from vit.digest import digest

VERSION = 2
TRAINER = (  # keys of the Trainer that change what is learned or measured
    "max_epochs",
    "max_steps",
    "min_epochs",
    "min_steps",
    "accumulate_grad_batches",
    "precision",
    "limit_train_batches",
    "limit_val_batches",
    "limit_test_batches",
)
NO_EFFECT = {  # settings that change where or how fast, never what
    "data": ("root", "train_file", "workers", "eval_batch_size"),
    "model": ("compile", "pretrained", "spec"),
}
PRECISION = {"32": "32-true", 32: "32-true", None: "32-true"}  # other names of one thing
OUTSIDE = ("compare",)  # code that no run depends on
WATCHERS = "vit.callbacks."  # our callbacks look at a run and do not touch it


def fit_identity(
    settings: dict[str, Any], splits: dict[str, str], upstream: str | None
) -> dict[str, Any]:
    """What a fit's id is the hash of.

    Args:
        settings: all of them, resolved, as `--print_config` shows them.
        splits: content hash of each split that it reads.
        upstream: id of the run, or hash of the checkpoint, whose encoder it starts from.
    """
    from vit.module import ViTModule

    model = {k: v for k, v in settings["model"].items() if k not in NO_EFFECT["model"]}
    trainer = {k: settings["trainer"].get(k) for k in TRAINER}
    trainer["precision"] = PRECISION.get(trainer["precision"], trainer["precision"])
    callbacks = settings["trainer"].get("callbacks") or []
    callbacks = callbacks if isinstance(callbacks, list) else [callbacks]
    return {
        "version": VERSION,
        "verb": "fit",
        "seed": settings["seed_everything"],
        "keep_best": settings.get("keep_best", False),
        **({"best_metric": settings["best_metric"]} if settings.get("best_metric") else {}),
        "data": data_identity(settings["data"]),
        "splits": splits,
        "model": differing(model, ViTModule),
        "trainer": {k: v for k, v in trainer.items() if v is not None and v != 1.0},
        "callbacks": [
            without_defaults(c)
            for c in callbacks
            if not full_name(c["class_path"]).startswith(WATCHERS)
        ],
        "upstream": upstream,
    }


def data_identity(node: dict[str, Any]) -> dict[str, Any]:
    """The class and settings of a data module, without where it lies and how fast it loads."""
    settings = node.get("init_args") or {}
    kept = {k: v for k, v in settings.items() if k not in NO_EFFECT["data"]}
    return without_defaults({"class_path": node["class_path"], "init_args": kept})


def without_defaults(value: Any, kind: Any = None) -> Any:
    """The same settings without those that are a class's defaults.

    Args:
        value: a setting: a class with its init_args, a nested group, or a plain value.
        kind: the class that a group without a class_path belongs to, where that is clear.
    """
    if isinstance(value, list):
        return [without_defaults(part) for part in value]
    if not isinstance(value, dict):
        return value
    if "class_path" in value:
        family = class_named(value["class_path"])
        inside = differing(value.get("init_args") or {}, family)
        return {"class": full_name(value["class_path"]), **inside}
    return differing(value, kind) if isinstance(kind, type) else value


def differing(settings: dict[str, Any], family: type) -> dict[str, Any]:
    """The settings of a class that are not its defaults."""
    accepted = parameters(family)
    kept = {}
    for name, value in settings.items():
        parameter = accepted.get(name)
        if parameter is not None and same(parameter.default, value):
            continue
        if parameter is not None and is_group(parameter.default) and isinstance(value, dict):
            kept |= {f"{name}.{k}": v for k, v in changed(parameter.default, value).items()}
            continue
        kept[name] = without_defaults(value, group_of(parameter.annotation) if parameter else None)
    return kept


def is_group(default: Any) -> bool:
    """Is a default a group of settings with values of its own, such as an objective's crops?"""
    return dataclasses.is_dataclass(default) and not isinstance(default, type)


def changed(default: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a group that are not those of an argument's default."""
    fields = vars(default)
    return {
        k: without_defaults(v)
        for k, v in settings.items()
        if not (k in fields and same(fields[k], v))
    }


def same(default: Any, value: Any) -> bool:
    """Is a setting its default, as YAML writes it?"""
    if isinstance(default, tuple):
        default = list(default)
    return default == value and isinstance(default, bool) == isinstance(value, bool)


def parameters(family: type) -> dict[str, inspect.Parameter]:
    """The arguments of a class, its parents' too where it hands the rest on to them."""
    accepted: dict[str, inspect.Parameter] = {}
    for level in family.__mro__:
        if "__init__" not in vars(level):
            continue
        signature = inspect.signature(level.__init__, eval_str=True)
        for name, parameter in list(signature.parameters.items())[1:]:
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                accepted.setdefault(name, parameter)
        if not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
            break
    return accepted


def group_of(annotation: Any) -> type | None:
    """The class of a nested group of settings: `Clip | None` is a Clip."""
    options = typing.get_args(annotation) if is_union(annotation) else (annotation,)
    classes = [
        kind for kind in options if isinstance(kind, type) and kind.__module__.startswith("vit.")
    ]
    return classes[0] if len(classes) == 1 else None


def is_union(annotation: Any) -> bool:
    """`A | B` in either spelling."""
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def class_named(class_path: str) -> type:
    """The class that a class_path names."""
    module, _, name = class_path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def full_name(class_path: str) -> str:
    """Where a class is defined, whatever shorter name it was called by."""
    family = class_named(class_path)
    return f"{family.__module__}.{family.__qualname__}"


@cache
def source_hash() -> str:
    """The hash of all code that trains and evaluates, without comments; stored beside runs."""
    root = Path(vit.__file__).parent
    files = [f for f in sorted(root.rglob("*.py")) if f.relative_to(root).parts[0] not in OUTSIDE]
    return digest([ast.dump(without_docstrings(ast.parse(file.read_text()))) for file in files])


def without_docstrings(tree: ast.Module) -> ast.Module:
    """The same code, its docstrings taken out."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            first = body[0].value
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                body[0] = ast.Pass()
    return tree
