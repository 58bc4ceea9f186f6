"""How far a whole study is: a bar in a terminal, a line now and then elsewhere."""

import sys
import time

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from vit.compare.job import Job
from vit.compare.pool import Pool

INTERVAL = 30.0  # seconds between lines where there is no terminal


class StudyProgress:
    """Time left follows from what finished runs took against what was expected of them.

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
            BarColumn(),
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

    def tick(self) -> None:
        """Show how far it is."""
        pool = self.pool
        ended = [job for job in self.jobs if job.id in pool.seconds or job.id in self.done]
        fresh = [job for job in ended if job.id in pool.seconds]
        took = sum(pool.seconds[job.id] for job in fresh)
        factor = took / expected if (expected := sum(job.seconds for job in fresh)) else 1.0
        now = time.monotonic()
        running = sum(
            min(now - run.begun, run.job.seconds * factor) for run in pool.running.values()
        )
        whole = sum(job.seconds for job in self.jobs) * factor
        gone = sum(job.seconds for job in ended) * factor + running
        left = max(whole - gone, 0) / max(pool.at_a_time, 1)
        count = f"{len(ended)} of {len(self.jobs)} runs"
        note = f"about {minutes(left)} left" if fresh else "time left: after the first run"
        names = ", ".join(run.job.label for run in pool.running.values())
        room = max(self.bar.console.width - 75, 0)  # beside the bar and the numbers
        short = f"{note}; {names[:room]}" if room > 10 else note
        self.bar.update(self.task, description=count, left=short, total=whole or 1, completed=gone)
        if not self.terminal and now - self.last_line > INTERVAL:
            self.last_line = now
            print(f"{count}, {note}; {names}", flush=True)


def minutes(seconds: float) -> str:
    """A time in the unit that people use for it."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
