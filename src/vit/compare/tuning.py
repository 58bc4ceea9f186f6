"""Which learning rate each arm uses for each task: equal trials for all, chosen on validation.

Every repetition (seed, draw, fold) chooses for itself, on validation images of its own, so that the
noise of choosing lies between repetitions, where intervals see it. One choice for all seeds lies
outside every interval: on 45 images it separated equal arms in four of ten studies
(tests/simulate_tuning.py). Where most repetitions of an arm and a task choose the same end of the
grid, the grid grows there for every arm, at most twice; what still lies at an end is reported.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vit.compare.dry_run import DryRun
from vit.compare.job import Job, Repetition
from vit.compare.plan import Planner
from vit.compare.store import Store
from vit.compare.study import Study

EXTENSIONS = 2
GIVEN = 2000  # validation images that all repetitions may choose on (tests/simulate_tuning.py)


@dataclass
class Choice:
    """Learning rates that were tried and chosen.

    Args:
        trials: learning-rate steps that every arm tried: exponents of the study's factor.
        chosen: the best step of each repetition; one whose trials all failed is not there.
        accuracies: on validation, by repetition and step.
        edge: by "arm task", the first or last step that was tried, where more than half of its
            repetitions chose it.
        tried: the trials of each repetition.
    """

    trials: list[int]
    chosen: dict[Repetition, int] = field(default_factory=dict)
    accuracies: dict[Repetition, dict[int, float]] = field(default_factory=dict)
    edge: dict[str, int] = field(default_factory=dict)
    tried: dict[Repetition, list[Job]] = field(default_factory=dict)

    def other_trials(self, final: Job) -> list[Job]:
        """The trials behind a final run's learning rate, but for the one that is this run."""
        return [job for job in self.tried.get(final.repetition, []) if job.id != final.id]

    @property
    def counts(self) -> dict[str, Counter[int]]:
        """How many repetitions chose each step, by "arm task"."""
        counts: dict[str, Counter[int]] = {}
        for where, step in self.chosen.items():
            counts.setdefault(f"{where.arm} {where.data}", Counter())[step] += 1
        return counts

    @property
    def extended(self) -> list[int]:
        """The grid, one step longer on each side that is somebody's edge."""
        sides, (first, *_, last) = set(self.edge.values()), self.trials
        low = [first - 1] if first in sides else []
        return low + self.trials + ([last + 1] if last in sides else [])


def first_trials(count: int) -> list[int]:
    """The learning-rate steps around 0, which is the arm's own learning rate."""
    return list(range(-((count - 1) // 2), count // 2 + 1))


def check_validation(study: Study, dry_runs: dict[tuple[str, str], DryRun]) -> None:
    """Refuse to choose on too few validation images that all repetitions would have in common.

    Args:
        study: says how many learning rates are tried.
        dry_runs: by arm and task.

    Raises:
        ValueError: naming the task and how many images it needs.
    """
    for (_, task), dry_run in dry_runs.items() if study.tuning.trials > 1 else ():
        count = dry_run.chosen_on
        if task in study.transfer and not dry_run.data.redraws and count < GIVEN:
            raise ValueError(
                f"tuning: every seed would choose among {study.tuning.trials} learning rates on "
                f"the same {count:,} validation images of {task}, and that needs {GIVEN:,}; set "
                "tuning.trials 1, or give no validation images, so that they are drawn"
            )


def tune(
    planner: Planner, store: Store, work: Callable[[list[Job]], None], trials: list[int]
) -> Choice:
    """Run the trials of every arm and choose.

    Args:
        planner: plans them.
        store: what they reported.
        work: runs jobs until each is done or has failed.
        trials: learning-rate steps to begin with.
    """
    if len(trials) == 1:
        return Choice(trials)
    for extension in range(EXTENSIONS + 1):
        jobs = planner.tuning_jobs(trials)
        work(jobs)
        choice = choose_rates(jobs, store, trials)
        if extension == EXTENSIONS or not choice.edge:
            break
        trials = choice.extended
    return choice


def choose_rates(jobs: list[Job], store: Store, trials: list[int]) -> Choice:
    """The best step of each repetition on validation.

    Args:
        jobs: among them the trials.
        store: what they reported.
        trials: learning-rate steps that were tried.
    """
    choice = Choice(trials)
    for job in jobs:
        if job.stage == "tune":
            choice.tried.setdefault(job.repetition, []).append(job)
    for where, tried in choice.tried.items():
        summaries = {job.trial: store.summary(job) for job in tried}
        done = {t: s for t, s in summaries.items() if s.get("val/accuracy") is not None}
        choice.accuracies[where] = {t: s["val/accuracy"] for t, s in done.items()}
        if done:  # else all failed, which is reported elsewhere
            choice.chosen[where] = best_step(done)
    for who, counts in choice.counts.items():
        for side in (trials[0], trials[-1]):
            if 2 * counts[side] > counts.total():
                choice.edge[who] = side
    return choice


def best_step(summaries: dict[int, dict[str, Any]]) -> int:
    """The step with the best validation; ties: the lower loss, then the one nearer to the arm's."""

    def merit(step: int) -> tuple[float, float, int]:
        return summaries[step]["val/accuracy"], -loss(summaries[step]), -abs(step)

    return max(summaries, key=merit)


def loss(summary: dict[str, Any]) -> float:
    """The validation loss of a summary; one that was not finite is written as null."""
    value = summary.get("val/loss")
    return math.inf if value is None else float(value)
