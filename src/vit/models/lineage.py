"""What an encoder's weights have learned from, training after training: checkpoints carry it.

Each training adds a link in front of those of the weights that it started from. So whoever tests
an encoder can look whether it saw the test images, also where the runs before it are gone.
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vit.models.prefixes import stored_prefixes


class Link(NamedTuple):
    """One training.

    Args:
        config: its settings, as YAML.
        uses_labels: did it learn from labels?
        classes: names of its data's classes.
        content: digest of its training split; None where there was none to make.
        hashes: of its training images, 64 bits each; empty in files from before they were kept.
        every: one image in so many was hashed.
    """

    config: str
    uses_labels: bool
    classes: tuple[str, ...]
    content: str | None
    hashes: Tensor
    every: int


def lineage_in(content: dict[str, Any], path: Path) -> tuple[Link, ...]:
    """The trainings behind a checkpoint's weights, the last one first.

    Args:
        content: of one of our checkpoints.
        path: of the file, for messages.

    Raises:
        ValueError: what the file says of them is damaged.
    """
    try:
        if "lineage" not in content:  # none was kept before December 2026
            labels = stored_prefixes(content)["head"] is not None
            classes = tuple(content["encoder"]["spec"]["classes"])
            nothing = torch.empty(0, dtype=torch.int64)
            return (Link(content["config"], labels, classes, None, nothing, 1),)
        return tuple(as_link(link) for link in content["lineage"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"checkpoint: {path} is damaged or foreign (its lineage: {error})"
        ) from error


def as_link(values: dict[str, Any]) -> Link:
    """A link out of the plain values that a file holds.

    Raises:
        ValueError: it is none.
    """
    link = Link(**{name: values[name] for name in Link._fields})
    hashed = isinstance(link.hashes, Tensor) and link.hashes.dtype == torch.int64
    texts = isinstance(link.config, str) and isinstance(link.content, str | None)
    counted = isinstance(link.every, int) and link.every > 0
    if not (hashed and link.hashes.ndim == 1 and texts and counted):
        raise ValueError("a link is not what a training leaves")
    return link._replace(uses_labels=bool(link.uses_labels), classes=tuple(map(str, link.classes)))
