"""Run what a study still lacks: several commands at a time, each in a process of its own.

Processes are forked from one warm one that has imported everything and done nothing else, so that
a run starts in milliseconds (where there is no fork, each is started afresh). A run that was
stopped goes on; one that failed is reported, and those that need it are left out.
"""

import importlib
import math
import multiprocessing
import multiprocessing.connection
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from vit.callbacks.run_folder import held, hold
from vit.compare.command import Command
from vit.compare.job import Job
from vit.compare.store import Store
from vit.orphans import when_parent_ends

METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
USUAL = multiprocessing.get_start_method()  # of a run on its own, for its loader's workers
WARM = ["vit.cli.verbs", "vit.evaluate.catalogue", "sklearn.datasets", "sklearn.model_selection"]
TAKEN = 75  # exit code of a child that met another process at its run
SILENCE = 10.0  # seconds of waiting for other processes until a line says so
OUTPUT = "output.txt"  # beside the run folder: what the command printed


class Running(NamedTuple):
    """A job in its process, and when it began."""

    job: Job
    process: BaseProcess
    begun: float


class Pool:
    """A few processes at a time.

    Args:
        store: where runs lie.
        main: the command line, `main(argv) -> exit code`; a function of a module.
        at_a_time: how many processes.
        gpus: how many there are to share; 0: the CPU.
        say: for lines to people.
    """

    def __init__(
        self, store: Store, main: Callable, at_a_time: int, gpus: int, say: Callable[[str], None]
    ) -> None:
        self.store = store
        self.main = main
        self.at_a_time = at_a_time
        self.gpus = gpus
        self.say = say
        self.context = warm_context()
        self.running: dict[int, Running] = {}  # by slot
        self.failed: dict[str, str] = {}  # reasons by id
        self.seconds: dict[str, float] = {}  # of ended runs by id
        self.last_start = time.monotonic()

    def work(self, jobs: list[Job], tick: Callable[[], None]) -> None:
        """Run until every job is done, has failed, or waits for one that failed.

        Args:
            jobs: without repetitions, those that are needed first standing first.
            tick: called about once a second.
        """
        todo = [job for job in jobs if not (job.id in self.failed or self._done(job))]
        done = {job.id for job in jobs} - {job.id for job in todo} - self.failed.keys()
        try:
            while todo or self.running:
                for job in list(todo):
                    if any(id_ in self.failed for id_ in job.needs):
                        self.failed[job.id] = "left out: what it needs failed"
                        todo.remove(job)
                    elif set(job.needs) <= done and len(self.running) < self.at_a_time:
                        done |= self._take(job, todo)
                ended, put_back = self._wait(tick)
                done |= ended
                todo = put_back + todo
        except BaseException:
            self._stop()
            raise

    def _done(self, job: Job) -> bool:
        return self.store.status(job) == "done"

    def _take(self, job: Job, todo: list[Job]) -> set[str]:
        """Start a job, unless another study, or a run of one just killed, is at it."""
        parent = self.store.parent(job)
        if held(parent):
            if not self.running and time.monotonic() - self.last_start > SILENCE:
                self.last_start = math.inf  # once
                self.say(f"waiting: {job.label} is being made by another process, in {parent}")
            return set()
        todo.remove(job)
        if self._done(job):  # the other study has made it
            return {job.id}
        try:
            self._start(job)
        except (OSError, ValueError) as error:
            foreign = isinstance(error, OSError) and error.errno is not None
            self.failed[job.id] = f"{error.strerror}: {error.filename}" if foreign else str(error)
            self.say(f"failed: {job.label}: {self.failed[job.id]}")
        return set()

    def _start(self, job: Job) -> None:
        argv = argv_of(job, self.store)
        if "--resume" not in argv and job.verb != "test":
            argv += threads(self.at_a_time, self.gpus)
        self.store.write_identity(job)
        slot = next(i for i in range(self.at_a_time) if i not in self.running)
        gpu = slot % self.gpus if self.gpus else None
        parent = str(self.store.parent(job))
        process = self.context.Process(target=child, args=(self.main, argv, parent, gpu))
        process.start()
        self.last_start = time.monotonic()
        self.running[slot] = Running(job, process, time.monotonic())

    def _wait(self, tick: Callable[[], None]) -> tuple[set[str], list[Job]]:
        """The ids of what has ended well, and jobs that somebody else had begun first."""
        ended, put_back = set(), []
        handles = [run.process.sentinel for run in self.running.values()]
        multiprocessing.connection.wait(handles, timeout=1.0)
        for slot, (job, process, begun) in list(self.running.items()):
            if process.is_alive():
                continue
            process.join()
            del self.running[slot]
            self.seconds[job.id] = time.monotonic() - begun
            if process.exitcode == TAKEN:
                put_back.append(job)
            elif process.exitcode == 0 and self._done(job):
                ended.add(job.id)
            else:
                self._fail(job, process.exitcode)
        tick()
        return ended, put_back

    def _fail(self, job: Job, code: int | None) -> None:
        file = self.store.parent(job) / OUTPUT
        text = file.read_text(errors="replace") if file.is_file() else ""
        lines = text.rpartition("\n$ python ")[2].strip().splitlines()  # of this attempt
        reason = next((line for line in reversed(lines) if line.startswith("error:")), "")
        end = f"ended with code {code}" if code else "ended, but not with what was asked for"
        self.failed[job.id] = reason.removeprefix("error: ") or f"{end}; see {file}"
        self.say(f"failed: {job.label}: {self.failed[job.id]}")

    def _stop(self) -> None:
        """Let each save and leave."""
        for _, process, _ in self.running.values():
            if process.is_alive():
                os.kill(process.pid, signal.SIGTERM)
        end = time.monotonic() + 20
        for _, process, _ in self.running.values():
            process.join(max(end - time.monotonic(), 0.1))
            process.kill()


def threads(at_a_time: int, gpus: int) -> list[str]:
    """The arguments that divide the CPU between processes; none where that is not needed."""
    if gpus or at_a_time < 2:
        return []
    return ["--threads", str(max((os.cpu_count() or 1) // at_a_time, 1))]


def warm_context() -> BaseContext:
    """What processes are made by; where there is fork, the warm one is started with it."""
    context = multiprocessing.get_context(METHOD)
    if METHOD == "forkserver":
        context.set_forkserver_preload(WARM)
        listening = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is ours to answer
        importlib.import_module("multiprocessing.forkserver").ensure_running()
        signal.signal(signal.SIGINT, listening)
    return context


def argv_of(job: Job, store: Store) -> list[str]:
    """A job's command line, its upstream's folder filled in; a run that was stopped goes on.

    Raises:
        ValueError: what the run left contradicts itself.
        FileNotFoundError: the run before is gone.
    """
    folder = store.begun(job)
    if folder and store.status(job) in ("begun", "failed"):
        if why := store.problem_in_results(job):
            again = f"put it back, or remove {folder.parent} to make the run again"
            raise ValueError(f"{why}; {again}")
        return resuming(folder).argv()
    return placed(job, store).argv(upstream_of(job, store) if job.needs else "")


def upstream_of(job: Job, store: Store) -> str:
    """The folder of the run before; for evaluate, which keeps its figures apart, a checkpoint.

    Raises:
        FileNotFoundError: it is gone, or not whole.
    """
    folder = store.folder_of(job.needs[0])
    if folder is None:
        gone = f"{store.root}/*.{job.needs[0]} is gone"
        raise FileNotFoundError(f"{gone}; the same compare command makes it again")
    weights = folder / "checkpoints" / "last.ckpt"
    bare = job.verb == "evaluate"
    for part in (weights,) if bare else (weights, folder / "config.yaml"):
        if not part.is_file():
            again = f"remove {folder.parent} to make it again"
            raise FileNotFoundError(f"{part} is gone; {again}")
    return str(weights if bare else folder)


def resuming(folder: Path) -> Command:
    """The command that goes on with a fit."""
    return Command("fit").with_settings({"resume": str(folder)})


def placed(job: Job, store: Store) -> Command:
    """A job's command with the folder its run is made in; a test writes into its upstream's."""
    parent = store.parent(job)
    where = {"logs": str(parent.parent), "name": parent.name}
    return job.command.with_settings({} if job.verb == "test" else where)


def child(main: Callable, argv: list[str], parent: str, gpu: int | None) -> None:
    """Run one command in the new process, what it prints going to a file."""
    Path(parent).mkdir(parents=True, exist_ok=True)
    try:
        hold(Path(parent))  # until this process ends, however it does
    except ValueError:
        os._exit(TAKEN)
    file = os.open(Path(parent) / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which asks for the end
    multiprocessing.set_start_method(USUAL, force=True)  # ours would be its workers' too
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(gpu)
    # a study that was killed leaves no run behind: each saves and goes
    when_parent_ends(lambda: os.kill(os.getpid(), signal.SIGTERM))
    sys.argv = ["train.py", *argv]
    print("$ " + shlex.join(["python", "train.py", *argv]), flush=True)
    code = main(argv)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
