"""The command line of a study as the YAML parser reads it: lists, data of all parts, weights."""

import json
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from vit.cli.errors import UsageError
from vit.cli.suggestions import nearest_file
from vit.compare.study import FINETUNE, Budget
from vit.yaml_text import load_yaml

LISTS = ("--arms", "--protocols", "--controls")


def split_data_options(argv: list[str]) -> tuple[list[str], dict[str, Any], str | None]:
    """A command line without --data and --data.KEY; those keys, for all data; and the file."""
    rest, shared, other, left = [], {}, None, iter(argv)
    for word in left:
        key, equals, value = word.partition("=")
        if key == "--data":
            other = value if equals else next(left, "")
        elif key.startswith("--data."):
            value = value if equals else next(left, "")
            if not value or value.startswith("--"):
                raise UsageError(f"{key} needs a value")
            shared[key.removeprefix("--data.")] = load_yaml(value, key)
        else:
            rest += [key, value] if equals else [word]
    if other is not None and not Path(other).is_file():
        raise UsageError(f"--data: {other}: no such file{nearest_file(other)}")
    return rest, shared, other


def typed_as_yaml(argv: list[str]) -> list[str]:
    """The argv, `a,b` turned into `[a,b]`, and a `--budget.*` key replacing the file's budget."""
    argv = with_weights(argv)
    for i, (key, value) in enumerate(pairwise(argv), 1):
        if key in LISTS and value not in ("all", "null") and not value.startswith("["):
            argv[i] = f"[{'' if value == 'none' else value}]"
    typed = {word for word in argv if word.startswith("--budget.")}
    for kind in fields(Budget) if typed else ():
        option = f"--budget.{kind.name}"
        argv += [] if option in typed else [option, "null"]
    return argv


def with_weights(argv: list[str]) -> list[str]:
    """The argv with the words behind --weights as one list; --finetune in the study's own keys.

    Raises:
        UsageError: --weights names none.
    """
    out, left = [], list(argv)
    while left:
        word = left.pop(0)
        if word == "--finetune":
            word, left = "--frozen_only", ["false", "--primary.protocol", FINETUNE, *left]
        out.append(word)
        if word == "--weights":
            count = next((i for i, w in enumerate(left) if w.startswith("--")), len(left))
            if not count:
                raise UsageError("--weights needs files, folders or names of released encoders")
            names, left = left[:count], left[count:]
            out.append(names[0] if names[0].startswith("[") else json.dumps(names))
    return out
