"""What difference a study could detect, guessed before it has begun from what earlier ones showed.

In the studies of logs/records an arm's accuracy p varies over seeds by about SPREAD times the
standard deviation of a mean of as many answers as there are training images: sqrt(p (1 - p) / n).
p is not known yet: halfway between chance and 1 on a logarithmic scale, it is sqrt(1 / classes).
The part of the test images follows from p (`power.expected`). tests/test_sensitivity.py holds all
of it against those records: within 25 % of what their results give.
"""

from dataclasses import dataclass
from math import sqrt

from vit.compare import power
from vit.compare.dry_run import DryRun
from vit.compare.plan import Planner
from vit.compare.study import FINETUNE

SPREAD = 0.25  # fitted to the records
DRAWN = 0.7  # fraction of that variance that is the label draws'; else a seed's is the rest
LEAST = 3  # seeds, below which an interval says nothing


@dataclass(frozen=True)
class Size:
    """How large a study is, as far as that decides what it could detect.

    Args:
        arms: that are compared.
        seeds: of each arm.
        draws: label draws of each seed.
        images: of the test split, all folds together.
        folds: of the data; 1: its own test split.
        training_images: with labels, of one fit.
        classes: of the task.
        drawn: is a label set drawn for each seed?
    """

    arms: int
    seeds: int
    draws: int
    images: int
    folds: int
    training_images: int
    classes: int
    drawn: bool

    @property
    def accuracy(self) -> float:
        """The accuracy that is expected of an arm, a fraction."""
        return sqrt(1 / self.classes)

    @property
    def spread(self) -> float:
        """The standard deviation of an arm's accuracy over seeds with one label draw each."""
        variance = self.accuracy * (1 - self.accuracy) / self.training_images
        return SPREAD * sqrt(variance * (1 if self.drawn else 1 - DRAWN))

    def detectable(self, seeds: int = 1, draws: int = 1, images: int = 1) -> float:
        """The difference, a fraction, that is detected with 80 % power, with so many times each."""
        of_draws = self.spread * sqrt(DRAWN if self.drawn else 0)
        of_seeds = sqrt(self.spread**2 - of_draws**2)
        noise = power.expected(self.accuracy, of_seeds, draw_sd=of_draws)
        return power.detectable(
            seeds * self.seeds,
            images * self.images,
            self.arms,
            noise,
            draws=draws * self.draws,
            folds=self.folds,
        )

    @property
    def doubled(self) -> dict[str, float]:
        """What would be detected with twice of something."""
        sizes = {"seeds": self.detectable(seeds=2), "test images": self.detectable(images=2)}
        return sizes | ({"label draws": self.detectable(draws=2)} if self.drawn else {})

    @property
    def reason(self) -> str:
        """What the guess rests on."""
        labels = f"{self.training_images:,} labelled images"
        if self.drawn:
            labels = f"{self.training_images // self.classes:,} labels a class"
        return (
            f"guessed from the seeds' spread of earlier studies, for {labels} of "
            f"{self.classes:,} classes: accuracy about {100 * self.accuracy:.0f} %, seeds "
            f"{100 * self.spread:.1f} points apart"
        )


def study_size(planner: Planner, dry_runs: dict[tuple[str, str], DryRun]) -> Size:
    """The size of a study at its primary endpoint.

    Args:
        planner: of the study.
        dry_runs: by arm and task.
    """
    study, arms, task = planner.study, planner.arms, planner.study.primary.data
    on_features = study.primary.protocol != FINETUNE  # only arms with an encoder before the task
    count = sum(bool(a.pretrain or a.pretrained) or not on_features for a in arms.values())
    count += len(study.controls) if study.frozen_only else 0  # they stand for no pre-training
    spec, drawn = dry_runs[next(iter(arms)), task].data.spec, planner.draws_labels(task)
    return Size(
        arms=count,
        seeds=study.seeds,
        draws=study.draws if drawn else 1,
        images=spec.counts["test"] * (study.folds or 1),
        folds=study.folds or 1,
        training_images=spec.counts["train"],
        classes=len(spec.classes),
        drawn=drawn,
    )


def power_line(planner: Planner, dry_runs: dict[tuple[str, str], DryRun]) -> str:
    """What the study could detect, in one line.

    Args:
        planner: of the study.
        dry_runs: by arm and task.
    """
    size = study_size(planner, dry_runs)
    if size.arms < 2:
        return "no difference can be detected: it needs two arms at least"
    if size.seeds < LEAST:
        few = "one seed is" if size.seeds == 1 else "two seeds are"
        return f"{few} too few to tell arms apart: take three or more (--seeds 5)"
    return (
        f"it could detect a difference of {100 * size.detectable():.1f} points between two of "
        f"{size.arms} arms, with 80 % power; {size.reason}"
    )
