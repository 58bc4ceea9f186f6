"""Small real things that many tests need."""

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import yaml

from vit.batch import Batch, DataSpec
from vit.models import ViT
from vit.objectives.base import Objective

GREY = DataSpec(tuple("0123456789"), (8, 8), 1, (0.5,), (0.5,))
RGB = DataSpec(("cat", "dog", "fox"), (16, 16), 3, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
LEAVES = Path(__file__).parents[1] / "configs" / "objective"


def small_vit(spec: DataSpec = GREY, **settings) -> ViT:
    """32 wide, 2 deep; seeded."""
    torch.manual_seed(0)
    return ViT(spec, **({"width": 32, "depth": 2, "heads": 2} | settings))


def batch_of(spec: DataSpec = GREY, count: int = 4, epoch: int | None = 0, seed: int = 0) -> Batch:
    """Random normalised images with labels."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, spec.channels, *spec.image_size, generator=generator)
    labels = torch.randint(0, len(spec.classes), (count,), generator=generator)
    return Batch([images], labels, torch.arange(count), seed=seed, epoch=epoch)


def every_objective() -> dict[str, Callable[..., Objective]]:
    """By name, as its leaf in configs/objective sets it; without those that want a teacher."""
    found = {}
    for leaf in sorted(LEAVES.glob("*.yaml")):
        settings = yaml.safe_load(leaf.read_text())
        module, _, name = settings["class_path"].rpartition(".")
        given = settings.get("init_args", {}).items()
        arguments = {key: tuple(v) if isinstance(v, list) else v for key, v in given}
        if "teacher" not in arguments:
            found[leaf.stem] = partial(getattr(importlib.import_module(module), name), **arguments)
    return found
