"""One command of a study, what it is for, and what is known of it before it runs."""

import copy
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from vit.data.base import Images

UPSTREAM = "{upstream}"  # in a command: the folder, not yet made, of the run before
Stage = Literal["pretrain", "tune", "transfer", "test", "probe", "control"]
Point = tuple[str, float] | None  # an axis and its value; None: as declared


class Place(NamedTuple):
    """Where in a study something is measured.

    Args:
        data: name of the task.
        seed: of the run.
        draw: number of the label draw.
        point: where on which axis.
        fold: which part of the data is tested; None: its own test split.
        final: is this the fit that is tested?
    """

    data: str
    seed: int = 0
    draw: int = 0
    point: Point = None
    fold: int | None = None
    final: bool = False

    @property
    def factor(self) -> float:
        """Of the pre-training budget."""
        return self.point[1] if self.point and self.point[0] == "budget" else 1.0


class Asked(NamedTuple):
    """What a command would do, found by building everything and running nothing.

    Args:
        settings: all of them, resolved.
        data: the data module.
        flops: of a training step, for one image.
        uses_labels: does the objective?
        parameters: of the objective.
        seconds: of a training step, for one image, on one thread of this machine's CPU.
        views: what it sees of an image, in words.
        trivial_baseline: of a trained one the first metric is above the second; see
            Objective.trivial_baseline.
    """

    settings: dict[str, Any]
    data: Images
    flops: float
    uses_labels: bool
    parameters: int
    seconds: float
    views: str
    trivial_baseline: tuple[str, str] | None

    @property
    def chosen_on(self) -> int:
        """Validation images that training does not learn from too."""
        places = self.data.split_indices()
        return len(set(places["val"]) - set(places["train"]))

    def varied(self, steps: int | None, draw: int | None) -> "Asked":
        """The same with another length and another label draw."""
        settings, data = copy.deepcopy(self.settings), copy.copy(self.data)
        if steps is not None:
            settings["trainer"]["max_steps"] = steps
        if draw is not None:
            settings["data"]["init_args"]["label_draw"] = data.label_draw = draw
        return self._replace(settings=settings, data=data)


@dataclass(frozen=True)
class Step:
    """One command.

    Args:
        id: equal for equal results.
        kind: the verb.
        stage: what it is for.
        arm: of the study, or a control.
        seed: of the run.
        draw: number of the label draw; -1 where none is made.
        data: name of the task; empty for a pre-training.
        point: where on which axis.
        trial: learning rate as a power of the study's factor.
        words: of the command, the verb first.
        needs: ids of steps that come first; the first one's folder is UPSTREAM.
        flops: of all its training steps.
        images: it trains on, counted over all its steps.
        labels: it learns from: training images of a labelled objective or protocol.
        validation: labelled images that choices may look at.
        tested: images of the test split.
        parameters: of the objective.
        seconds: that it may take, on one thread of this machine's CPU.
        about: what the id is the hash of.
        fold: which part of the data is tested; None: its own test split.
    """

    id: str
    kind: Literal["fit", "test", "evaluate"]
    stage: Stage
    arm: str
    seed: int
    words: tuple[str, ...]
    draw: int = -1
    data: str = ""
    point: Point = None
    trial: int = 0
    needs: tuple[str, ...] = ()
    flops: float = 0.0
    images: int = 0
    labels: int = 0
    validation: int = 0
    tested: int = 0
    parameters: int = 0
    seconds: float = 5.0
    about: dict[str, Any] = field(default_factory=dict, hash=False, compare=False)
    fold: int | None = None

    @property
    def label(self) -> str:
        """For people."""
        parts = [self.arm, self.stage, self.data, f"seed {self.seed}"]
        parts += [f"draw {self.draw}"] if self.draw > 0 else []
        parts += [f"fold {self.fold}"] if self.fold is not None else []
        parts += [f"{self.point[0]} {self.point[1]:g}"] if self.point else []
        parts += [f"lr x{self.trial:+d}"] if self.stage == "tune" else []
        return " ".join(part for part in parts if part)
