"""One command line, held as settings until somebody runs it, shows it or writes it to a file."""

import json
import shlex
from dataclasses import dataclass, field, replace
from typing import Any

from vit.compare.study import ConfigPatch

UPSTREAM = "{upstream}"  # stands for the folder, not yet made, of the run before


@dataclass(frozen=True)
class Command:
    """What stands behind `python train.py`.

    Files come first, each with its own keys behind it, and whole keys last: what stands later wins.

    Args:
        verb: fit, test or evaluate.
        files: what each option names, in order: `{"config": recipe, "data": task}`.
        settings: whole keys and their values, in order; a key may stand twice.
        subject: the run or checkpoint that evaluate looks at.
    """

    verb: str
    files: dict[str, ConfigPatch] = field(default_factory=dict)
    settings: tuple[tuple[str, Any], ...] = ()
    subject: str = ""

    def with_settings(self, *layers: dict[str, Any]) -> "Command":
        """The same with more settings behind the others."""
        added = [pair for layer in layers for pair in layer.items()]
        return replace(self, settings=(*self.settings, *added))

    def with_file(self, old: str, option: str, path: str) -> "Command":
        """The same with another option and file in the place of one."""
        new = option, ConfigPatch(path)
        files = dict(new if name == old else (name, patch) for name, patch in self.files.items())
        return replace(self, files=files)

    def without(self, *keys: str) -> "Command":
        """The same without some keys, wherever they stand."""
        files = {
            option: replace(
                patch, set={k: v for k, v in patch.set.items() if f"{option}.{k}" not in keys}
            )
            for option, patch in self.files.items()
        }
        settings = tuple(pair for pair in self.settings if pair[0] not in keys)
        return replace(self, files=files, settings=settings)

    def values(self, key: str) -> list[Any]:
        """What a key is set to, in order: the last counts."""
        option, _, inner = key.rpartition(".")
        patch = self.files.get(option)
        first = [patch.set[inner]] if patch and inner in patch.set else []
        return first + [value for name, value in self.settings if name == key]

    def argv(self, upstream: str = UPSTREAM) -> list[str]:
        """The command line, verb first.

        Args:
            upstream: what UPSTREAM becomes.
        """
        pairs: list[tuple[str, Any]] = []
        for option, patch in self.files.items():
            pairs.append((option, patch.config))
            pairs += [(f"{option}.{key}", value) for key, value in patch.set.items()]
        argv = [self.verb, self.subject] if self.subject else [self.verb]
        for key, value in (*pairs, *self.settings):
            argv += [f"--{key}", value if isinstance(value, str) else json.dumps(value)]
        return [upstream if word == UPSTREAM else word for word in argv]

    def shell(self, upstream: str) -> str:
        """The line that a person types.

        Args:
            upstream: what UPSTREAM becomes: a pattern or an expression of the shell, not quoted.
        """
        argv = ["python", "train.py", *self.argv()]
        return " ".join(upstream if word == UPSTREAM else shlex.quote(word) for word in argv)
