"""What each verb does: fit, resume, validate, test, predict; the rest have files beside it."""

import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vit import lightning_workarounds as workarounds
from vit import parser_workarounds
from vit.batch import DataSpec
from vit.callbacks.checkpoints import newest_good
from vit.callbacks.run import Plan, Run, callback_of
from vit.callbacks.run_folder import CONFIG, read_config, read_json
from vit.callbacks.run_log import RunLog
from vit.callbacks.terminal import outlive_terminals
from vit.cli.all_keys import augmentation_help
from vit.cli.argv import (
    FROM_MAY,
    OPTIONS,
    RESUME_MAY,
    VERB_OPTIONS,
    checkpoint_and_folder,
    config_of,
    folder_to_resume,
    names_data,
    only,
    parent_folder,
    split_options,
    typed_command,
)
from vit.cli.compare import compare
from vit.cli.engine import CLI
from vit.cli.errors import DISK, Failure, UsageError, disk, misconfigured, misfit, one_line
from vit.cli.evaluate import evaluate
from vit.cli.find import find_settings
from vit.cli.once import complain, launch_id
from vit.cli.prepare import run_prepare
from vit.cli.recorded import importable, settings_of, trusted_modules
from vit.cli.report import finish, interrupted, kept, saved, say, stopped_by, warn
from vit.cli.suggestions import broken_yaml, renamed_class
from vit.data.content import has_changed, relabelling
from vit.models.weights import checkpoint_in, open_checkpoint


def run(verb: str, argv: list[str], main: Callable[[list[str]], int]) -> int:
    """One verb, and one line for whatever goes wrong; `main` runs the commands of a study."""
    debug, every_key, launch = "--debug" in argv, "--help-all" in argv, launch_id()
    argv = ["--help" if word == "--help-all" else word for word in argv if word != "--debug"]
    outlive_terminals()
    workarounds.quieten()
    parser_workarounds.forget_other_class_arguments()
    parser_workarounds.bound_yaml()
    workarounds.no_broadcast_after_every_step()
    workarounds.end_a_fit_without_steps()
    torch.set_float32_matmul_precision("high")  # TF32 on GPUs that have it; no effect on CPUs
    try:
        options, rest = split_options(argv, (*OPTIONS, *VERB_OPTIONS.get(verb, ())))
        with parser_workarounds.importing(None):
            if verb == "compare":
                return compare(options, rest, main)
            if verb in VERBS:
                return VERBS[verb](options, rest)
            return apply_run(verb, options, rest)
    except (UsageError, Failure) as error:
        complain(f"error: {error}", launch)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:  # before Lightning listens for it
        print("interrupted before the start", file=sys.stderr)
        return 130
    except SystemExit as stop:  # the parser's own exits, and Lightning's after an interruption
        return ended_by(stop, every_key)
    except Exception as error:  # the end of the road: one line for people, a traceback on demand
        if debug:
            traceback.print_exc()
        line, code = answer(error, argv)
        hint = "" if code == 2 or debug or isinstance(error, OSError) else "  (--debug shows where)"
        complain(f"error: {line}{hint}", launch)
        return code


def ended_by(stop: SystemExit, every_key: bool) -> int:
    """The exit code of what ended itself; the parser's help gets the keys that it does not show."""
    if every_key:
        print(augmentation_help())
    return stop.code if isinstance(stop.code, int) else 1


def answer(error: Exception, argv: list[str]) -> tuple[str, int]:
    """What to say of whatever went wrong, and the exit code."""
    broken = broken_yaml(argv) if isinstance(error, UnicodeDecodeError) else None
    if broken or misfit(error):
        return broken or misfit(error), 2
    if isinstance(error, OSError) and error.errno in DISK:
        return f"{disk(error)}; make room or choose another place, and type it again", 1
    if old_class := renamed_class(argv):
        return old_class, 2
    usage = isinstance(error, (ValueError, OSError)) or misconfigured(error)
    return one_line(error), 2 if usage else 1


def fit(options: dict[str, str], rest: list[str]) -> int:
    """Train; with --resume, go on with an interrupted run in its own folder."""
    if "--from" in options:
        raise UsageError(
            "fit: --from belongs to validate, test and predict; to start from a "
            "run's weights use --model.pretrained, to go on with it --resume"
        )
    trusted, files = trusted_modules(options.get("--trust")), RunLog()
    if "--resume" not in options:
        parent, find = parent_folder(options, rest), "--find" in rest
        plan = Plan("fit", None, parent, 0, typed_command(), trusted=trusted)
        if find:
            rest.remove("--find")
            chosen = find_settings(rest)
            rest, plan.texts = [*rest, *chosen.settings], chosen.files
        return train(CLI(rest, plan, files), files, None)
    folder = folder_to_resume(options["--resume"])
    if read_json(folder / "summary.json").get("status") == "completed":
        say(f"{folder} is complete; nothing to resume")
        return 0
    start, base, plan = resumed(folder, trusted)
    rest = ["--config", base, *only(rest, RESUME_MAY, "--resume")]
    return train(CLI(rest, plan, files, importable(trusted)), files, start)


def train(cli: CLI, files: RunLog, start: str | None) -> int:
    """The fit and the test after it, and what to say of whatever ends them early."""
    try:
        cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=start, weights_only=True)
        if cli.config.test_after_fit:
            weights = str(checkpoint_in(files.folder))
            cli.trainer.test(
                cli.model, cli.datamodule, ckpt_path=weights, weights_only=True, verbose=False
            )
    except SystemExit:  # Lightning's answer to Ctrl-C
        return interrupted(cli, files)
    except FloatingPointError as error:
        where = f" in {files.folder}" if files.folder else ""
        raise Failure(f"{error}; {saved(cli, files)}{where}") from error
    except OSError as error:  # a full disk, an image that is gone
        if error.errno is None or files.folder is None:
            raise  # our own words, or nothing was begun
        error.filename = error.filename or str(files.folder)
        raise Failure(f"{disk(error)}; {kept(cli, files)}") from error
    return finish(cli, files)


def resumed(folder: Path, trusted: tuple[str, ...]) -> tuple[str | None, str, Plan]:
    """Checkpoint, config and plan of a run to go on with; its settings are the checkpoint's."""
    start = resume_from(folder)
    if start:
        text = open_checkpoint(Path(start))["config"]
        base = config_of(settings_of(text, Path(start), trusted), Path(start), [])
        warn_of_edits(folder, text, start)
    else:
        text = base = read_config(folder)
        settings_of(text, folder / CONFIG, trusted)
    plan = Plan(
        "fit",
        folder,
        folder.parent,
        0,
        typed_command(),
        resuming=True,
        config=text,
        trusted=trusted,
    )
    return start, base, plan


def warn_of_edits(folder: Path, text: str, start: str) -> None:
    """Hold the folder's file against the settings in the checkpoint.

    Raises:
        ValueError: it is whole and says something else: the checkpoint is another run's.
    """
    try:
        same = read_config(folder) == text
    except ValueError:
        warn(f"{folder / CONFIG} was edited; a run goes on with the settings it began with")
        return
    if not same:
        raise ValueError(
            f"--resume: {start} is of another run than {folder / CONFIG}; put the run's own "
            "checkpoint back"
        )


def resume_from(folder: Path) -> str | None:
    """The newest good checkpoint; a damaged one is named and passed over."""
    start, damaged = newest_good(folder)
    for line in damaged:
        warn(f"{line}; going on from {start or 'the beginning'}")
    return str(start) if start else None


def apply_run(verb: str, options: dict[str, str], rest: list[str]) -> int:
    """Validate, test or predict with the weights and the config of a run or checkpoint."""
    if "--resume" in options:
        raise UsageError(f"{verb}: --resume belongs to fit; use --from")
    if "--from" not in options:
        raise UsageError(f"{verb}: say what to {verb}: --from <run folder | checkpoint>")
    trusted = trusted_modules(options.get("--trust"))
    file, folder = checkpoint_and_folder(options["--from"], options, verb)
    content = open_checkpoint(file, whole=True)
    settings = settings_of(content["config"], file, trusted)
    files = RunLog()
    plan = Plan(
        verb,
        folder,
        parent_folder(options, ["--config", f"{verb}.yaml"]),
        0,
        typed_command(),
        summary=f"summary.{verb}.json",
        extra={"checkpoint": str(file)},
        config=content["config"],
        trusted=trusted,
    )
    argv = ["--config", config_of(settings, file, rest), *only(rest, FROM_MAY, f"{verb} --from")]
    cli = CLI(argv, plan, files, importable(trusted))
    if verb == "predict" and not hasattr(cli.model.objective, "predict"):
        kind = type(cli.model.objective).__name__
        raise UsageError(f"predict: {kind} predicts no classes; fine-tune it first, see README")
    if hasattr(cli.model.objective, "predict"):
        count_as_trained(cli, content["encoder"]["spec"], file)
    if not names_data(rest):
        warn_of_change(cli, content, "val" if verb == "validate" else "test")
    apply = getattr(cli.trainer, verb)
    quiet = {"return_predictions": False} if verb == "predict" else {"verbose": False}
    try:
        apply(cli.model, cli.datamodule, ckpt_path=str(file), weights_only=True, **quiet)
    except SystemExit:  # Lightning's answer to Ctrl-C
        print(f"interrupted; type the {verb} again", file=sys.stderr)
        return stopped_by(cli)
    callback_of(cli.trainer, Run).metrics |= cli.model.results
    return finish(cli, files)


def count_as_trained(cli: CLI, trained_on: dict[str, Any], file: Path) -> None:
    """Hold the data's classes against those that a head was trained on.

    Raises:
        ValueError: they are others.
    """
    given, trained = cli.model.spec, DataSpec.from_dict(trained_on)
    if given.multi_label != trained.multi_label:
        kinds = ("one label an image", "several")
        raise ValueError(
            f"data: {file} was trained on {kinds[trained.multi_label]}, this data has "
            f"{kinds[given.multi_label]}"
        )
    cli.datamodule.relabelling = relabelling(given.classes, trained.classes, str(file))
    if cli.datamodule.relabelling:
        cli.model.spec = replace(given, classes=trained.classes)
        say("data: its classes stand in another order than the checkpoint's; matched by name")


def warn_of_change(cli: CLI, content: dict[str, Any], split: str) -> None:
    """Say so where the run's own data is no longer what it was."""
    before = content.get(type(cli.datamodule).__qualname__, {})
    if has_changed(before, cli.datamodule, split):
        warn(
            f"the {split} split is not the one of the training: files, labels or splits were "
            "changed, and images that were learned from may be in it"
        )


def export(options: dict[str, str], rest: list[str]) -> int:
    """Write a model for others."""
    from vit.cli.export import run_export  # torch.export is slow to load, and only needed here

    return run_export(options, rest)


VERBS = {"fit": fit, "evaluate": evaluate, "prepare": run_prepare, "export": export}
