"""What a run prints when it is done or stopped: what was reached, what is kept, what to type."""

import itertools
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from vit.callbacks.checkpoints import Checkpoints, newest_good
from vit.callbacks.confusion_matrix import ConfusionMatrix
from vit.callbacks.interruption import Interruption
from vit.callbacks.run import Run, callback_of
from vit.callbacks.run_log import RunLog
from vit.callbacks.speed import Speed
from vit.cli.engine import CLI
from vit.data import ImageFolder
from vit.module import ViTModule

FRACTIONS = (  # endings of their names; shown in percent
    "accuracy",
    "accuracy_random",
    "top5",
    "most_common",
    "probe/knn",
    "probe/knn_random",
    "probe/knn_pixels",
    "probe/linear",
)

SAME_PICTURES = tuple(  # keys that say which pictures are trained on and tested, beside the root
    f"--data.{key}" for key in ("labels", "classes", "keep_splits", "folds", "fold", "val_fraction")
)


@rank_zero_only
def say(line: str) -> None:
    """Print a line for people, once for all ranks."""
    print(line, flush=True)


@rank_zero_only
def warn(line: str) -> None:
    """Print a line of what was passed over, once for all ranks."""
    print(f"warning: {line}", file=sys.stderr, flush=True)


def finish(cli: CLI, files: RunLog) -> int:
    """Write the summary and say what was reached, what to type next, and where it lies."""
    speed, run = callback_of(cli.trainer, Speed).summary(cli.model), callback_of(cli.trainer, Run)
    run.finish(cli.trainer, cli.model, "completed", speed)
    tables = [c.lines for c in cli.trainer.callbacks if isinstance(c, ConfusionMatrix)]
    figures = summary_table(run.metrics, speed, older(cli))
    for line in [*figures, *interval_lines(run.plan.extra), *itertools.chain(*tables)]:
        say(line)
    if cli.plan.verb in ("fit", "test"):
        for line in next_lines(cli.model, run, cli.datamodule, sys.argv):
            say(line)
    say(f"run: {files.folder}")
    return 0


def interrupted(cli: CLI, files: RunLog) -> int:
    """One line after Ctrl-C: what is kept, and how to go on."""
    if rank_zero_only.rank == 0:
        print(f"interrupted at step {cli.trainer.global_step}; {kept(cli, files)}", file=sys.stderr)
    return stopped_by(cli)


def stopped_by(cli: CLI) -> int:
    """The exit code of a run that a signal has stopped, as shells count them."""
    return 128 + (callback_of(cli.trainer, Interruption).signal or signal.SIGINT)


def kept(cli: CLI, files: RunLog) -> str:
    """What is there after a stop, and how to go on from it."""
    how = f"; go on with: python train.py fit --resume {files.folder}" if files.folder else ""
    return saved(cli, files) + how


def saved(cli: CLI, files: RunLog) -> str:
    """What a stopped run left."""
    if files.folder is None:
        return "nothing was begun"
    step = callback_of(cli.trainer, Checkpoints).saved_step
    if step >= 0:
        return f"the last checkpoint is of step {step}"
    older = newest_good(files.folder)[0]
    return "the checkpoint is the one it began with" if older else "there is no checkpoint yet"


def summary_table(metrics: dict[str, float], speed: dict[str, float], note: str = "") -> list[str]:
    """One line per value; fractions in percent."""
    lines = [f"{name:<28} {as_text(name, value)}" for name, value in metrics.items()]
    lines += [note] if note else []
    if speed:
        parts = [f"{speed['images_per_second']:,.0f} images/s"]
        parts += [f"{speed['data_wait']:.1%} of it waiting for data"]
        parts += [f"{speed['memory_gb']:.2f} GB"]
        if "mfu" in speed:
            parts += [f"{speed['mfu']:.1%} of the data sheet's peak"]
        lines.append(f"{'speed':<28} {', '.join(parts)}")
    return lines


def as_text(name: str, value: float) -> str:
    """A fraction in percent, anything else as it is."""
    return f"{100 * value:.1f} %" if name.endswith(FRACTIONS) else f"{value:.4f}"


def interval_lines(extra: dict[str, Any]) -> list[str]:
    """How sure a test accuracy is, where there is one."""
    if "test/images" not in extra:
        return []
    low, high, least = (
        100 * extra[f"test/accuracy_{key}"] for key in ("low", "high", "detectable")
    )
    return [
        f"{'95 % interval of accuracy':<28} {low:.1f} to {high:.1f} %; differences below "
        f"{least:.1f} points cannot be seen with {extra['test/images']:,} images"
    ]


def older(cli: CLI) -> str:
    """A warning where the last validation was not of the last weights."""
    step = cli.model.validated
    if cli.plan.verb != "fit" or step in (-1, cli.trainer.global_step):
        return ""
    return f"{'note':<28} val/ figures are of step {step}, not of the last one"


def next_lines(module: ViTModule, run: Run, data: Any, argv: list[str]) -> list[str]:
    """What people mostly do after such a fit or test, to be pasted.

    Args:
        module: trained, or tested.
        run: its metrics and its folder.
        data: what it was fitted to, or tested on.
        argv: the command line.
    """
    folder, script = run.files.folder, "python train.py"
    weights = shlex.quote(str(run.plan.extra.get("checkpoint", folder)))
    if (folder / "checkpoints").is_dir():
        weights = shlex.quote(str(folder))
    if not hasattr(module.eval_objective, "predict"):
        recipe = f"configs/finetune/default.yaml {data_argv(argv)}"
        if isinstance(data, ImageFolder):
            recipe = f"configs/finetune/own_images.yaml {pictures_argv(data, argv)}"
        return [f"next: {script} fit --config {recipe}--model.pretrained {weights}"]
    if not any(name.startswith("test/") for name in run.metrics):
        return [f"next: {script} test --from {weights}"]
    pictures = f" --images {loose_pictures(data)}" if isinstance(data, ImageFolder) else ""
    return [
        f"next: {script} predict --from {weights}{pictures}",
        f"  or: {script} export {weights} --to onnx",
    ]


def loose_pictures(data: ImageFolder) -> str:
    """A folder of pictures to predict, as a shell takes it: the tested ones where they have one."""
    test = data.root / "test"
    return from_here(test if test.is_dir() else data.root)


def from_here(path: Path) -> str:
    """A path as a shell in this folder takes it."""
    inside = path.is_relative_to(Path.cwd())
    return shlex.quote(str(path.relative_to(Path.cwd()) if inside else path))


def pictures_argv(data: ImageFolder, argv: list[str]) -> str:
    """The words that give own_images.yaml the same pictures; others where these have no classes."""
    if len(data.spec.classes) < 2:
        return "--data.root <pictures, a folder a class> "
    kept = "".join(f"{word} " for word in kept_words(argv, SAME_PICTURES))
    return f"--data.root {from_here(data.root)} {kept}"


def kept_words(argv: list[str], keys: tuple[str, ...]) -> list[str]:
    """Those options of a command line, with their values, as a shell takes them."""
    kept, inside = [], False
    for word in argv:
        if word.startswith("-"):
            inside = word.split("=")[0] in keys
        if inside:
            kept.append(shlex.quote(word))
    return kept


def data_argv(argv: list[str]) -> str:
    """The part of a command line that chose the data, to be typed again."""
    return "".join(f"{word} " for word in kept_words(argv, ("--data", "--data.root")))
