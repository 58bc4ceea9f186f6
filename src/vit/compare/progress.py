"""How far a whole study is: a bar in a terminal, a line now and then elsewhere."""

import sys
import time

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from vit.compare.job import Job, Stage
from vit.compare.pool import Pool

INTERVAL = 30.0  # seconds between lines where there is no terminal
WIDTH = 80  # columns of such a line
BESIDE = 72  # columns of the bar, the numbers and the time, and of the space between them


class StudyProgress:
    """Time left follows from what finished runs took against what was expected, stage by stage.

    Args:
        pool: runs the jobs.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.jobs: list[Job] = []
        self.done: set[str] = set()
        self.terminal = sys.stderr.isatty()
        self.last_line = time.monotonic()
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[left]}"),
            TimeElapsedColumn(),
            transient=True,
            disable=not self.terminal,
        )
        self.task: TaskID | None = None

    def begin(self, jobs: list[Job], done: set[str]) -> None:
        """Count a batch of jobs, of which some were done before."""
        self.jobs, self.done = jobs, done
        if self.task is None:
            self.task = self.bar.add_task("", left="")

    def factors(self) -> dict[Stage, float]:
        """What finished runs took against what was expected; a stage without any goes by all.

        Runs that made features are left out: what these take says nothing of the rest's work.
        """
        fresh = self._fresh(makes_features=False)
        factors = dict.fromkeys((job.stage for job in self.jobs), self._ratio(fresh))
        for stage in {job.stage for job in fresh}:
            factors[stage] = self._ratio([job for job in fresh if job.stage == stage])
        return factors

    def feature_factor(self, factors: dict[Stage, float]) -> float:
        """What features took against what was expected; before any are made, as all other work.

        Args:
            factors: of the rest of a run's work, by stage.
        """
        made = self._fresh(makes_features=True)
        if not made:
            return self._ratio(self._fresh(makes_features=False))
        rest = sum(factors[job.stage] * (job.seconds - job.feature_seconds) for job in made)
        took = sum(self.pool.seconds[job.id] for job in made)
        return max(took - rest, 0.0) / sum(job.feature_seconds for job in made)

    def _fresh(self, makes_features: bool) -> list[Job]:
        """The runs that ended in this session, with features of their own or without."""
        fresh = (job for job in self.jobs if job.id in self.pool.seconds)
        return [job for job in fresh if bool(job.feature_seconds) == makes_features]

    def _ratio(self, jobs: list[Job]) -> float:
        took = sum(self.pool.seconds[job.id] for job in jobs)
        return took / sum(job.seconds for job in jobs) if jobs else 1.0

    def tick(self) -> None:
        """Show how far it is."""
        ended, factors, now = self.ended(), self.factors(), time.monotonic()
        of_features = self.feature_factor(factors)
        begun = {run.job.id: run.begun for run in self.pool.running.values()}
        left, whole = [], 0.0  # seconds that one process would need
        for job in self.jobs:
            seconds = (job.seconds - job.feature_seconds) * factors[job.stage]
            seconds += job.feature_seconds * of_features
            whole += seconds
            if job.id not in ended:
                left.append(max(seconds - (now - begun.get(job.id, now)), 0.0))
        wait = max(sum(left) / max(self.pool.at_a_time, 1), max(left, default=0.0))
        count = f"{len(ended):,} of {len(self.jobs):,} runs"
        note = f"about {minutes(wait)} left"
        names = ", ".join(run.job.label for run in self.pool.running.values())
        room = max(self.bar.console.width - BESIDE, 0)
        short = f"{note}; {names[:room]}" if room > 10 else note
        done = whole - sum(left)
        self.bar.update(self.task, description=count, left=short, total=whole or 1, completed=done)
        if not self.terminal and now - self.last_line > INTERVAL:
            self.last_line = now
            print(f"{count}, {note}; {names}"[:WIDTH], flush=True)

    def ended(self) -> set[str]:
        """The ids of what is done or has failed."""
        over = self.pool.seconds.keys() | self.pool.failed.keys() | self.done
        running = {run.job.id for run in self.pool.running.values()}
        return {job.id for job in self.jobs if job.id in over - running}


def minutes(seconds: float) -> str:
    """A time in the unit that people use for it."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
