"""What the commands of a study would do: each kind is built once, and long planning says so."""

import math
import sys
import time
from collections.abc import Callable

from vit.compare.commands import without
from vit.compare.job import Asked

Ask = Callable[[tuple[str, ...]], Asked]
EVERY = 10.0  # seconds between lines
PAUSE = 1.0  # seconds without a question: something else was done meanwhile


class Answers:
    """Answers by command; lengths and label draws change nothing that takes long to build.

    Args:
        ask: builds a command's parts without running it.
    """

    def __init__(self, ask: Ask) -> None:
        self.ask, self.known, self.count = ask, {}, 0
        self.spoken = self.answered = -math.inf

    def __call__(self, words: tuple[str, ...]) -> Asked:
        """What a command would do."""
        if time.monotonic() - self.answered > PAUSE:
            self.spoken = time.monotonic()
        rest, steps = without(words, "--trainer.max_steps")
        rest, draw = without(rest, "--data.label_draw")
        if rest not in self.known:
            self.known[rest] = self.ask(rest)
        self.count += 1
        if time.monotonic() - self.spoken > EVERY:
            self.spoken = time.monotonic()
            print(f"planning: {self.count:,} commands looked at", file=sys.stderr, flush=True)
        self.answered = time.monotonic()
        return self.known[rest].varied(steps, draw)
