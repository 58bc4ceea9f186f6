"""How long the runs of a study take on this machine: a few real steps of each kind are timed.

Before that, a time is guessed from floating-point operations. Steps are timed as they will run: so
many processes at a time, each with its device and its threads.
"""

import multiprocessing.connection
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from multiprocessing.context import BaseContext
from pathlib import Path
from statistics import median
from typing import NamedTuple

from vit.callbacks.run_folder import read_json
from vit.compare.dry_run import VARIED
from vit.compare.job import SPEED, START, Job
from vit.compare.pool import child, threads, warm_context

LIMIT = 15.0  # seconds for all kinds together; those that are not timed by then go by the others
WORTH = 20.0  # seconds of guessed steps, below which timing would take longer than it helps
SAME = (*VARIED, "model.optimizer.lr", "data.fold")  # what changes no step's time


class Timing(NamedTuple):
    """What was measured of one kind of run.

    Args:
        start: seconds until the first step.
        ratio: seconds of its steps, against those guessed from their FLOPs.
    """

    start: float
    ratio: float


class Timer:
    """Times by kind of run, each measured once.

    Args:
        time_steps: `time_steps(folder, argv) -> exit code` writes timing.json into the folder; a
            function of a module.
        at_a_time: how many processes.
        gpus: how many there are to take; 0: the CPU.
    """

    def __init__(
        self, time_steps: Callable[[str, list[str]], int], at_a_time: int, gpus: int
    ) -> None:
        self.time_steps = time_steps
        self.at_a_time = at_a_time
        self.gpus = gpus
        self.timings: dict[str, Timing] = {}
        self.kinds = 0
        self.seconds = 0.0

    def measure(self, todo: list[Job]) -> None:
        """Time a few steps of each kind of run, the costly kinds first, for LIMIT at most."""
        fits = [job for job in todo if job.verb == "fit"]
        if sum(job.seconds - START for job in fits) < WORTH * self.at_a_time:
            return
        cost: dict[str, float] = {}
        for job in fits:
            cost[kind_of_fit(job)] = cost.get(kind_of_fit(job), 0.0) + job.seconds
        of_kind = {kind_of_fit(job): job for job in fits}
        waiting = [of_kind[kind] for kind in sorted(cost, key=lambda kind: -cost[kind])]
        self.kinds, context = len(waiting), warm_context()
        warm_up = context.Process(target=int)  # runs need the warm process anyway
        warm_up.start()
        warm_up.join()
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            self._run(waiting, Path(folder), context)
        self.seconds = time.monotonic() - begun

    def _run(self, waiting: list[Job], root: Path, context: BaseContext) -> None:
        """Time the jobs, so many at a time, until all are or there is no time left."""
        running, end = {}, time.monotonic() + LIMIT
        try:
            while (waiting or running) and time.monotonic() < end:
                for slot in set(range(self.at_a_time)) - running.keys():
                    if waiting:
                        folder = root / str(len(waiting))
                        job = waiting.pop(0)
                        process = context.Process(target=child, args=self._task(job, folder, slot))
                        process.start()
                        running[slot] = process, job, folder
                handles = [process.sentinel for process, *_ in running.values()]
                multiprocessing.connection.wait(handles, timeout=0.2)
                for slot, (process, job, folder) in list(running.items()):
                    if not process.is_alive():
                        process.join()
                        del running[slot]
                        self._read(job, folder / "timing.json")
        finally:
            for process, *_ in running.values():
                process.kill()
                process.join()

    def _task(self, job: Job, folder: Path, slot: int) -> tuple:
        """The arguments of `child`."""
        argv = job.alone.argv() + threads(self.at_a_time, self.gpus)
        gpu = slot % self.gpus if self.gpus else None
        return partial(self.time_steps, str(folder)), argv, str(folder), gpu

    def _read(self, job: Job, file: Path) -> None:
        """What a process measured; nothing where it failed, of which the run itself will tell."""
        if file.is_file():
            measured = read_json(file)
            ratio = measured["per_image"] / (job.flops / job.images / SPEED)
            self.timings[kind_of_fit(job)] = Timing(measured["start"], ratio)

    def timed(self, jobs: list[Job]) -> list[Job]:
        """The jobs with the seconds that they will take, as far as that was measured."""
        if not self.timings:
            return jobs
        parts = zip(*self.timings.values(), strict=True)
        usual = Timing(*(median(part) for part in parts))
        result = []
        for job in jobs:
            one = self.timings.get(kind_of_fit(job), usual) if job.alone else usual
            seconds = one.start + (job.seconds - START) * one.ratio
            features = job.feature_seconds * one.ratio
            result.append(replace(job, seconds=seconds, feature_seconds=features))
        return result

    @property
    def line(self) -> str:
        """What the times rest on."""
        if not self.timings:
            return "guessed from floating-point operations; nothing was timed"
        return (
            f"from a few timed steps of {len(self.timings)} of {self.kinds} kinds of training "
            f"({self.seconds:.0f} s)"
        )


def kind_of_fit(job: Job) -> str:
    """Equal for fits whose steps take equally long."""
    return job.alone.without(*SAME).shell("")
