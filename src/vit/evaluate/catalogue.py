"""The protocols that there are: the files of this folder."""

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import vit.evaluate
from vit.batch import DataSpec
from vit.evaluate.base import Result

NOT_ONE = ("base", "catalogue", "grid", "rankme")


def protocols() -> list[str]:
    """Their names."""
    found = pkgutil.iter_modules(vit.evaluate.__path__)
    return [module.name for module in found if module.name not in NOT_ONE]


def refuse(spec: DataSpec) -> None:
    """Protocols classify, so images want one label each.

    Raises:
        ValueError: they have none, or several.
    """
    if not spec.classes:
        raise ValueError("evaluate: this data has no labels; give --data with classes")
    if spec.multi_label:
        raise ValueError("evaluate: its protocols want one label an image; this data has several")


def protocol(name: str) -> Callable[..., Result]:
    """The function of that name, in the file of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in protocols():
        near = difflib.get_close_matches(name, protocols(), 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(protocols())}"
        raise ValueError(f"protocols: unknown {name!r}; {hint}")
    return getattr(importlib.import_module(f"vit.evaluate.{name}"), name)


def defaults(name: str) -> dict[str, Any]:
    """A protocol's settings: what its id depends on before anything is known of the data."""
    parameters = inspect.signature(protocol(name)).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}
