"""The verb compare: read a study, plan it, run what it lacks, report."""

import contextlib
import io
import re
import shlex
import time
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentParser

from vit.batch import ViewSpec, black
from vit.callbacks.run import Plan
from vit.callbacks.run_folder import hold
from vit.callbacks.run_log import RunLog
from vit.cli import main
from vit.cli.engine import CLI
from vit.cli.errors import UsageError, condense, nearest_file, one_line
from vit.compare.conduct import Conductor
from vit.compare.plan import Planner
from vit.compare.refusals import check
from vit.compare.step import Asked
from vit.compare.store import Store
from vit.compare.study import Arm, Budget, Study, relative
from vit.data.transforms import Augmentation
from vit.evaluate.catalogue import defaults
from vit.flops import training_flops

ARMS = Path("configs/compare/arms")  # a folder `arms` beside the study comes before it
HERE = ("--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.strategy", "auto",
        "--trainer.num_nodes", "1")  # planning needs no GPU, also for runs that do  # fmt: skip
LISTS = ("--arms", "--protocols", "--controls")
FLAGS = ("--dry-run", "--rerun-stale")


def compare(own: dict[str, str], rest: list[str]) -> int:
    """Everything from the YAML to the table."""
    flags = {flag for flag in FLAGS if flag in rest}
    rest = [word for word in rest if word not in FLAGS]
    torch.set_num_threads(1)
    study, arms, file = read(rest)
    logs, name = Path(own.get("--logs", "logs")) / "compare", own.get("--name", file.stem)
    if Path(name).name != name or name == "runs":
        raise UsageError(f"--name: {name!r} is no name for a study's folder")
    folder, store = logs / name, Store(logs / "runs")
    planner = Planner(study, arms, ask, lambda names: {name: defaults(name) for name in names})
    conductor = Conductor(planner, store, folder, jobs_of(own))
    if "--emit" in own:
        return conductor.emit(own["--emit"])
    if "--dry-run" in flags:
        return conductor.describe()
    folder.mkdir(parents=True, exist_ok=True)
    hold(folder)
    return conductor.carry_out(main, "--rerun-stale" in flags)


def jobs_of(own: dict[str, str]) -> int | None:
    """How many at a time, where it was said."""
    text = own.get("--jobs")
    if text is None:
        return None
    if not text.isdigit() or int(text) < 1:
        raise UsageError(f"--jobs must be a number from 1, got {text}")
    return int(text)


def read(words: list[str]) -> tuple[Study, dict[str, Arm], Path]:
    """The study of a command line and its arms, checked; paths as seen from here."""
    words, shared, other = data_keys(words)
    file = next((Path(b) for a, b in pairwise(words) if a == "--config"), None)
    if file is None:
        raise UsageError("compare: say which study: --config configs/compare/quick.yaml")
    if not file.is_file():
        raise UsageError(f"{file}: no such file{nearest_file(str(file))}")
    study = parsed(Study, as_yaml(words), file)
    study.encoder = relative(study.encoder, file)
    study.trainer = study.trainer and relative(study.trainer, file)
    study.finetune.config = relative(study.finetune.config, file)
    parts = list(study.transfer.values())
    if study.pretrain:
        parts += [p for p in (study.pretrain.labelled, study.pretrain.unlabelled) if p]
    for part in parts:
        part.config = other or relative(part.config, file)
        part.set |= shared
    arms = {}
    for path in arm_files(study, file):
        arm = parsed(Arm, ["--config", str(path)], path)
        arm.pretrain = arm.pretrain and relative(arm.pretrain, path)
        arm.encoder = arm.encoder and relative(arm.encoder, path)
        arm.pretrained = arm.pretrained and relative(arm.pretrained, path)
        if path.stem in arms:
            raise UsageError(f"{file}: arms: {path.stem} twice; each file wants a name of its own")
        arms[path.stem] = arm
    try:
        check(study, arms)
    except ValueError as error:
        raise UsageError(f"{file}: {error}") from error
    return study, arms, file


def parsed(kind: type, words: list[str], file: Path) -> Any:
    """A dataclass from YAML and words; one line where they do not fit."""
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config")
    parser.add_class_arguments(kind)
    try:
        values = parser.instantiate(parser.parse_args(words))
    except Exception as error:  # whatever jsonargparse meets, said in one line
        text = condense(str(error)).partition("; start from a file")[0]
        raise UsageError(f"{file}: {text}") from error
    return kind(**{part.name: values[part.name] for part in fields(kind)})


def data_keys(words: list[str]) -> tuple[list[str], dict[str, Any], str | None]:
    """--data and --data.root, say, which mean all data of the study, apart from the rest."""
    rest, shared, other, left = [], {}, None, iter(words)
    for word in left:
        key, equals, value = word.partition("=")
        if key == "--data":
            other = value if equals else next(left, "")
        elif key.startswith("--data."):
            value = value if equals else next(left, "")
            if not value or value.startswith("--"):
                raise UsageError(f"{key} needs a value")
            shared[key.removeprefix("--data.")] = yaml.safe_load(value)
        else:
            rest += [key, value] if equals else [word]
    if other is not None and not Path(other).is_file():
        raise UsageError(f"--data: {other}: no such file{nearest_file(other)}")
    return rest, shared, other


def as_yaml(words: list[str]) -> list[str]:
    """Lists as evaluate takes them, and a typed budget instead of the file's."""
    words = list(words)
    for i, (key, value) in enumerate(pairwise(words), 1):
        if key in LISTS and value not in ("all", "null") and not value.startswith("["):
            words[i] = f"[{'' if value == 'none' else value}]"
    typed = {word for word in words if word.startswith("--budget.")}
    for kind in fields(Budget) if typed else ():
        other = f"--budget.{kind.name}"
        words += [] if other in typed else [other, "null"]
    return words


def arm_files(study: Study, file: Path) -> list[Path]:
    """The files of the arms, in the study's order."""
    folders = [folder for folder in (file.parent / "arms", ARMS) if folder.is_dir()]
    if study.arms == "all":
        return [path for folder in folders[:1] for path in sorted(folder.glob("*.yaml"))]
    found = []
    for name in study.arms:
        paths = [folder / f"{name}.yaml" for folder in folders]
        paths = [file.parent / name] if name.endswith(".yaml") else paths
        there = [path for path in paths if path.is_file()]
        if not there:
            known = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
            raise UsageError(f"{file}: arms: no file for {name!r}; known: {', '.join(known)}")
        found.append(there[0])
    return found


def ask(words: tuple[str, ...]) -> Asked:
    """What a fit would do: everything is built and nothing run.

    Raises:
        UsageError: what is wrong with it, and which command it was.
    """
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):  # where the parser says what is wrong
            built = CLI([*words[1:], *HERE], Plan("fit", None, Path("logs"), 0, ""), RunLog())
            built.datamodule.prepare_data()
    except (SystemExit, ValueError, FileNotFoundError) as error:
        text = told.getvalue().strip().removeprefix("error: ") or one_line(error)
        text = re.sub(r"; did you mean .*", "", text) if isinstance(error, SystemExit) else text
        line = shlex.join(["python", "train.py", *words])
        raise UsageError(f"{text}; the study asks for: {line}") from error
    objective = built.model.objective
    return Asked(
        settings=built.settings,
        data=built.datamodule,
        flops=training_flops(objective, built.model.spec),
        uses_labels=objective.uses_labels,
        parameters=sum(p.numel() for p in objective.parameters()),
        seconds=measured(built),
        views=f"{views(objective.views)}; {changes(built.datamodule.augmentation)}",
        floor=objective.floor,
    )


def measured(built: CLI) -> float:
    """Seconds a training step takes for one image, from one small step."""
    objective, count = built.model.objective, 8
    batch = black(built.model.spec, objective.views, count)
    took = []
    for _ in range(2):  # the first also sets up
        start = time.perf_counter()
        objective(batch, 0.0).loss.backward()
        took.append(time.perf_counter() - start)
    return took[-1] / count


def changes(augmentation: Augmentation) -> str:
    """Those that are made, in words."""
    made = {name: value for name, value in vars(augmentation).items() if value}
    return ", ".join(f"{name} {value}" for name, value in made.items()) or "no augmentation"


def views(specs: tuple[ViewSpec, ...]) -> str:
    """In words."""
    return ", ".join(
        f"{v.count} {'whole image' if v.area is None else f'crop of {v.area[0]:g}-{v.area[1]:g}'}"
        + (f" at {v.size} px" if v.size else "")
        + (f", colours +-{v.photometric:g}" if v.photometric else "")
        + (f", {100 * v.blur:g} % blurred" if v.blur else "")
        + (f", {100 * v.solarise:g} % solarised" if v.solarise else "")
        + ("" if v.resample else ", moved by whole pixels only")
        for v in specs
    )
