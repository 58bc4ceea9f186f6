"""Encoders out of checkpoints: find the file, fit the weights, say what was loaded."""

import contextlib
import importlib
import inspect
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from torch import Tensor, nn

from vit.batch import DataSpec
from vit.models.base import Encoder
from vit.models.lineage import Link, lineage_in
from vit.models.prefixes import stored_prefixes, tensors_below
from vit.models.torch_files import check_finite, read_torch

OURS = "vit.models."  # whose modules a file may name
FORMAT = 1
KEYS = {"config": str, "encoder": dict, "global_step": int, "state_dict": dict}  # what is read
WHOLE = {  # what else a fit goes on with, and Lightning reads
    "callbacks": dict, "consumed": int, "epoch": int, "loops": dict, "lr_schedulers": list,
    "optimizer_states": list, "pytorch-lightning_version": str, "seed": int, "validated": int,
}  # fmt: skip


def checkpoint_in(path: Path) -> Path:
    """The file that a run folder or a path means: best.ckpt, else last.ckpt."""
    if path.is_dir():
        for name in ("best.ckpt", "last.ckpt"):
            if (path / "checkpoints" / name).is_file():
                return path / "checkpoints" / name
        runs = sorted(folder.parent for folder in path.glob("*/checkpoints"))
        hint = f"; it holds runs, the newest is {runs[-1]}" if runs else ""
        raise FileNotFoundError(
            f"checkpoint: no checkpoints/best.ckpt or last.ckpt in {path}{hint}"
        )
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint: no such file or run folder: {path}")
    return path


def open_checkpoint(path: Path, whole: bool = False) -> dict[str, Any]:
    """Read one of our checkpoints without running code from it.

    Args:
        path: of the file.
        whole: it must also hold what a fit goes on with.

    Raises:
        ValueError: the file is damaged, it is not a checkpoint of this project, or one of its
            weights is not finite.
    """
    content = read_torch(path, "checkpoint")
    if not isinstance(content, dict) or str(content.get("format")) != str(FORMAT):
        raise ValueError(
            f"checkpoint: {path} is not a checkpoint of this project (format {FORMAT})"
        )
    for key, kind in (KEYS | (WHOLE if whole else {})).items():
        if not isinstance(content.get(key), kind) or isinstance(content[key], bool):
            raise ValueError(f"checkpoint: {path} is damaged or foreign (no {key} of a run)")
    if whole and not in_step(content):
        raise ValueError(f"checkpoint: {path} is damaged or foreign (its counters disagree)")
    check_finite(content["state_dict"], path)
    return content


def in_step(content: dict[str, Any]) -> bool:
    """Do our counters say the same as those of Lightning's loops?"""
    try:
        loop = content["loops"]["fit_loop"]
        batches = loop["epoch_loop.batch_progress"]["total"]["ready"]
        optimizer = loop["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]
        steps = optimizer["step"]["total"]["completed"]
        run, groups = content["callbacks"]["Run"], content["optimizer_states"][0]["param_groups"]
        return (
            (batches, steps) == (content["consumed"], content["global_step"])
            and isinstance(run["bytes"], int)
            and run["bytes"] >= 0
            and isinstance(run["metrics"], dict)
            and all(math.isfinite(g["base_lr"]) and g["lr_factor"] >= 0 for g in groups)
            and re.match(r"2\.\d", content["pytorch-lightning_version"]) is not None
        )
    except (KeyError, TypeError, IndexError):
        return False


@dataclass(frozen=True)
class Stored:
    """The encoder that a checkpoint holds, and what is needed to use it."""

    path: Path
    class_path: str
    settings: dict[str, Any]
    spec: DataSpec
    grid: tuple[int, int] | None
    state: dict[str, Tensor]
    classifier: dict[str, Tensor]  # weight and bias over the classes; empty without such a head
    objective: str  # how the names of the objective begin, among which all of these were
    lineage: tuple[Link, ...] = ()  # the trainings behind these weights, the last one first

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


def stored_encoder(path: str | Path, average: bool = True) -> Stored:
    """Open the encoder in a run folder or checkpoint, whatever objective trained it.

    Args:
        path: of either.
        average: its averaged weights, where it has some.
    """
    file = checkpoint_in(Path(path))
    content = open_checkpoint(file)
    about, weights = content["encoder"], content["state_dict"]
    try:
        prefixes = stored_prefixes(content)
        inside, head = prefixes["encoder"], prefixes["head"]
        averaged = prefixes["average"] if average else None
        kept = averaged is not None and any(k.startswith(averaged + inside) for k in weights)
        source = averaged if kept else prefixes["trained"]
        state = tensors_below(weights, source + inside)
        classifier = {} if head is None else tensors_below(weights, source + head)
        grid = tuple(about["grid"]) if about["grid"] else None
        if grid and (len(grid) != 2 or not all(type(n) is int and n > 0 for n in grid)):
            raise ValueError(f"grid {grid}")
        spec, settings = DataSpec.from_dict(about["spec"]), dict(about["settings"])
        kind = str(about["class_path"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"checkpoint: {file} is damaged or foreign (its encoder's description: {error})"
        ) from error
    lineage = lineage_in(content, file)
    return Stored(file, kind, settings, spec, grid, state, classifier, source, lineage)


def load_into(encoder: Encoder, stored: Stored, channels: int) -> str:
    """Copy the stored weights into an encoder and say what was covered.

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
    for field, value in ours["settings"].items():
        if field not in encoder.FREE and value != stored.settings.get(field):
            raise ValueError(
                f"pretrained: {field} is {value} in the config and {stored.settings.get(field)} "
                f"in {stored.path}; set model.encoder: null to take the checkpoint's"
            )
    try:
        state = encoder.adapt(stored.state, stored.grid)
        missing, unused = encoder.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ValueError(
            f"pretrained: the weights in {stored.path} do not fit its own settings "
            f"({str(error).splitlines()[-1].strip()})"
        ) from error
    if missing:
        raise ValueError(
            f"pretrained: {stored.path} lacks {len(missing)} tensors of the encoder, "
            f"{missing[0]} first"
        )
    total = sum(tensor.numel() for tensor in encoder.state_dict().values())
    left = f", not used: {' '.join(unused)}" if unused else ""
    moved = getattr(encoder, "grid", None)
    resized = "" if moved == stored.grid else f", positions resized from {stored.grid} to {moved}"
    return (
        f"pretrained: {len(stored.state)} tensors, {total:,} numbers, 100 % of the encoder "
        f"from {stored.path}{resized}{left}"
    )


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
