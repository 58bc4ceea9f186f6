"""Where a study's runs lie and how far each has come; all it knows it reads from run folders.

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
from vit.compare.job import Step
from vit.compare.records import contradiction, disagreement, known, metrics, odd, table

Status = Literal["new", "begun", "failed", "done"]
SUMMARY = {"fit": "summary.json", "test": "summary.test.json", "evaluate": "summary.evaluate.json"}
TABLES = {  # of correctness, by the split they are of
    "test": {"test": "correct.csv"},
    "evaluate": {"val": "correct.val.csv", "test": "correct.test.csv"},
}


class Store:
    """Run folders by id.

    Args:
        root: of all runs of all studies.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.told = root, set()

    def place(self, step: Step) -> Path:
        """The folder above the run's; found by the id, whatever name stands before it."""
        id_ = step.needs[0] if step.kind == "test" else step.id
        own = self.root / f"{step.arm}.{id_}"
        others = () if own.is_dir() else self.root.glob(f"*.{id_}")
        return next((path for path in others if path.is_dir()), own)

    def folder(self, step: Step) -> Path | None:
        """The run folder, once there is one."""
        return newest(self.place(step).glob("*_seed*"))

    def begun(self, step: Step) -> Path | None:
        """The folder of a fit that can go on; without settings it has begun nothing."""
        folder = self.folder(step) if step.kind == "fit" else None
        return folder if folder and (folder / "config.yaml").is_file() else None

    def folder_of(self, id_: str) -> Path | None:
        """The run folder of an id."""
        return newest(self.root.glob(f"*.{id_}/*_seed*"))

    def summary(self, step: Step) -> dict[str, Any]:
        """What a step reported; empty until it is done and what it left can be believed."""
        return known(self._file(step)) if self.status(step) == "done" else {}

    def _file(self, step: Step) -> Path | None:
        folder = self.folder(step)
        return folder and folder / SUMMARY[step.kind]

    def status(self, step: Step) -> Status:
        """How far it has come; what cannot be believed is measured anew, and that is told once."""
        file = self._file(step)
        if file is None:
            return "new"
        status = known(file).get("status")
        doubt = doubted(step, file) if status == "completed" else ""
        if step.kind != "fit" and doubt and doubt not in self.told:
            self.told.add(doubt)
            print(f"warning: {doubt}; this is measured anew", file=sys.stderr, flush=True)
        if status == "completed" and not doubt:
            return "done"
        if step.kind != "fit":
            return "failed" if status == "failed" else "new"
        return "failed" if status in ("failed", "completed") else "begun"

    def doubt(self, step: Step) -> str:
        """Why what a step left when it was done cannot be its result; empty where it can."""
        file = self._file(step)
        return doubted(step, file) if file and known(file).get("status") == "completed" else ""

    def note(self, step: Step) -> None:
        """Beside the run: what its id is the hash of, and the code that makes it."""
        if step.kind == "test":
            return
        place = self.place(step)
        place.mkdir(parents=True, exist_ok=True)
        write_json(
            place / "identity.json",
            {"id": step.id, "made_by": made_by(), "about": step.about},
        )

    def stale(self, step: Step) -> bool:
        """Was it made, by other code than this?"""
        if step.kind == "test" or self.status(step) != "done":
            return False
        return known(self.place(step) / "identity.json").get("made_by") != made_by()

    def validation_losses(self, step: Step) -> dict[int, float]:
        """Of a fit, by its optimiser step, in their order."""
        folder = self.folder(step)
        rows = metrics(folder) if folder else []
        return {at: value for at, name, value in rows if name == "val/loss"}

    def set_aside(self, step: Step) -> None:
        """Rename a run that other code made, so that it is made again; nothing is lost."""
        place = self.place(step)
        if self.stale(step):
            number = len(list(self.root.glob(f"{place.name}.stale*"))) + 1
            place.rename(place.with_name(f"{place.name}.stale{number}"))

    def correct(self, step: Step, column: str) -> np.ndarray | None:
        """M, 1 for each test image that was right; None where the cell is not there."""
        if self.status(step) != "done":
            return None
        return table(self.folder(step) / TABLES[step.kind]["test"]).columns.get(column)


def doubted(step: Step, summary: Path) -> str:
    """Why a finished step's summary and the files beside it contradict each other."""
    if why := odd(summary):
        return why
    if step.kind == "fit":
        return contradiction(summary.parent, summary)
    if step.kind == "evaluate" and known(summary).get("splits") != step.about["splits"]:
        return f"{summary} is of other images"
    tables = {split: summary.parent / name for split, name in TABLES[step.kind].items()}
    whys = (disagreement(path, split, summary) for split, path in tables.items())
    if why := next(filter(None, whys), ""):
        return why
    images = len(next(iter(table(tables["test"]).columns.values())))
    other = f"{tables['test']} is of {images} images, not {step.tested}"
    return "" if images == step.tested else other


def newest(runs: Iterable[Path]) -> Path | None:
    """Of the completed ones, else of all."""
    there = {}
    for run in runs:
        with contextlib.suppress(FileNotFoundError):  # somebody removes it just now
            done = known(run / "summary.json").get("status") == "completed"
            there[run] = (done, run.stat().st_mtime)
    return max(there, key=there.get, default=None)


def made_by() -> str:
    """Code and torch, in one word."""
    from importlib.metadata import version

    return f"source {source_hash()}, torch {version('torch')}"
