"""Where a study's runs lie and how far each has come, read from the run folders alone.

logs/compare/runs/<arm>.<id>/ holds the run folder of one id, whichever studies use it.
"""

import contextlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vit.callbacks.run_folder import write_json
from vit.compare.identity import source_hash
from vit.compare.integrity import (
    problem_in_metrics,
    problem_in_summary,
    problem_in_table,
    read_correctness,
    read_metrics,
    read_summary,
)
from vit.compare.job import Job

Status = Literal["new", "begun", "failed", "done"]
SUMMARY = {"fit": "summary.json", "test": "summary.test.json", "evaluate": "summary.evaluate.json"}
TABLES = {  # files of correctness, by verb and split
    "test": {"test": "correct.csv"},
    "evaluate": {"val": "correct.val.csv", "test": "correct.test.csv"},
}


class Store:
    """Run folders by id.

    Args:
        root: of all runs of all studies.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.warned: set[str] = set()

    def parent(self, job: Job) -> Path:
        """The folder above the run's; its id counts, whatever name stands before it."""
        id_ = job.needs[0] if job.verb == "test" else job.id
        usual = self.root / f"{job.arm}.{id_}"
        others = () if usual.is_dir() else self.root.glob(f"*.{id_}")
        return next((path for path in others if path.is_dir()), usual)

    def folder(self, job: Job) -> Path | None:
        """The run folder, once there is one."""
        return newest(self.parent(job).glob("*_seed*"))

    def begun(self, job: Job) -> Path | None:
        """The folder of a fit that can go on; without settings it has begun nothing."""
        folder = self.folder(job) if job.verb == "fit" else None
        return folder if folder and (folder / "config.yaml").is_file() else None

    def folder_of(self, id_: str) -> Path | None:
        """The run folder of an id."""
        return newest(self.root.glob(f"*.{id_}/*_seed*"))

    def summary(self, job: Job) -> dict[str, Any]:
        """What a job reported; empty until it is done and what it left can be believed."""
        return read_summary(self._file(job)) if self.status(job) == "done" else {}

    def _file(self, job: Job) -> Path | None:
        folder = self.folder(job)
        return folder and folder / SUMMARY[job.verb]

    def status(self, job: Job) -> Status:
        """How far a job has come; what cannot be believed is made anew, and one line says so."""
        file = self._file(job)
        if file is None:
            return "new"
        status = read_summary(file).get("status")
        problem = problem_in_files(job, file) if status == "completed" else ""
        if job.verb != "fit" and problem and problem not in self.warned:
            self.warned.add(problem)
            print(f"warning: {problem}; this is measured anew", file=sys.stderr, flush=True)
        if status == "completed" and not problem:
            return "done"
        if job.verb != "fit":
            return "failed" if status == "failed" else "new"
        return "failed" if status in ("failed", "completed") else "begun"

    def problem_in_results(self, job: Job) -> str:
        """Why what a job left when it was done cannot be its result; empty: it can."""
        file = self._file(job)
        done = file and read_summary(file).get("status") == "completed"
        return problem_in_files(job, file) if done else ""

    def write_identity(self, job: Job) -> None:
        """Write beside the run what its id is the hash of, and the code that makes it."""
        if job.verb == "test":
            return
        parent = self.parent(job)
        parent.mkdir(parents=True, exist_ok=True)
        write_json(
            parent / "identity.json",
            {"id": job.id, "made_by": made_by(), "about": job.about},
        )

    def stale(self, job: Job) -> bool:
        """Was it made, by other code than this?"""
        if job.verb == "test" or self.status(job) != "done":
            return False
        return read_summary(self.parent(job) / "identity.json").get("made_by") != made_by()

    def validation_losses(self, job: Job) -> dict[int, float]:
        """The validation losses of a fit by optimiser step, in their order."""
        folder = self.folder(job)
        rows = read_metrics(folder) if folder else []
        return {at: value for at, name, value in rows if name == "val/loss"}

    def set_aside(self, job: Job) -> None:
        """Rename a run that other code made, so that it is made again; nothing is lost."""
        parent = self.parent(job)
        if self.stale(job):
            number = len(list(self.root.glob(f"{parent.name}.stale*"))) + 1
            parent.rename(parent.with_name(f"{parent.name}.stale{number}"))

    def correct(self, job: Job, column: str, split: str = "test") -> np.ndarray | None:
        """M, 1 for each image of a split that was right; None where the figure is not there."""
        if self.status(job) != "done":
            return None
        return read_correctness(self.folder(job) / TABLES[job.verb][split]).columns.get(column)


def problem_in_files(job: Job, summary: Path) -> str:
    """Why a finished job's summary and the files beside it contradict each other; empty: not."""
    if why := problem_in_summary(summary):
        return why
    if job.verb == "fit":
        return problem_in_metrics(summary.parent, summary)
    if job.verb == "evaluate" and read_summary(summary).get("splits") != job.about["splits"]:
        return f"{summary} is of other images"
    if other := problem_in_splits(job, summary):
        return other
    tables = {split: summary.parent / name for split, name in TABLES[job.verb].items()}
    unread = job.unread if job.verb == "test" else ()  # an evaluation numbers what it read
    reasons = (problem_in_table(path, split, summary, unread) for split, path in tables.items())
    if why := next(filter(None, reasons), ""):
        return why
    images = len(next(iter(read_correctness(tables["test"]).columns.values())))
    other = f"{tables['test']} is of {images} images, not {job.tested}"
    return "" if images == job.tested else other


def problem_in_splits(job: Job, summary: Path) -> str:
    """Why a job was tested on other images than the study's; empty: on the same, or unrecorded."""
    figures = read_summary(summary)
    for group, key in (("splits", "test"), ("content", "content")):
        recorded, planned = figures.get(group, {}).get("test"), job.splits.get(key)
        if recorded and planned and recorded != planned:
            return f"{summary} is of other test images ({recorded}, the study's are {planned})"
    return ""


def newest(runs: Iterable[Path]) -> Path | None:
    """The newest run folder of the completed ones, else of all."""
    ages = {}
    for run in runs:
        with contextlib.suppress(FileNotFoundError):  # somebody removes it just now
            done = read_summary(run / "summary.json").get("status") == "completed"
            ages[run] = (done, run.stat().st_mtime)
    return max(ages, key=ages.get, default=None)


def made_by() -> str:
    """The code and the torch that make a run, in words."""
    from importlib.metadata import version

    return f"source {source_hash()}, torch {version('torch')}"
