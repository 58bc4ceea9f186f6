"""The verb compare: read a study, plan it, run what it lacks, report."""

import contextlib
import io
import re
import shlex
import sys
import time
from dataclasses import fields
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser

from vit.batch import ViewSpec, dummy_batch
from vit.callbacks.run import Plan
from vit.callbacks.run_folder import hold
from vit.callbacks.run_log import RunLog
from vit.cli import main
from vit.cli.argv import folder_name, usable
from vit.cli.engine import CLI
from vit.cli.errors import UsageError, condense, one_line
from vit.cli.recorded import trusted_modules
from vit.cli.suggestions import nearest_file
from vit.compare.job import Asked
from vit.compare.plan import Planner
from vit.compare.runner import Conductor
from vit.compare.store import Store
from vit.compare.study import Arm, Budget, Study, relative
from vit.compare.validation import check
from vit.data.transforms import Augmentation
from vit.evaluate.catalogue import defaults
from vit.flops import training_flops
from vit.models.weights import checkpoint_in
from vit.yaml_text import load

ARMS = Path("configs/compare/arms")  # a folder `arms` beside the study comes before it
HERE = ("--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.strategy", "auto",
        "--trainer.num_nodes", "1")  # planning needs no GPU, also for runs that do  # fmt: skip
RUNS = "runs"  # the folder of all studies' runs, beside those of their results
SPEED = 2e10  # floating-point operations of one thread in a second, about
PATIENCE = 10 * SPEED
LISTS = ("--arms", "--protocols", "--controls")
MOST_JOBS = 512
FLAGS = ("--dry-run", "--rerun-stale")


def compare(own: dict[str, str], rest: list[str]) -> int:
    """Everything from the YAML to the table."""
    flags = {flag for flag in FLAGS if flag in rest}
    rest = [word for word in rest if word not in FLAGS]
    torch.set_num_threads(1)
    study, arms, file = read(rest)
    logs, name = Path(own.get("--logs", "logs")) / "compare", own.get("--name", file.stem)
    if folder_name(name, "--name") == RUNS:
        raise UsageError(f"--name: {RUNS!r} holds the runs of all studies; give another")
    folder, store = usable(logs / name), Store(usable(logs / RUNS))
    planner = Planner(study, arms, ask, lambda names: {name: defaults(name) for name in names})
    conductor = Conductor(planner, store, folder, jobs_of(own))
    if "--emit" in own:
        return conductor.emit(own["--emit"])
    if "--dry-run" in flags:
        return conductor.describe()
    folder.mkdir(parents=True, exist_ok=True)
    hold(folder)
    for file in (folder / "results.csv", folder / "report.md"):  # written when hours are spent
        if file.is_dir():
            raise UsageError(f"{file} is a folder, and the study writes a file there; remove it")
    trust = own.get("--trust")
    trusted_modules(trust)
    return conductor.carry_out(
        partial(trusting, trust) if trust else main, "--rerun-stale" in flags
    )


def trusting(trust: str, words: list[str]) -> int:
    """A run of a study whose stored settings may name classes of these modules."""
    more = ["--trust", trust]
    sys.argv += more  # what the run records as its command
    return main([*words, *more])


def jobs_of(own: dict[str, str]) -> int | None:
    """How many at a time, where it was said."""
    text = own.get("--jobs")
    if text is None:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= MOST_JOBS:
        raise UsageError(f"--jobs must be a number from 1 to {MOST_JOBS}, got {text[:20]}")
    return int(text)


def read(words: list[str]) -> tuple[Study, dict[str, Arm], Path]:
    """The study of a command line and its arms, checked; paths as seen from here."""
    words, shared, other = data_keys(words)
    file = next((Path(b) for a, b in pairwise(words) if a == "--config"), None)
    if file is None:
        raise UsageError("compare: say which study: --config configs/compare/quick.yaml")
    study = parsed(Study, as_yaml(words), file)
    study.encoder = seen(study.encoder, file, "encoder")
    study.trainer = study.trainer and seen(study.trainer, file, "trainer")
    study.finetune.config = seen(study.finetune.config, file, "finetune.config")
    parts = {f"transfer.{name}": part for name, part in study.transfer.items()}
    if study.pretrain:
        own = {"labelled": study.pretrain.labelled, "unlabelled": study.pretrain.unlabelled}
        parts |= {f"pretrain.{name}": part for name, part in own.items() if part}
    for key, part in parts.items():
        part.config = other or seen(part.config, file, f"{key}.config")
        part.set |= shared
    arms = {}
    for path in arm_files(study, file):
        if path.stem in arms:
            raise UsageError(f"{file}: arms: {path.stem} twice; each file needs a name of its own")
        arms[folder_name(path.stem, f"{path}: the arm", room=len(".0123456789"))] = arm_of(path)
    try:
        check(study, arms)
    except ValueError as error:
        raise UsageError(f"{file}: {error}") from error
    return study, arms, file


def arm_of(path: Path) -> Arm:
    """An arm from its file; paths as seen from here."""
    arm = parsed(Arm, ["--config", str(path)], path)
    arm.pretrain = arm.pretrain and seen(arm.pretrain, path, "pretrain")
    arm.encoder = arm.encoder and seen(arm.encoder, path, "encoder")
    if arm.pretrained:
        arm.pretrained = relative(arm.pretrained, path)
        try:
            checkpoint_in(Path(arm.pretrained))
        except FileNotFoundError as error:
            raise UsageError(f"{path}: pretrained: {error}") from error
    return arm


def seen(path: str, file: Path, key: str) -> str:
    """A file that a study or an arm names, as seen from here.

    Raises:
        UsageError: it is not there.
    """
    try:
        found = relative(path, file)
        there = Path(found).is_file()
    except OSError as error:  # its name is too long, say
        raise UsageError(f"{file}: {key}: {path[:80]!r}: {error.strerror}") from error
    if not there:
        what = "a folder, and a file is needed" if Path(found).is_dir() else "no such file"
        raise UsageError(f"{file}: {key}: {path}: {what}{nearest_file(path)}")
    return found


def parsed(kind: type, words: list[str], file: Path) -> Any:
    """A dataclass from YAML and words; one line where they do not fit."""
    for name in (name for key, name in pairwise(words) if key == "--config"):
        if not Path(name).is_file():
            raise UsageError(f"{name}: no such file{nearest_file(name)}")
        if not isinstance(load(Path(name).read_text(errors="replace"), name), dict):
            keys = ", ".join(part.name for part in fields(kind)[:4])
            raise UsageError(f"{name}: holds no keys; it needs some, such as {keys}")
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config")
    parser.add_class_arguments(kind)
    try:
        values = parser.instantiate(parser.parse_args(words))
    except Exception as error:  # whatever jsonargparse meets, said in one line
        told = re.sub(r"Expected a typing.Literal\[(.*?)\]", r"expected one of \1", str(error))
        told = re.sub(r"\. Got value: (.*)", r", got \1", told)
        text = condense(told).partition("; start from a file")[0]
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
            shared[key.removeprefix("--data.")] = load(value, key)
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
    flops = training_flops(objective, built.model.spec)
    return Asked(
        settings=built.settings,
        data=built.datamodule,
        flops=flops,
        uses_labels=objective.uses_labels,
        parameters=sum(p.numel() for p in objective.parameters()),
        seconds=measured(built, flops),
        views=f"{views(objective.views)}; {changes(built.datamodule.augmentation)}",
        trivial_baseline=objective.trivial_baseline,
    )


def measured(built: CLI, flops: float) -> float:
    """Seconds a training step takes for one image, from one small step; guessed where it is long.

    Args:
        built: what takes it.
        flops: of the step, for one image.
    """
    count = min(8, int(PATIENCE / max(flops, 1.0)))
    if count < 2:  # some objectives compare images
        return flops / SPEED
    objective = built.model.objective
    batch = dummy_batch(built.model.spec, objective.views, count)
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
