"""This project's own checkpoints: find the file, open it, take the encoder out."""

import math
import re
from pathlib import Path
from typing import Any

from vit.batch import DataSpec
from vit.models.lineage import lineage_in
from vit.models.prefixes import stored_prefixes, tensors_below
from vit.models.torch_files import check_finite, read_torch
from vit.models.weights.graph_export import refuse_graph, what_lies_there
from vit.models.weights.opening import INSIDE, weights_in
from vit.models.weights.stored import Stored

FORMAT = 1
KEYS = {"config": str, "encoder": dict, "global_step": int, "state_dict": dict}  # what is read
WHOLE = {  # what else a fit goes on with, and Lightning reads
    "callbacks": dict, "consumed": int, "epoch": int, "loops": dict, "lr_schedulers": list,
    "optimizer_states": list, "pytorch-lightning_version": str, "seed": int, "validated": int,
}  # fmt: skip


class ForeignError(ValueError):
    """A file that this project did not write."""


def checkpoint_in(path: Path) -> Path:
    """The file that a run folder or a path means: best.ckpt, else last.ckpt."""
    if path.is_dir():
        for name in ("best.ckpt", "last.ckpt"):
            if (path / "checkpoints" / name).is_file():
                return path / "checkpoints" / name
        refuse_graph(path)
        if weights_in(path):
            raise FileNotFoundError(
                f"checkpoint: {path} holds released weights, and a run or a checkpoint is needed; "
                f"begin a run with them: --model.pretrained {path}"
            )
        raise FileNotFoundError(
            f"checkpoint: no checkpoints/best.ckpt or last.ckpt in {path}, nor {INSIDE[0]} or "
            f"{INSIDE[2]} of released weights{what_lies_there(path)}"
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
        ForeignError: it is not a checkpoint of this project.
    """
    content = read_torch(path, "checkpoint")
    if not isinstance(content, dict) or str(content.get("format")) != str(FORMAT):
        raise ForeignError(
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


def encoder_in(file: Path, average: bool = True) -> Stored:
    """The encoder in a checkpoint of ours, whatever objective trained it.

    Args:
        file: the checkpoint.
        average: its averaged weights, where it has some.
    """
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
        shown = dict(content.get("preprocessing", {}))
        kind = str(about["class_path"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"checkpoint: {file} is damaged or foreign (its encoder's description: {error})"
        ) from error
    lineage = lineage_in(content, file)
    return Stored(
        file, kind, settings, spec, grid, state, classifier, source, lineage, shown, averaged=kept
    )
