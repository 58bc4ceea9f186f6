"""How far a whole study is: a bar in a terminal, a line now and then elsewhere."""

import sys
import time

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from vit.compare.job import Step
from vit.compare.pool import Pool

EVERY = 30.0  # seconds between lines where there is no terminal


class StudyProgress:
    """Time left follows from what finished runs took against what was expected of them.

    Args:
        pool: runs the steps.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool, self.steps, self.done = pool, [], set()
        self.terminal, self.spoken = sys.stderr.isatty(), time.monotonic()
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]}"),
            TimeElapsedColumn(), transient=True, disable=not self.terminal,
        )  # fmt: skip
        self.task: TaskID | None = None

    def begin(self, steps: list[Step], done: set[str]) -> None:
        """A batch of steps, of which some were done before."""
        self.steps, self.done = steps, done
        if self.task is None:
            self.task = self.progress.add_task("", left="")

    def tick(self) -> None:
        """Show it."""
        pool = self.pool
        ended = [s for s in self.steps if s.id in pool.seconds or s.id in self.done]
        fresh = [s for s in ended if s.id in pool.seconds]
        took = sum(pool.seconds[s.id] for s in fresh)
        factor = took / expected if (expected := sum(s.seconds for s in fresh)) else 1.0
        now = time.monotonic()
        running = sum(min(now - begun, step.seconds * factor)
                      for step, _, begun in pool.running.values())  # fmt: skip
        whole = sum(s.seconds for s in self.steps) * factor
        gone = sum(s.seconds for s in ended) * factor + running
        left = max(whole - gone, 0) / max(pool.jobs, 1)
        words = f"{len(ended)} of {len(self.steps)} runs"
        note = f"about {minutes(left)} left" if fresh else "time left: after the first run"
        names = ", ".join(step.label for step, _, _ in pool.running.values())
        room = max(self.progress.console.width - 75, 0)  # beside the bar and the numbers
        short = f"{note}; {names[:room]}" if room > 10 else note
        self.progress.update(self.task, description=words, left=short, total=whole or 1,
                             completed=gone)  # fmt: skip
        if not self.terminal and now - self.spoken > EVERY:
            self.spoken = now
            print(f"{words}, {note}; {names}", flush=True)


def minutes(seconds: float) -> str:
    """For people."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
