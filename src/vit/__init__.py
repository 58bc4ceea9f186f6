"""Vision Transformers, and which pre-training pays: none, supervised or self-supervised."""

from typing import Any


def __getattr__(name: str) -> Any:
    """`vit.load`, whose imports take seconds, is loaded when it is first used."""
    if name != "load":
        raise AttributeError(f"module 'vit' has no attribute {name!r}")
    from vit.loading import load

    return load
