"""An encoder as a file holds it: what rebuilds it, its weights, and how they are put into place."""

import contextlib
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import torch
from torch import Tensor, nn

from vit.batch import DataSpec
from vit.models.base import Encoder
from vit.models.lineage import Link
from vit.models.prefixes import tensors_below
from vit.models.torch_files import check_finite

OURS = "vit.models."  # whose modules a file may name


@dataclass(frozen=True)
class Stored:
    """The encoder that a file holds, and what is needed to use it.

    Args:
        path: of the file.
        class_path: of the encoder.
        settings: its constructor arguments.
        spec: size, channels and normalisation that it was trained with, and its classes.
        grid: rows and columns of patches that its positions are of; None without patches.
        state: its tensors, by our names; of released files read when they are asked for.
        classifier: weight and bias over the classes; empty without such a head.
        objective: how the names of the objective begin, among which all of these were.
        lineage: the trainings behind these weights, the last one first.
        preprocessing: how pictures were shown in evaluation, as arguments of `Preprocessing`.
        notes: what was assumed because the file does not say it, a line each.
        averaged: these are an average of the weights that learned, or a teacher.
    """

    path: Path
    class_path: str
    settings: dict[str, Any]
    spec: DataSpec
    grid: tuple[int, int] | None
    state: Mapping[str, Tensor]
    classifier: dict[str, Tensor] = field(default_factory=dict)
    objective: str = ""
    lineage: tuple[Link, ...] = ()
    preprocessing: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    averaged: bool = False

    def with_settings(self, given: dict[str, Any]) -> "Stored":
        """The same weights, in an encoder of which some settings are others.

        Raises:
            ValueError: one of them belongs to the weights; names those that are free.
        """
        if not given:
            return self
        kind = type(self.build(self.spec))
        for name in given:
            if name not in kind.FREE:
                free = ", ".join(kind.FREE) or "none"
                raise ValueError(
                    f"model.pretrained_settings: {name} of a {kind.__name__} stays as its weights "
                    f"were trained; those that may be set: {free}"
                )
        changed = replace(self, settings=self.settings | given)
        try:
            check_literals(kind, changed.settings)
            kind(self.spec, **changed.settings)
        except (TypeError, ValueError) as error:
            raise ValueError(f"model.pretrained_settings: {error}") from error
        return changed

    def build(self, spec: DataSpec) -> Encoder:
        """The same architecture for other data; its weights are not loaded yet."""
        try:
            kind = encoder_class(self.class_path)
            check_literals(kind, self.settings)
            return kind(spec, **self.settings)
        except LookupError as error:
            raise ValueError(f"checkpoint: {self.path} holds a {error}") from error
        except TypeError as error:
            raise ValueError(
                f"checkpoint: {self.path} is of another version of {self.class_path} ({error})"
            ) from error


def encoder_class(class_path: str) -> type[Encoder]:
    """An Encoder by the name that a file gives; of other packages only what is imported already.

    Raises:
        LookupError: it is none; says how to allow it.
    """
    module = class_path.rpartition(".")[0]
    if module.startswith(OURS):
        with contextlib.suppress(ImportError, ValueError):  # there is no such module
            importlib.import_module(module)
    todo = [Encoder]
    while todo:
        kind = todo.pop()
        if f"{kind.__module__}.{kind.__qualname__}" == class_path:
            return kind
        todo += kind.__subclasses__()
    package = module.partition(".")[0] or "its package"
    raise LookupError(
        f"{class_path}, which is no Encoder that is known here; if you know where it comes from: "
        f"--trust {package}"
    )


def check_literals(kind: type[Encoder], settings: dict[str, Any]) -> None:
    """A checkpoint's settings go through no parser, which would refuse unknown words.

    Raises:
        TypeError: naming the setting.
    """
    for name, parameter in inspect.signature(kind.__init__, eval_str=True).parameters.items():
        options = [parameter.annotation, *get_args(parameter.annotation)]
        literals = [x for kind in options if get_origin(kind) is Literal for x in get_args(kind)]
        value = settings.get(name)
        if literals and isinstance(value, str) and value not in literals and str not in options:
            raise TypeError(f"{name} is {value!r}; known: {', '.join(map(str, literals))}")


def describe(encoder: Encoder, spec: DataSpec) -> dict[str, Any]:
    """What a checkpoint stores beside the weights, in plain values."""
    grid = getattr(encoder, "grid", None)
    return {
        "class_path": encoder.class_path,
        "settings": dict(encoder.settings),
        "spec": spec.to_dict(),
        "grid": list(grid) if grid else None,
    }


def load_into(encoder: Encoder, stored: Stored, channels: int, fresh: tuple[str, ...] = ()) -> str:
    """Copy the stored weights into an encoder and say what was covered.

    Args:
        encoder: as it was drawn.
        stored: of a checkpoint or a released file.
        channels: of the data.
        fresh: tensors of the encoder that stay as they were drawn.

    Raises:
        ValueError: the architectures differ; the first differing field is named. Or the file
            does not cover the whole encoder.
    """
    ours = describe(encoder, stored.spec)
    if ours["class_path"] != stored.class_path:
        raise ValueError(
            f"pretrained: {stored.path} holds a {stored.class_path}, the config asks for a "
            f"{ours['class_path']}; set model.encoder: null to take the checkpoint's"
        )
    if channels != stored.spec.channels:
        raise ValueError(
            f"pretrained: {stored.path} was trained on {stored.spec.channels} channels, "
            f"the data has {channels}"
        )
    for setting, value in ours["settings"].items():
        theirs = setting_of(stored, type(encoder), setting)
        if setting not in encoder.FREE and value != theirs:
            raise ValueError(
                f"pretrained: {setting} is {value} in the config and {theirs} in "
                f"{stored.path}; set model.encoder: null to take the checkpoint's"
            )
    drawn = {k: v.clone() for k, v in encoder.state_dict().items() if k in fresh}
    state = encoder.adapt(stored.state, stored.grid) | drawn  # still read one at a time
    unused = copy_into(encoder, state, stored.path)
    total = sum(tensor.numel() for tensor in encoder.state_dict().values())
    kept = total - sum(tensor.numel() for tensor in drawn.values())
    anew = f", begun anew: {' '.join(drawn)}" if drawn else ""
    left = f", not used: {' '.join(unused)}" if unused else ""
    moved = getattr(encoder, "grid", None)
    resized = "" if moved == stored.grid else f", positions resized from {stored.grid} to {moved}"
    notes = "".join(f"; {note}" for note in stored.notes)
    whose = f"{stored.path}" + (f" (averaged: {stored.objective})" if stored.averaged else "")
    return (
        f"pretrained: {len(stored.state) - len(drawn)} tensors, {kept:,} numbers, "
        f"{100 * kept / total:.4g} % of the encoder from {whose}{resized}{anew}{left}{notes}"
    )


def setting_of(stored: Stored, kind: type[Encoder], setting: str) -> Any:
    """A setting of stored weights; its default where the file is older than the setting."""
    parameter = inspect.signature(kind.__init__).parameters.get(setting)
    default = None if parameter is None else parameter.default
    missing = None if default is inspect.Parameter.empty else default
    return stored.settings.get(setting, missing)


def copy_into(encoder: Encoder, state: Mapping[str, Tensor], path: Path) -> list[str]:
    """Copy tensors into an encoder, one at a time; returns the names that it has no place for.

    Raises:
        ValueError: one is missing, of another shape, or not finite.
    """
    places = encoder.state_dict()  # they share memory with the encoder
    missing = [name for name in places if name not in state]
    if missing:
        raise ValueError(
            f"pretrained: {path} lacks {len(missing)} tensors of the encoder, {missing[0]} first"
        )
    for name, place in places.items():
        tensor = state[name]
        if tensor.shape != place.shape:
            raise ValueError(
                f"pretrained: the weights in {path} do not fit its own settings ({name} is "
                f"{tuple(tensor.shape)}, not {tuple(place.shape)})"
            )
        check_finite({name: tensor}, path)
        with torch.no_grad():
            place.copy_(tensor)
    return [name for name in state if name not in places]


def adapt_positions(module: nn.Module, state: dict[str, Tensor], grid: list[int] | None) -> None:
    """Make a checkpoint's tensors fit the encoders of a module whose images have another size.

    Args:
        module: holds encoders, a teacher's too.
        state: of the checkpoint, by names of the module; changed in place.
        grid: rows and columns of patches that the checkpoint was made with; None: no patches.
    """
    for place, part in module.named_modules():
        if isinstance(part, Encoder):
            inside = tensors_below(state, f"{place}.")
            adapted = part.adapt(inside, tuple(grid) if grid else None)
            state |= {f"{place}.{name}": value for name, value in adapted.items()}
