"""What commands of a study would do: each kind is built once, and long planning says so."""

import copy
import json
import math
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from vit.compare.command import Command
from vit.data.base import Images

INTERVAL = 10.0  # seconds between lines
PAUSE = 1.0  # seconds; if no dry run was asked for in this time, the message timer starts anew
VARIED = ("trainer.max_steps", "data.label_draw", "seed_everything")


class DryRun(NamedTuple):
    """What a command would do, seen by building everything and running nothing.

    Args:
        settings: all of them, resolved.
        data: the data module.
        flops: of a training step, for one image.
        uses_labels: does the objective?
        parameters: of the objective.
        seconds: of a training step, for one image, on one thread of this machine's CPU.
        views_text: what it sees of an image, in words.
        trivial_baseline: a trained one has the first metric above the second; see
            Objective.trivial_baseline.
    """

    settings: dict[str, Any]
    data: Images
    flops: float
    uses_labels: bool
    parameters: int
    seconds: float
    views_text: str
    trivial_baseline: tuple[str, str] | None

    @property
    def chosen_on(self) -> int:
        """The number of validation images that training does not learn from too."""
        indices = self.data.split_indices()
        return len(set(indices["val"]) - set(indices["train"]))

    def varied(self, steps: int | None, draw: int | None, seed: int | None) -> "DryRun":
        """The same with another length, label draw and seed; None: its own."""
        settings, data = copy.deepcopy(self.settings), copy.copy(self.data)
        if steps is not None:
            settings["trainer"]["max_steps"] = steps
        if draw is not None:
            settings["data"]["init_args"]["label_draw"] = data.label_draw = draw
        if seed is not None:
            settings["seed_everything"] = seed
        return self._replace(settings=settings, data=data)


class DryRuns:
    """Dry runs by command; lengths, label draws and seeds change nothing that takes long to build.

    Args:
        build: makes the dry run of a command.
    """

    def __init__(self, build: Callable[[Command], DryRun]) -> None:
        self.build = build
        self.built: dict[tuple[str, ...], DryRun] = {}
        self.count = 0
        self.last_line = self.last_call = -math.inf

    def __call__(self, command: Command) -> DryRun:
        """What a command would do."""
        if time.monotonic() - self.last_call > PAUSE:
            self.last_line = time.monotonic()
        steps, draw, seed = (whole_number(command, key) for key in VARIED)
        command = command.without(*VARIED)
        key = tuple(command.argv())
        if key not in self.built:
            self.built[key] = self.build(command)
        self.count += 1
        if time.monotonic() - self.last_line > INTERVAL:
            self.last_line = time.monotonic()
            print(f"planning: {self.count:,} commands looked at", file=sys.stderr, flush=True)
        self.last_call = time.monotonic()
        return self.built[key].varied(steps, draw, seed)


def whole_number(command: Command, key: str) -> int | None:
    """A numeric setting of a command; None where it is not there.

    Raises:
        ValueError: it is something else.
    """
    values = command.values(key)
    if not values:
        return None
    text = values[-1] if isinstance(values[-1], str) else json.dumps(values[-1])
    if not text.isdecimal():
        raise ValueError(f"--{key} needs a whole number, got {text!r}")
    return int(text)
