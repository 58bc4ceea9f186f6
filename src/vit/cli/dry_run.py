"""What a command of a study would do: everything is built and nothing run."""

import contextlib
import io
import re
from pathlib import Path

from vit.batch import ViewSpec
from vit.callbacks.run import Plan
from vit.callbacks.run_log import RunLog
from vit.cli.engine import CLI
from vit.cli.errors import UsageError, one_line
from vit.compare.command import Command
from vit.compare.dry_run import DryRun
from vit.data.transforms import Augmentation
from vit.flops import training_flops
from vit.objectives.base import Objective

HERE = {  # planning needs no GPU, also for runs that do
    "trainer.accelerator": "cpu",
    "trainer.devices": 1,
    "trainer.strategy": "auto",
    "trainer.num_nodes": 1,
}


def dry_run(command: Command) -> DryRun:
    """What a fit would do.

    Raises:
        UsageError: what is wrong with it, and which command it was.
    """
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):  # where the parser says what is wrong
            argv = command.with_settings(HERE).argv()[1:]
            built = CLI(argv, Plan("fit", None, Path("logs"), 0, ""), RunLog())
            built.datamodule.prepare_data()
    except (SystemExit, ValueError, FileNotFoundError) as error:
        text = stderr.getvalue().strip().removeprefix("error: ") or one_line(error)
        text = re.sub(r"; did you mean .*", "", text) if isinstance(error, SystemExit) else text
        raise UsageError(f"{text}; the study asks for: {command.shell('')}") from error
    objective = built.model.objective
    changes = augmentation_text(built.datamodule.augmentation)
    return DryRun(
        settings=built.settings,
        data=built.datamodule,
        flops=training_flops(objective, built.model.spec),
        uses_labels=objective.uses_labels,
        parameters=sum(p.numel() for p in objective.parameters()),
        views_text=f"{views_text(objective.views)}; {changes}{unlabelled_text(objective)}",
        trivial_baseline=objective.trivial_baseline,
        validity_protocols=objective.validity_protocols,
        unlabelled=objective.unlabelled,
        lineage=(*built.model.lineage, *objective.lineage),
    )


def augmentation_text(augmentation: Augmentation) -> str:
    """The changes that are made to images, in words."""
    made = {name: value for name, value in vars(augmentation).items() if value}
    return ", ".join(f"{name} {value}" for name, value in made.items()) or "no augmentation"


def unlabelled_text(objective: Objective) -> str:
    """What it sees beside images with a label, in words; empty: nothing."""
    if not objective.unlabelled:
        return ""
    return f"; {objective.unlabelled:.0%} of a batch from all training images, no label read"


def views_text(specs: tuple[ViewSpec, ...]) -> str:
    """The views of an image, in words."""
    return ", ".join(
        f"{v.count} {'whole image' if v.area is None else f'crop of {v.area[0]:g}-{v.area[1]:g}'}"
        + (f" at {v.size} px" if v.size else "")
        + (f", colours +-{v.photometric:g}" if v.photometric else "")
        + (f", {100 * v.blur:g} % blurred" if v.blur else "")
        + (f", {100 * v.solarise:g} % solarised" if v.solarise else "")
        + ("" if v.resample else ", moved by whole pixels only")
        for v in specs
    )
