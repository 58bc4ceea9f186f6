"""A sign of life while something long is read: a bar that comes after two seconds."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

AFTER = 2.0  # seconds; what is shorter needs no bar

T = TypeVar("T")


class ReadingProgress:
    """Counts on a terminal what is gone through, and leaves nothing behind.

    Where standard error is no terminal, and on all ranks of a machine but the first, it is silent.

    Args:
        description: what is gone through.
        total: how many there are; None: nobody knows yet.
        step: the clock is read once in so many.
        console: where to draw; None: standard error.
        clock: seconds.
    """

    def __init__(
        self,
        description: str,
        total: int | None = None,
        step: int = 1000,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.description = description
        self.total = total
        self.step = step
        self.clock = clock
        self.console = console or Console(file=sys.stderr)
        self.silent = not self.console.is_terminal or os.environ.get("LOCAL_RANK", "0") != "0"

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """The items, one by one, counted."""
        if self.silent:
            yield from items
            return
        of = f" of {self.total:,}" if self.total else ""
        column = TextColumn("{task.description}", markup=False)  # a path may hold [brackets]
        columns = (column, BarColumn(), TimeElapsedColumn())
        bar = Progress(*columns, console=self.console, transient=True)
        task, begun = bar.add_task(self.description, total=self.total), self.clock()
        try:
            for count, item in enumerate(items, 1):
                yield item
                if count % self.step == 0 and self.clock() - begun >= AFTER:
                    bar.update(
                        task, completed=count, description=f"{self.description}: {count:,}{of}"
                    )
                    bar.start()  # only the first time counts
        finally:
            bar.stop()
