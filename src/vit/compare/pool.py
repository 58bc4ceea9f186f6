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
from pathlib import Path

from vit.callbacks.run_folder import held, hold
from vit.compare.job import UPSTREAM, Step
from vit.compare.store import Store
from vit.orphans import when_parent_ends

METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
USUAL = multiprocessing.get_start_method()  # of a run on its own, for its loader's workers
WARM = ["vit.cli.verbs", "vit.evaluate.catalogue", "sklearn.datasets", "sklearn.model_selection"]
TAKEN = 75  # exit code of a child that found another process at its run
SILENCE = 10.0  # seconds until waiting for other processes is told
OUTPUT = "output.txt"  # beside the run folder: what the command said


class Pool:
    """A few processes at a time.

    Args:
        store: where runs lie.
        main: the command line, `main(argv) -> exit code`; a function of a module.
        jobs: processes at a time.
        gpus: how many there are to share; 0: the CPU.
        say: for lines to people.
    """

    def __init__(
        self, store: Store, main: Callable, jobs: int, gpus: int, say: Callable[[str], None]
    ) -> None:
        self.store, self.main, self.jobs, self.gpus, self.say = store, main, jobs, gpus, say
        self.context = multiprocessing.get_context(METHOD)
        if METHOD == "forkserver":
            self.context.set_forkserver_preload(WARM)
            listening = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is ours to answer
            importlib.import_module("multiprocessing.forkserver").ensure_running()
            signal.signal(signal.SIGINT, listening)
        self.running: dict[int, tuple[Step, multiprocessing.process.BaseProcess, float]] = {}
        self.failed: dict[str, str] = {}
        self.begun = time.monotonic()  # the last run that was begun
        self.seconds: dict[str, float] = {}

    def work(self, steps: list[Step], tick: Callable[[], None]) -> None:
        """Until every step is done, has failed, or waits for one that failed.

        Args:
            steps: without repetitions, those that are needed first standing first.
            tick: called about once a second.
        """
        todo = [s for s in steps if s.id not in self.failed and self.store.status(s) != "done"]
        done = {step.id for step in steps} - {step.id for step in todo} - self.failed.keys()
        try:
            while todo or self.running:
                for step in list(todo):
                    if any(id_ in self.failed for id_ in step.needs):
                        self.failed[step.id] = "left out: what it needs failed"
                        todo.remove(step)
                    elif set(step.needs) <= done and len(self.running) < self.jobs:
                        done |= self._take(step, todo)
                ended, put_back = self._wait(tick)
                done |= ended
                todo = put_back + todo
        except BaseException:
            self._stop()
            raise

    def _take(self, step: Step, todo: list[Step]) -> set[str]:
        """Start a step, unless another study, or a run of one just killed, is at it."""
        place = self.store.place(step)
        if held(place):
            if not self.running and time.monotonic() - self.begun > SILENCE:
                self.begun = math.inf  # once
                self.say(f"waiting: {step.label} is being made by another process, in {place}")
            return set()
        todo.remove(step)
        if self.store.status(step) == "done":  # the other study has made it
            return {step.id}
        try:
            self._start(step)
        except (OSError, ValueError) as error:
            own = not isinstance(error, OSError) or error.errno is None  # our own words
            self.failed[step.id] = str(error) if own else f"{error.strerror}: {error.filename}"
            self.say(f"failed: {step.label}: {self.failed[step.id]}")
        return set()

    def _start(self, step: Step) -> None:
        words = command(step, self.store)
        if self.jobs > 1 and not self.gpus and "--resume" not in words and step.kind != "test":
            words += ["--threads", str(max((os.cpu_count() or 1) // self.jobs, 1))]
        self.store.note(step)
        slot = next(i for i in range(self.jobs) if i not in self.running)
        gpu = slot % self.gpus if self.gpus else None
        place = str(self.store.place(step))
        process = self.context.Process(target=child, args=(self.main, words, place, gpu))
        process.start()
        self.begun = time.monotonic()
        self.running[slot] = (step, process, time.monotonic())

    def _wait(self, tick: Callable[[], None]) -> tuple[set[str], list[Step]]:
        """Ids of what has ended well, and steps that somebody else had begun first."""
        ended, put_back = set(), []
        handles = [process.sentinel for _, process, _ in self.running.values()]
        multiprocessing.connection.wait(handles, timeout=1.0)
        for slot, (step, process, begun) in list(self.running.items()):
            if process.is_alive():
                continue
            process.join()
            del self.running[slot]
            self.seconds[step.id] = time.monotonic() - begun
            if process.exitcode == TAKEN:
                put_back.append(step)
            elif process.exitcode == 0 and self.store.status(step) == "done":
                ended.add(step.id)
            else:
                self._fail(step, process.exitcode)
        tick()
        return ended, put_back

    def _fail(self, step: Step, code: int | None) -> None:
        file = self.store.place(step) / OUTPUT
        text = file.read_text(errors="replace") if file.is_file() else ""
        lines = text.rpartition("\n$ python ")[2].strip().splitlines()  # of this attempt
        why = next((line for line in reversed(lines) if line.startswith("error:")), "")
        how = f"ended with code {code}" if code else "ended, but not with what was asked for"
        self.failed[step.id] = why.removeprefix("error: ") or f"{how}; see {file}"
        self.say(f"failed: {step.label}: {self.failed[step.id]}")

    def _stop(self) -> None:
        """Let each save and leave."""
        for _, process, _ in self.running.values():
            if process.is_alive():
                os.kill(process.pid, signal.SIGTERM)
        end = time.monotonic() + 20
        for _, process, _ in self.running.values():
            process.join(max(end - time.monotonic(), 0.1))
            process.kill()


def command(step: Step, store: Store) -> list[str]:
    """The words of a step, its upstream's folder filled in; a run that was stopped goes on."""
    folder = store.begun(step)
    if folder and store.status(step) in ("begun", "failed"):
        if why := store.doubt(step):
            again = f"put it back, or remove {folder.parent} to make the run again"
            raise ValueError(f"{why}; {again}")
        return ["fit", "--resume", str(folder)]
    words = list(step.words)
    if UPSTREAM in words:
        upstream = store.folder_of(step.needs[0])
        if upstream is None:
            gone = f"{store.root}/*.{step.needs[0]} is gone"
            raise FileNotFoundError(f"{gone}; the same compare command makes it again")
        bare = step.kind == "evaluate"  # a folder of its own, not the upstream's
        file = upstream / "checkpoints" / "last.ckpt"
        for part in (file,) if bare else (file, upstream / "config.yaml"):
            if not part.is_file():
                again = f"remove {upstream.parent} to make it again"
                raise FileNotFoundError(f"{part} is gone; {again}")
        start = file if bare else upstream
        words[words.index(UPSTREAM)] = str(start)
    if step.kind == "test":
        return words
    place = store.place(step)
    return [*words, "--logs", str(place.parent), "--name", place.name]


def typed(step: Step, store: Store) -> list[str]:
    """The words that a person would type; UPSTREAM stands for a folder that is not there yet."""
    place = store.place(step)
    where = [] if step.kind == "test" else ["--logs", str(place.parent), "--name", place.name]
    return ["python", "train.py", *step.words, *where]


def shown(step: Step, store: Store) -> str:
    """The command for people, with a pattern where the run before will be."""
    file = "/checkpoints/last.ckpt" if step.kind == "evaluate" else ""
    before = f"{store.root}/*.{''.join(step.needs)}/*{file}"
    words = typed(step, store)
    return " ".join(before if word == UPSTREAM else shlex.quote(word) for word in words)


def child(main: Callable, words: list[str], place: str, gpu: int | None) -> None:
    """In the new process: one command, its words to a file."""
    Path(place).mkdir(parents=True, exist_ok=True)
    try:
        hold(Path(place))  # until this process ends, however it does
    except ValueError:
        os._exit(TAKEN)
    file = os.open(Path(place) / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
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
    sys.argv = ["train.py", *words]
    print("$ " + shlex.join(["python", "train.py", *words]), flush=True)
    code = main(words)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
