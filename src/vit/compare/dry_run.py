"""What commands of a study would do: each kind is built once, and long planning says so."""

import copy
import json
import math
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from vit.compare.command import Command
from vit.compare.job import FORWARD, SPEED, START
from vit.data.base import Images
from vit.data.partly_labelled import every_image
from vit.models.lineage import Link

EVALUATION = 5.0  # seconds of the protocols' own work and of the start
INTERVAL = 10.0  # seconds between lines
PAUSE = 1.0  # seconds; if no dry run was asked for in this time, the message timer starts anew
VARIED = ("trainer.max_steps", "data.label_draw", "data.val_draw", "seed_everything")


class DryRun(NamedTuple):
    """What a command would do, seen by building everything and running nothing.

    Args:
        settings: all of them, resolved.
        data: the data module.
        flops: of a training step, for one image.
        uses_labels: does the objective?
        parameters: of the objective.
        views_text: what it sees of an image, in words.
        trivial_baseline: a trained one has the first metric above the second; see
            Objective.trivial_baseline.
        lineage: the trainings behind the weights that it starts from, and behind its teacher's.
        validity_protocols: that suit the objective, the best first; see Objective.
        unlabelled: fraction of a training batch that needs no label; see Objective.
    """

    settings: dict[str, Any]
    data: Images
    flops: float
    uses_labels: bool
    parameters: int
    views_text: str
    trivial_baseline: tuple[str, str] | None
    lineage: tuple[Link, ...] = ()
    validity_protocols: tuple[str, ...] = ()
    unlabelled: float = 0.0

    @property
    def learned_from(self) -> dict[str, str]:
        """The hash of each split that training reads, and of all images where it reads those."""
        hashes = {split: self.data.split_hash(split) for split in ("train", "val")}
        if not self.unlabelled:
            return hashes
        return hashes | {"every image": every_image(self.data).split_hash("train")}

    @property
    def chosen_on(self) -> int:
        """The number of validation images that training does not learn from too."""
        indices = self.data.split_indices()
        return len(set(indices["val"]) - set(indices["train"]))

    @property
    def fit_seconds(self) -> float:
        """The time of the whole fit, guessed from its FLOPs."""
        steps, batch = self.settings["trainer"]["max_steps"], self.data.batch_size
        counts, trainer = self.data.spec.counts, self.settings["trainer"]
        interval = trainer.get("val_check_interval") or 1.0
        if not isinstance(interval, int):  # a fraction of an epoch, or of several
            epochs = interval * (trainer.get("check_val_every_n_epoch") or 1)
            interval = max(epochs * (counts["train"] // batch), 1)
        images = steps * batch + math.ceil(steps / interval) * counts["val"] * FORWARD
        return START + self.flops * images / SPEED

    @property
    def feature_seconds(self) -> float:
        """The time in which an encoder sees every picture once, guessed from FLOPs."""
        images = sum(self.data.spec.counts.values())
        return self.flops * images * FORWARD / SPEED

    def varied(
        self, steps: int | None, draw: int | None, val_draw: int | None, seed: int | None
    ) -> "DryRun":
        """The same with another length, other draws and another seed; None: its own."""
        settings, data = copy.deepcopy(self.settings), copy.copy(self.data)
        if steps is not None:
            settings["trainer"]["max_steps"] = steps
        if draw is not None:
            settings["data"]["init_args"]["label_draw"] = data.label_draw = draw
        if val_draw is not None:
            settings["data"]["init_args"]["val_draw"], data = val_draw, data.redrawn(val_draw)
        if seed is not None:
            settings["seed_everything"] = seed
        return self._replace(settings=settings, data=data)


class DryRuns:
    """Dry runs by command; lengths, draws and seeds change nothing that takes long to build.

    Args:
        build: makes the dry run of a command.
    """

    def __init__(self, build: Callable[[Command], DryRun]) -> None:
        self.build = build
        self.built: dict[tuple[str, ...], DryRun] = {}
        self.known: dict[tuple, DryRun] = {}  # by command and what was varied
        self.count = 0
        self.last_line = self.last_call = -math.inf

    def __call__(self, command: Command) -> DryRun:
        """What a command would do."""
        if time.monotonic() - self.last_call > PAUSE:
            self.last_line = time.monotonic()
        values = [whole_number(command, key) for key in VARIED]
        command = command.without(*VARIED)
        key = tuple(command.argv())
        if key not in self.built:
            self.built[key] = self.build(command)
        if (key, *values) not in self.known:
            self.known[key, *values] = self.built[key].varied(*values)
        self.count += 1
        if time.monotonic() - self.last_line > INTERVAL:
            self.last_line = time.monotonic()
            print(f"planning: {self.count:,} commands looked at", file=sys.stderr, flush=True)
        self.last_call = time.monotonic()
        return self.known[key, *values]


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
