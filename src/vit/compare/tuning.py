"""Which learning rate each arm uses for each task: equal trials for all, chosen on validation.

Trials are run with the first seed. A best value at the grid's edge extends the grid for every arm,
at most twice; what still lies at the edge after that is reported.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vit.compare.job import Job
from vit.compare.plan import Planner
from vit.compare.store import Store

EXTENSIONS = 2


@dataclass
class Choice:
    """Learning rates that were tried and chosen.

    Args:
        trials: learning-rate steps that every arm tried: exponents of the study's factor.
        chosen: the best step by "arm task".
        accuracies: on validation, by "arm task" and step.
        edge: "arm task" whose best value is the first or the last that was tried.
        flops: of each trial, by "arm task" and the trial's id.
    """

    trials: list[int]
    chosen: dict[str, int] = field(default_factory=dict)
    accuracies: dict[str, dict[int, float]] = field(default_factory=dict)
    edge: list[str] = field(default_factory=list)
    flops: dict[str, dict[str, float]] = field(default_factory=dict)

    def cost(self, who: str, final: str) -> float:
        """The FLOPs of an "arm task"'s trials, but for the one that is the final run itself."""
        return sum((f for id_, f in self.flops.get(who, {}).items() if id_ != final), 0.0)

    @property
    def extended(self) -> list[int]:
        """The grid, one step longer on each side that holds somebody's best value."""
        sides = {self.chosen[who] for who in self.edge}
        low = [self.trials[0] - 1] if self.trials[0] in sides else []
        return low + self.trials + ([self.trials[-1] + 1] if self.trials[-1] in sides else [])


def first_trials(count: int) -> list[int]:
    """The learning-rate steps around 0, which is the arm's own learning rate."""
    return list(range(-((count - 1) // 2), count // 2 + 1))


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
        choice = choose_rate(jobs, store, trials)
        if extension == EXTENSIONS or not choice.edge:
            break
        trials = choice.extended
    return choice


def choose_rate(jobs: list[Job], store: Store, trials: list[int]) -> Choice:
    """The best rate on validation; ties: the lower loss, then the value nearer to the arm's."""
    choice = Choice(trials)
    reported: dict[str, dict[int, dict[str, Any]]] = {}
    for job in jobs:
        if job.stage == "tune":
            choice.flops.setdefault(f"{job.arm} {job.data}", {})[job.id] = job.flops
            reported.setdefault(f"{job.arm} {job.data}", {})[job.trial] = store.summary(job)
    for who, summaries in reported.items():
        done = {t: s for t, s in summaries.items() if s.get("val/accuracy") is not None}
        choice.accuracies[who] = {t: s["val/accuracy"] for t, s in done.items()}
        if not done:
            continue  # all failed, which is reported elsewhere
        best = max(done, key=lambda t: (done[t]["val/accuracy"], -loss(done[t]), -abs(t)))
        choice.chosen[who] = best
        if len(trials) > 1 and best in (trials[0], trials[-1]):
            choice.edge.append(who)
    return choice


def loss(summary: dict[str, Any]) -> float:
    """The validation loss of a summary; one that was not finite is written as null."""
    value = summary.get("val/loss")
    return math.inf if value is None else float(value)
