"""Small real things that many tests need."""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml

from vit.batch import Batch, DataSpec
from vit.models import ViT
from vit.models.weights import describe
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


def saved_encoder(encoder: ViT, folder: Path, spec: DataSpec, lineage: tuple = ()) -> Path:
    """A run folder with a checkpoint that holds an encoder, and the trainings behind it."""
    state = {f"objective.encoder.{name}": value for name, value in encoder.state_dict().items()}
    content = {
        "format": 1,
        "config": "",
        "global_step": 1,
        "encoder": describe(encoder, spec),
        "state_dict": state,
        "lineage": [link._asdict() for link in lineage],
    }
    (folder / "checkpoints").mkdir(parents=True)
    torch.save(content, folder / "checkpoints" / "last.ckpt")
    return folder


def every_objective() -> dict[str, Callable[..., Objective]]:
    """Objectives by name, as configs/objective sets them; without those that need a teacher."""
    builders = {}
    for leaf in sorted(LEAVES.glob("*.yaml")):
        settings = yaml.safe_load(leaf.read_text())
        module, _, name = settings["class_path"].rpartition(".")
        family = getattr(importlib.import_module(module), name)
        arguments = settings.get("init_args", {})
        if "teacher" not in arguments:
            builders[leaf.stem] = partial(family, **with_groups(family, arguments))
    return builders


def grouped(family: type, **settings: Any) -> dict[str, Any]:
    """Settings by their last names, put into the groups of arguments that have them."""
    defaults = {name: p.default for name, p in inspect.signature(family).parameters.items()}
    groups = {name: group for name, group in defaults.items() if is_dataclass(group)}
    inside = {
        name: {key: settings[key] for key in vars(group) if key in settings}
        for name, group in groups.items()
    }
    built = {name: replace(groups[name], **part) for name, part in inside.items() if part}
    return built | {k: v for k, v in settings.items() if not any(k in p for p in inside.values())}


def with_groups(family: type, arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments of YAML as the class takes them: tuples, and groups on its defaults."""
    defaults = inspect.signature(family).parameters

    def built(key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return replace(defaults[key].default, **{k: built(k, v) for k, v in value.items()})
        return tuple(value) if isinstance(value, list) else value

    return {key: built(key, value) for key, value in arguments.items()}
