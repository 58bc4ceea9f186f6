"""One run of a study: where in the study it stands, what it is for, and what it costs."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from vit.compare.command import Command

SPEED = 2e10  # floating-point operations of one thread in a second, about
START = 3.0  # seconds of a run beside its steps, about
FORWARD = 1 / 3  # of a training step's operations

Stage = Literal["pretrain", "tune", "transfer", "test", "probe", "control"]
Point = tuple[str, float] | None  # an axis and its value; None: as declared


class Repetition(NamedTuple):
    """One of the repetitions over which an arm's accuracy on a task varies.

    Args:
        arm: of the study.
        data: name of the task.
        seed: of the run.
        draw: of labels and of validation images.
        fold: which part of the data is tested; None: its own test split.
    """

    arm: str
    data: str
    seed: int
    draw: int
    fold: int | None


class Cell(NamedTuple):
    """Where in a study something is measured.

    Args:
        data: name of the task.
        seed: of the run.
        draw: number of the label draw.
        point: where on which axis.
        fold: which part of the data is tested; None: its own test split.
        final: is this the fit that is tested?
        val_draw: which images are validated on; 0 where somebody gave them.
    """

    data: str
    seed: int = 0
    draw: int = 0
    point: Point = None
    fold: int | None = None
    final: bool = False
    val_draw: int = 0

    @property
    def factor(self) -> float:
        """What the pre-training budget is multiplied by."""
        return self.point[1] if self.point and self.point[0] == "budget" else 1.0


@dataclass(frozen=True)
class Job:
    """One run.

    Args:
        id: equal for equal results.
        command: makes it.
        stage: what it is for.
        arm: of the study, or a control.
        seed: of the run.
        draw: number of the label draw; -1 where none is made.
        data: name of the task; empty for a pre-training.
        point: where on which axis.
        trial: learning-rate steps from the arm's own, the exponent of the study's factor.
        needs: ids of jobs that come first; the first one's folder is UPSTREAM.
        flops: of all its training steps.
        images: it trains on, counted over all its steps.
        labels: it learns from: training images of a labelled objective or protocol.
        validation: labelled images that choices may look at.
        tested: images of the test split that can be read.
        parameters: of the objective.
        seconds: that it may take: guessed from its FLOPs, until timing.py has timed some steps.
        feature_seconds: of them, those in which an encoder sees the pictures, which happens once.
        about: what the id is the hash of.
        fold: which part of the data is tested; None: its own test split.
        alone: a fit's command without what it needs first, whose steps take as long.
        splits: of a task, hashes of its training and test split, and the test's content.
        unread: numbers of the test images that cannot be read, and count nowhere.
    """

    id: str
    command: Command
    stage: Stage
    arm: str
    seed: int
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
    feature_seconds: float = field(default=0.0, compare=False)
    about: dict[str, Any] = field(default_factory=dict, compare=False)
    fold: int | None = None
    alone: Command | None = field(default=None, compare=False)
    splits: dict[str, str | None] = field(default_factory=dict, compare=False)
    unread: tuple[int, ...] = ()

    @property
    def verb(self) -> str:
        """What its command does: fit, test or evaluate."""
        return self.command.verb

    @property
    def repetition(self) -> Repetition:
        """What its learning rate is chosen for."""
        return Repetition(self.arm, self.data, self.seed, self.draw, self.fold)

    @property
    def label(self) -> str:
        """The job's name for people."""
        parts = [self.arm, self.stage, self.data, f"seed {self.seed}"]
        parts += [f"draw {self.draw}"] if self.draw > 0 else []
        parts += [f"fold {self.fold}"] if self.fold is not None else []
        parts += [f"{self.point[0]} {self.point[1]:g}"] if self.point else []
        parts += [f"lr step {self.trial:+d}"] if self.stage == "tune" else []
        return " ".join(part for part in parts if part)


def unique(jobs: list[Job]) -> list[Job]:
    """Each run once, in order; the features of an encoder are kept, so they take time once."""
    once, seen = list({job.id: job for job in reversed(jobs)}.values())[::-1], set()
    for place, job in enumerate(once):
        untrained = job.seed if job.stage == "control" else None  # each seed draws another
        encoder = (*job.needs, str(job.about.get("upstream")), untrained, job.data)
        if job.feature_seconds and encoder in seen:
            seconds = job.seconds - job.feature_seconds
            once[place] = replace(job, seconds=seconds, feature_seconds=0.0)
        seen.add(encoder)
    return once
