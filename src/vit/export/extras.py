"""Packages that only some formats need: they are imported when they are used, or named."""

import importlib
from importlib.util import find_spec
from types import ModuleType

EXTRAS = {  # which extra of this project brings a package
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "safetensors": "export",
    "timm": "released",
    "transformers": "released",
}


class MissingPackage(ValueError):
    """A package that an extra brings is not installed."""


def extra(*names: str) -> ModuleType:
    """The first of some packages, imported; all must be there.

    Raises:
        MissingPackage: one is not; the line says how to get it.
    """
    for name in names:
        if not installed(name):
            raise MissingPackage(
                f'export: {name} is not installed; pip install -e ".[{EXTRAS[name]}]"'
            )
    return importlib.import_module(names[0])


def installed(name: str) -> bool:
    """Is a package there?"""
    return find_spec(name) is not None
