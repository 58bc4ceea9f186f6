"""What is wrong with a command line: the nearest valid name, the file and line, the new name.

jsonargparse says what it could not parse; here that becomes one line that a person can act on.
"""

import contextlib
import difflib
import inspect
import re
import sys
from dataclasses import is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import torch
from lightning.pytorch import Callback
from lightning.pytorch.cli import LightningArgumentParser

from vit.cli.argv import OPTIONS, VERB_FLAGS
from vit.cli.errors import condense
from vit.cli.once import complain, launch_id
from vit.cli.renamed import CLASSES, KEYS
from vit.cli.synonyms import SYNONYMS
from vit.data.base import Images
from vit.models.base import Encoder
from vit.objectives.base import Objective
from vit.optim.schedules import Schedule
from vit.yaml_text import load_yaml

LEAVES = {  # folders of configs that hold parts of a run, and the option for each
    "data": "--data",
    "augmentation": "--data.augmentation",
    "encoder": "--model.encoder",
    "objective": "--model.objective",
    "trainer": "--trainer",
}
WHOLE_PATHS = {"Muon": "vit.optim.muon.Muon"}  # torch's steps matrices alone


class OneLineParser(LightningArgumentParser):
    """A parser whose errors are one line on stderr and exit code 2."""

    folder = Path()  # where the command was typed: jsonargparse reads a config in its own folder

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """The parsers that it makes for the settings of a class take no abbreviations either."""
        super().__init__(*args, **{"allow_abbrev": False} | kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the line and leave."""
        with contextlib.chdir(self.folder):
            line = explain(str(message), self, sys.argv[1:])
        complain(f"error: {line}", launch_id())
        sys.exit(2)


def explain(message: str, parser: LightningArgumentParser, argv: list[str]) -> str:
    """One line: what is wrong, the nearest valid name, the file it stands in."""
    broken = broken_yaml(argv)
    if broken or "parsing config" in message:
        return broken or condense(message)
    line, known = condense(message), known_keys(parser)
    if old_class := renamed_class(argv):
        return old_class
    lost = lost_file(line, argv) or unknown_value(line) or foreign_setting(line, argv)
    if lost:
        return lost
    wrong = wrong_key(line, known)
    if wrong and (now := KEYS.get(wrong.rpartition(".")[2])):
        return f"{line}: it is called {now} now{where(wrong, argv)}"
    meant = meant_by(wrong, known, "arguments: --" in line) if wrong else None
    if meant and meant != wrong:
        return f"{line}; did you mean {meant}?{where(wrong, argv)}"
    return line + suggestion(line, wrong, known) + (where(wrong, argv) if wrong else "")


def meant_by(wrong: str, known: set[str], typed: bool) -> str | None:
    """The key that other programs call so; of a typed one, nearly so where none of ours is nearer.

    Args:
        wrong: the key.
        known: keys that there are.
        typed: on the command line, not in a file.
    """
    parent, _, leaf = wrong.rpartition(".")
    siblings = {key.rpartition(".")[2] for key in known if key.rpartition(".")[0] == parent}
    if leaf in SYNONYMS or not typed:
        return SYNONYMS.get(leaf)
    near = difflib.get_close_matches(leaf, {*SYNONYMS, *siblings}, 1, cutoff=0.8)
    return SYNONYMS.get(near[0]) if near and near[0] not in siblings else None


def renamed_class(argv: list[str]) -> str:
    """A class by the name that it had before, in a command line or its files; else nothing."""
    texts = [*argv, *(word.partition("=")[2] for word in argv)]
    for file in config_files(argv):
        texts += strings(load_yaml(file.read_text(errors="replace"), str(file)))
    for text in texts:
        for old, now in CLASSES.items():
            if re.search(rf"(^|[^\w.]){re.escape(old)}($|[^\w.])", text):
                return f"{old} is called {now} now; change the name in the file or command"
    return ""


def broken_yaml(argv: list[str]) -> str | None:
    """Which file it is, and where."""
    for file in config_files(argv):
        try:
            load_yaml(file.read_text(errors="replace"), str(file))
        except ValueError as error:
            return str(error)
    return None


def lost_file(line: str, argv: list[str]) -> str | None:
    """A YAML file of the command line that is not there, or has no option before it."""
    for before, word in zip(["", *argv], argv, strict=False):
        option, equals, value = word.partition("=")
        path = value if equals else word
        if not path.endswith((".yaml", ".yml")):
            continue
        if not Path(path).is_file():
            return f"{path}: no such file" + nearest_file(path)
        if "--config" in (before, option) and Path(path).parent.name in LEAVES:
            return f"{path}: one part of a run; use {LEAVES[Path(path).parent.name]} {path}"
        if "unrecognized" in line and not equals and not before.startswith("-"):
            return f"{path}: which option? --config {path}"
    return None


def unknown_value(line: str) -> str | None:
    """A value that is neither a number, nor a file, nor a class."""
    refused = re.search(
        r"([\w.]+): Expected a path but (\S+) either not accessible or invalid", line
    )
    if not refused:
        return None
    key, value = refused.groups()
    for kind, word in (("float", "number"), ("int", "whole number")):
        if f"expected {kind}" in line:
            return f"{full_key(key, value)}: expected a {word}, got {value}"
    classes = [f.__name__ for f in families()] + [
        name for name in dir(torch.optim) if name[0] != "_"
    ]
    near = difflib.get_close_matches(value, classes, 1)
    hint = f"; did you mean {near[0]!r}?" if near else nearest_file(value)
    if value in classes:  # known, and not of the kind that is wanted or that is found by its name
        hint = "; give its whole path, such as " + WHOLE_PATHS.get(value, f"torch.optim.{value}")
    return f"{key}: {value!r} is neither a file nor a class{hint}"


def foreign_setting(line: str, argv: list[str]) -> str | None:
    """A setting that the chosen class does not have; the message names only its end."""
    refused = re.search(r"unrecognized arguments: --([\w.]+)", line)
    for word in argv if refused else []:
        key = word.split("=")[0].removeprefix("--")
        if key.endswith("." + refused[1]):
            part, (first, _, inner) = key.removesuffix("." + refused[1]), refused[1].partition(".")
            group = next((g for g in (groups(f).get(first) for f in families()) if g), None)
            if group is None or not inner:
                return f"{part}: the class chosen there has no setting {first!r}"
            near = difflib.get_close_matches(inner, vars(group), 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            return f"{part}.{first}: there is no setting {inner!r}{hint}"
    return None


def full_key(leaf: str, value: str) -> str:
    """The whole key of a value on the command line; messages from inside a part name its end."""
    for before, word in pairwise([*sys.argv, ""]):
        key, _, given = before.partition("=")
        if key.startswith("--") and key.endswith(leaf) and value in (word, given):
            return key.removeprefix("--")
    return leaf


def nearest_file(path: str) -> str:
    """A config whose name is close."""
    files = {file.stem: file for file in sorted(Path("configs").rglob("*.yaml"))}
    near = difflib.get_close_matches(Path(path).stem, files, 1)
    return f"; did you mean {files[near[0]]}?" if near else ""


def wrong_key(line: str, known: set[str]) -> str | None:
    """The key that a message complains of, up to its first part that nobody knows."""
    named = re.search(r"[Oo]ption '([\w.]+)'|arguments?: --([\w.]+)", line)
    if not named:
        return None
    parts = next(group for group in named.groups() if group).split(".")
    for end in range(1, len(parts)):
        if not any(
            key == ".".join(parts[:end]) or key.startswith(".".join(parts[:end]) + ".")
            for key in known
        ):
            return ".".join(parts[:end])
    return ".".join(parts)


def suggestion(line: str, wrong: str | None, known: set[str]) -> str:
    """The nearest valid name, where one is close."""
    if wrong is None:
        missing = re.search(r"has no attribute '(\w+)'", line)
        near = (
            difflib.get_close_matches(missing[1], [f.__name__ for f in families()], 1)
            if missing
            else []
        )
    else:
        parent, _, leaf = wrong.rpartition(".")
        siblings = {name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == parent}
        near = difflib.get_close_matches(leaf, siblings, 1) or difflib.get_close_matches(
            leaf, {name.rpartition(".")[2] for name in known}, 1
        )
    return f"; did you mean {near[0]!r}?" if near else ""


def known_keys(parser: LightningArgumentParser) -> set[str]:
    """Keys of the parser, and the arguments of every class that YAML can name."""
    keys = {action.dest for action in parser._actions if action.dest}
    keys |= {option.removeprefix("--") for option in (*OPTIONS, *VERB_FLAGS["fit"])}
    for family in families():
        keys |= set(inspect.signature(family.__init__).parameters)
        keys |= {key for group in groups(family).values() for key in vars(group)}
    return keys - {"self", "spec", "loading", "args", "kwargs"}


def families() -> list[type]:
    """The encoders, objectives, schedules, data modules and callbacks of ours that are loaded."""
    classes, todo = [], [Images, Encoder, Objective, Schedule, Callback]
    while todo:
        family = todo.pop()
        classes.append(family)
        todo += [child for child in family.__subclasses__() if child.__module__.startswith("vit.")]
    return classes


def groups(family: type) -> dict[str, Any]:
    """Arguments of a class whose defaults are groups of settings, such as an objective's crops."""
    defaults = {k: p.default for k, p in inspect.signature(family.__init__).parameters.items()}
    return {k: default for k, default in defaults.items() if is_dataclass(default)}


def where(wrong: str, argv: list[str]) -> str:
    """The file and line of a key, if a config has it."""
    leaf = wrong.rpartition(".")[2]
    if any(word.split("=")[0].endswith((f"--{wrong}", f".{wrong}")) for word in argv):
        return ""  # typed, not read
    for file in config_files(argv):
        for number, text in enumerate(file.read_text().splitlines(), 1):
            if re.search(rf"(^|[\s{{,]){re.escape(leaf)}\s*:", text.partition("#")[0]):
                return f"  ({file}, line {number})"
    return ""


def config_files(argv: list[str]) -> list[Path]:
    """The YAML files of a command line, and those that they name."""
    files, todo = [], [Path(word.partition("=")[2] or word) for word in argv]
    while todo:
        path = todo.pop(0)
        if path in files or path.suffix not in (".yaml", ".yml") or not path.is_file():
            continue
        files.append(path)
        try:
            content = load_yaml(path.read_text(errors="replace"), str(path))
        except ValueError:
            continue
        todo += [path.parent / text for text in strings(content)]
    return files


def strings(content: object) -> list[str]:
    """Every string value in nested YAML."""
    if isinstance(content, dict):
        return [text for value in content.values() for text in strings(value)]
    if isinstance(content, list):
        return [text for value in content for text in strings(value)]
    return [content] if isinstance(content, str) else []
