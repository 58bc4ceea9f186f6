"""The protocols that there are, found by looking into the files of this folder."""

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import vit.evaluate
from vit.batch import DataSpec
from vit.evaluate.base import Result


def protocols() -> list[str]:
    """The names of the files here that hold a function of their name which takes a task."""
    names = [module.name for module in pkgutil.iter_modules(vit.evaluate.__path__)]
    return [name for name in names if takes_task(function_in(name))]


def function_in(name: str) -> Any:
    """What a file here calls by its own name, if anything."""
    return getattr(importlib.import_module(f"vit.evaluate.{name}"), name, None)


def takes_task(function: Any) -> bool:
    """Is it a protocol?"""
    return inspect.isfunction(function) and "task" in inspect.signature(function).parameters


def check_labels(spec: DataSpec) -> None:
    """Protocols classify, so images need one label each.

    Raises:
        ValueError: they have none, or several.
    """
    if not spec.classes:
        raise ValueError("evaluate: this data has no labels; give --data with classes")
    if spec.multi_label:
        raise ValueError(
            "evaluate: this data has several labels an image and its protocols need one; give "
            "other --data"
        )


def protocol(name: str) -> Callable[..., Result]:
    """The function of that name, in the file of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in protocols():
        near = difflib.get_close_matches(name, protocols(), 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(protocols())}"
        raise ValueError(f"protocols: unknown {name!r}; {hint}")
    return function_in(name)


def defaults(name: str) -> dict[str, Any]:
    """A protocol's settings: what its id depends on before anything is known of the data."""
    parameters = inspect.signature(protocol(name)).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}
