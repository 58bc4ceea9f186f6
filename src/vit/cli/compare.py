"""The verb compare: read a study from YAML and the command line, and hand it to its runner."""

import os
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser

from vit.cli.argv import folder_name, nearest_option, usable
from vit.cli.dry_run import dry_run
from vit.cli.errors import UsageError, condense
from vit.cli.recorded import trusted_modules
from vit.cli.renamed import KEYS
from vit.cli.study_argv import split_data_options, typed_as_yaml
from vit.cli.suggestions import nearest_file
from vit.cli.time_steps import time_steps
from vit.compare.given_weights import arms_of, given_weights
from vit.compare.plan import Planner
from vit.compare.runner import COMMAND, Runner
from vit.compare.store import Store
from vit.compare.study import Arm, ConfigPatch, Study, expanded, relative
from vit.compare.validation import validate_study
from vit.evaluate.catalogue import defaults
from vit.yaml_text import load_yaml

ARMS = Path("configs/compare/arms")  # a folder `arms` beside the study comes before it
ROOM = "compare"  # the folder of all studies, below --logs
RUNS = "runs"  # the folder of all studies' runs, beside those of their results
MOST_AT_A_TIME = 512
FLAGS = ("--dry-run", "--list", "--rerun-stale")


def compare(options: dict[str, str], rest: list[str], main: Callable[[list[str]], int]) -> int:
    """Everything from the YAML to the table.

    Args:
        options: our own.
        rest: the study and keys of it.
        main: the command line that runs each job; a function of a module.
    """
    torch.set_num_threads(1)
    if "--report" in options:
        return report_again(options, rest)
    flags = {flag for flag in FLAGS if flag in rest}
    rest = [word for word in rest if word not in FLAGS]
    if options.get("--emit", "slurm") != "slurm":
        raise UsageError(f"--emit: unknown {options['--emit']!r}; known: slurm")
    trust = options.get("--trust")
    trusted_modules(trust)
    runner = planned(options, rest)
    if "--emit" in options:
        return runner.emit()
    if flags & {"--dry-run", "--list"}:
        return runner.describe("--list" in flags)
    return runner.run(partial(trusting, main, trust) if trust else main, "--rerun-stale" in flags)


def planned(options: dict[str, str], rest: list[str]) -> Runner:
    """The study of a command line, planned and checked; nothing has been run.

    Args:
        options: our own.
        rest: the study and keys of it.
    """
    study, arms, file = read_study(rest)
    logs, name = Path(options.get("--logs", "logs")) / ROOM, options.get("--name", file.stem)
    if folder_name(name, "--name") == RUNS:
        raise UsageError(f"--name: {RUNS!r} holds the runs of all studies; give another")
    folder, store = usable(logs / name), Store(usable(logs / RUNS))
    planner = Planner(study, arms, dry_run, defaults, str(logs / RUNS / "cache"))
    command = shlex.join(["python", "train.py", "compare", *rest])
    return Runner(planner, store, folder, at_a_time(options.get("--jobs")), time_steps, command)


def report_again(options: dict[str, str], rest: list[str]) -> int:
    """Write the report of a study's folder anew from what is on disk, running nothing.

    Args:
        options: our own; `--report` names the folder.
        rest: nothing.

    Raises:
        UsageError: it is no folder of a study's results.
    """
    folder = Path(options["--report"])
    if rest or len(options) > 1:
        extra = " ".join([*rest, *(key for key in options if key != "--report")])
        raise UsageError(f"--report takes a study's folder alone, got {extra}; leave it out")
    file = folder / COMMAND
    if not file.is_file() or folder.absolute().parent.name != ROOM:
        raise UsageError(
            f"--report: {folder} is no folder of a study's results, with a {COMMAND}; name one, "
            "such as logs/compare/quick"
        )
    logs = os.path.relpath(folder.absolute().parent.parent)  # as it was typed, mostly
    argv = shlex.split(file.read_text())[3:]
    return planned({"--logs": logs, "--name": folder.absolute().name}, argv).rebuild()


def trusting(main: Callable[[list[str]], int], trust: str, argv: list[str]) -> int:
    """Call `main` with `--trust` appended."""
    more = ["--trust", trust]
    sys.argv += more  # what the run records as its command
    return main([*argv, *more])


def at_a_time(text: str | None) -> int | None:
    """The number of runs at a time; None: the machine decides."""
    if text is None:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= MOST_AT_A_TIME:
        raise UsageError(f"--jobs must be a number from 1 to {MOST_AT_A_TIME}, got {text[:20]}")
    return int(text)


def read_study(argv: list[str]) -> tuple[Study, dict[str, Arm], Path]:
    """The study of a command line and its arms, checked; paths as seen from here.

    Raises:
        UsageError: what is wrong, and in which file and key.
    """
    argv, shared, other = split_data_options(argv)
    file = next((Path(b) for a, b in pairwise(argv) if a == "--config"), None)
    if file is None:
        raise UsageError("compare: say which study: --config configs/compare/quick.yaml")
    study = parse_dataclass(Study, typed_as_yaml(argv), file)
    study.encoder = existing(study.encoder, file, "encoder")
    study.trainer = study.trainer and existing(study.trainer, file, "trainer")
    study.finetune.config = existing(study.finetune.config, file, "finetune.config")
    for key, patch in patches_of(study).items():
        patch.config = other or existing(patch.config, file, f"{key}.config")
    arms = read_arms(study, file)
    try:
        arms |= arms_of(study.weights or (), study.weights_px, arms)
        if study.frozen_only:  # an arm that begins with the task has no features before it
            arms = {k: arm for k, arm in arms.items() if arm.pretrain or arm.pretrained}
        study.transfer = expanded(study.transfer)
        for patch in patches_of(study).values():
            patch.set |= shared
        validate_study(study, arms)
    except ValueError as error:
        raise UsageError(f"{file}: {error}") from error
    return study, arms, file


def patches_of(study: Study) -> dict[str, ConfigPatch]:
    """All data of a study, by where it stands."""
    patches = {f"transfer.{name}": patch for name, patch in study.transfer.items()}
    if study.pretrain:
        patches["pretrain.labelled"] = study.pretrain.labelled
    if study.pretrain and study.pretrain.unlabelled:
        patches["pretrain.unlabelled"] = study.pretrain.unlabelled
    return patches


def read_arms(study: Study, file: Path) -> dict[str, Arm]:
    """The arms of a study, by name."""
    arms = {}
    for path in arm_files(study, file):
        if path.stem in arms:
            raise UsageError(f"{file}: arms: {path.stem} twice; each file needs a name of its own")
        arm = read_arm(path)
        if arm.on_request and study.arms == "all":
            continue
        arms[folder_name(path.stem, f"{path}: the arm", room=len(".0123456789"))] = arm
    return arms


def read_arm(path: Path) -> Arm:
    """An arm from its file; paths as seen from here."""
    arm = parse_dataclass(Arm, ["--config", str(path)], path)
    arm.pretrain = arm.pretrain and existing(arm.pretrain, path, "pretrain")
    arm.encoder = arm.encoder and existing(arm.encoder, path, "encoder")
    if arm.pretrained:
        beside = relative(arm.pretrained, path)
        arm.pretrained = beside if Path(beside).exists() else arm.pretrained  # a name, perhaps
        try:
            given_weights(arm.pretrained)
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: pretrained: {error}") from error
    return arm


def existing(path: str, file: Path, key: str) -> str:
    """A file that a study or an arm names, as seen from here.

    Raises:
        UsageError: it is not there.
    """
    try:
        from_here = relative(path, file)
        there = Path(from_here).is_file()
    except OSError as error:  # its name is too long, say
        raise UsageError(f"{file}: {key}: {path[:80]!r}: {error.strerror}") from error
    if not there:
        what = "a folder, and a file is needed" if Path(from_here).is_dir() else "no such file"
        raise UsageError(f"{file}: {key}: {path}: {what}{nearest_file(path)}")
    return from_here


def parse_dataclass(kind: type, argv: list[str], file: Path) -> Any:
    """A dataclass from YAML files and keys; one line where they do not fit."""
    for name in (name for key, name in pairwise(argv) if key == "--config"):
        if not Path(name).is_file():
            raise UsageError(f"{name}: no such file{nearest_file(name)}")
        if not isinstance(load_yaml(Path(name).read_text(errors="replace"), name), dict):
            keys = ", ".join(part.name for part in fields(kind)[:4])
            raise UsageError(f"{name}: holds no keys; it needs some, such as {keys}")
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config")
    parser.add_class_arguments(kind)
    try:
        values = parser.instantiate(parser.parse_args(argv))
    except Exception as error:  # whatever jsonargparse meets, said in one line
        text = re.sub(r"Expected a typing.Literal\[(.*?)\]", r"expected one of \1", str(error))
        text = re.sub(r"\. Got value: (.*)", r", got \1", text)
        text = condense(text).partition("; start from a file")[0]
        wrong = re.search(r"Option '(?:[\w.]+\.)?(\w+)' is not accepted", text)
        now = KEYS.get(wrong[1]) if wrong else None
        hint = f": it is called {now} now" if now else ""
        typed = re.search(r"unrecognized arguments: (--\S+)", text)
        near = [f"--{part.name}" for part in fields(kind)]
        hint = nearest_option(typed[1], "compare", near) if typed else hint
        raise UsageError(f"{file}: {text}{hint}") from error
    return kind(**{part.name: values[part.name] for part in fields(kind)})


def arm_files(study: Study, file: Path) -> list[Path]:
    """The files of the arms, in the study's order."""
    folders = [folder for folder in (file.parent / "arms", ARMS) if folder.is_dir()]
    if study.arms == "all":
        return [path for folder in folders[:1] for path in sorted(folder.glob("*.yaml"))]
    files = []
    for name in study.arms:
        paths = [folder / f"{name}.yaml" for folder in folders]
        # a path is relative to the study's file, or, as typed on the command line, to the cwd
        paths = [file.parent / name, Path(name)] if name.endswith(".yaml") else paths
        there = [path for path in paths if path.is_file()]
        if not there:
            names = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
            where = f" (looked for {', '.join(map(str, paths))})" if "." in name else ""
            known = f"known: {', '.join(names)}, and paths of files"
            raise UsageError(f"{file}: arms: no file for {name!r}{where}; {known}")
        files.append(there[0])
    return files
