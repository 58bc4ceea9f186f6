"""One line for every mistake: where it stands, what it was, what to do."""

import difflib
import inspect
import re
import sys
from pathlib import Path
from typing import NoReturn

import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

# lines of jsonargparse's nested reports that say nothing beyond the others
NOISE = (
    "Does not validate",
    "Subtypes:",
    "Errors:",
    "Given value",
    "Expected a <class 'NoneType'>",
)


class UsageError(Exception):
    """The command line asks for something that cannot be; exit code 2."""


class OneLineParser(LightningArgumentParser):
    """A parser whose errors are one line on stderr and exit code 2."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the line and leave."""
        line = condense(str(message))
        line += suggestion(line, self) + where(line, sys.argv[1:])
        print(f"error: {line}", file=sys.stderr)
        sys.exit(2)


def one_line(error: BaseException) -> str:
    """An exception's message without line breaks."""
    text = " ".join(str(error).split())
    if isinstance(error, (ValueError, FileNotFoundError)) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def condense(message: str) -> str:
    """jsonargparse's report without its nesting."""
    lines = [line.strip(" -") for line in message.splitlines()]
    kept = [line for line in lines if line and not line.startswith(NOISE)]
    telling = [
        line for line in kept if re.search(r"not accepted|unrecognized|does not exist", line)
    ]
    return " ".join(dict.fromkeys(telling or kept))


def suggestion(line: str, parser: LightningArgumentParser) -> str:
    """The nearest valid key, where one is close."""
    wrong = re.search(r"Option '([\w.]+)'|option '([\w.]+)'|arguments?: --([\w.]+)", line)
    if not wrong:
        return ""
    key = next(group for group in wrong.groups() if group)
    parent, _, leaf = key.rpartition(".")
    known = known_keys(parser)
    siblings = {name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == parent}
    near = difflib.get_close_matches(leaf, siblings or known, 1, 0.6)
    near = near or difflib.get_close_matches(leaf, {n.rpartition(".")[2] for n in known}, 1, 0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def known_keys(parser: LightningArgumentParser) -> set[str]:
    """Keys of the parser, and the arguments of every class that YAML can name."""
    keys = {action.dest for action in parser._actions if action.dest}
    for family in families():
        for parameter in inspect.signature(family.__init__).parameters:
            keys.add(parameter)
    return keys - {"self", "spec", "loading", "args", "kwargs"}


def families() -> list[type]:
    """All encoders, objectives, schedules and data modules that are imported."""
    from vit.data.base import Images
    from vit.models.base import Encoder
    from vit.objectives.base import Objective
    from vit.optim import Schedule

    found, todo = [], [Images, Encoder, Objective, Schedule]
    while todo:
        family = todo.pop()
        found.append(family)
        todo += family.__subclasses__()
    return found


def where(line: str, argv: list[str]) -> str:
    """The file and line number of the key that a message names, if a config has it."""
    quoted = re.findall(r"'([\w.]+)'", line)
    for name in quoted[:1]:
        leaf = name.rpartition(".")[2]
        for file in config_files(argv):
            for number, text in enumerate(file.read_text().splitlines(), 1):
                if re.match(rf"\s*{re.escape(leaf)}\s*:", text):
                    return f"  ({file}, line {number})"
    return ""


def config_files(argv: list[str]) -> list[Path]:
    """The YAML files of a command line, and those that they name."""
    found, todo = [], [Path(word.partition("=")[2] or word) for word in argv]
    while todo:
        path = todo.pop(0)
        if path in found or path.suffix not in (".yaml", ".yml") or not path.is_file():
            continue
        found.append(path)
        try:
            content = yaml.safe_load(path.read_text())
        except yaml.YAMLError:
            continue
        todo += [path.parent / value for value in _strings(content)]
    return found


def _strings(content: object) -> list[str]:
    if isinstance(content, (dict, Namespace)):
        return [text for value in dict(content).values() for text in _strings(value)]
    return [content] if isinstance(content, str) else []
