"""Where a study's runs lie and how far each has come; all it knows it reads from run folders.

logs/compare/runs/<arm>.<id>/ holds the run folder of one id, whichever studies use it.
"""

import csv
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vit.callbacks.run_folder import read_json, write_json
from vit.compare.identity import source_hash
from vit.compare.step import Step

Status = Literal["new", "begun", "failed", "done"]
SUMMARY = {"fit": "summary.json", "test": "summary.test.json", "evaluate": "summary.evaluate.json"}


class Store:
    """Run folders by id.

    Args:
        root: of all runs of all studies.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def place(self, step: Step) -> Path:
        """The folder above the run's; found by the id, whatever name stands before it."""
        id_ = step.needs[0] if step.kind == "test" else step.id
        found = next(iter(self.root.glob(f"*.{id_}")), None)
        return found or self.root / f"{step.arm}.{id_}"

    def folder(self, step: Step) -> Path | None:
        """The run folder, once there is one."""
        return newest(self.place(step).glob("*_seed*"))

    def folder_of(self, id_: str) -> Path | None:
        """The run folder of an id."""
        return newest(self.root.glob(f"*.{id_}/*_seed*"))

    def summary(self, step: Step) -> dict[str, Any]:
        """What a step reported; empty until it has."""
        folder = self.folder(step)
        return known(folder / SUMMARY[step.kind]) if folder else {}

    def status(self, step: Step) -> Status:
        """How far it has come."""
        if self.folder(step) is None:
            return "new"
        summary = self.summary(step)
        status = summary.get("status")
        if status == "completed" and self._whole(step, summary):
            return "done"
        if step.kind != "fit":
            return "failed" if status == "failed" else "new"
        return "failed" if status == "failed" else "begun"

    def _whole(self, step: Step, summary: dict[str, Any]) -> bool:
        """Is what it measured there, of the images it was meant to be measured on?"""
        if step.kind == "fit":
            return True
        rows = self._rows(step)
        if len(rows) != step.tested or [row["index"] for row in rows] != numbers(step.tested):
            return False
        return step.kind == "test" or summary.get("splits") == step.about["splits"]

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
        path = folder / "metrics.csv" if folder else None
        if path is None or not path.is_file():
            return {}
        rows = (line.split(",") for line in path.read_text().splitlines()[1:])
        return {int(at): float(value) for at, _, name, value in rows if name == "val/loss"}

    def set_aside(self, step: Step) -> None:
        """Rename a run that other code made, so that it is made again; nothing is lost."""
        place = self.place(step)
        if self.stale(step):
            number = len(list(self.root.glob(f"{place.name}.stale*"))) + 1
            place.rename(place.with_name(f"{place.name}.stale{number}"))

    def correct(self, step: Step, column: str) -> np.ndarray | None:
        """M, 1 for each test image that was right; None where the cell is not there."""
        rows = self._rows(step) if self.status(step) == "done" else ()
        if not rows or column not in rows[0]:
            return None
        return np.array([float(row[column]) for row in rows])

    def _rows(self, step: Step) -> tuple[dict[str, str], ...]:
        """Of the file of correctness, image by image."""
        folder = self.folder(step)
        path = folder and folder / ("correct.csv" if step.kind == "test" else "correct.test.csv")
        if path is None or not path.is_file():
            return ()
        about = path.stat()
        return rows_of(path, about.st_mtime_ns, about.st_size)


def newest(runs: Iterable[Path]) -> Path | None:
    """Of the completed ones, else of all."""

    def rank(run: Path) -> tuple[bool, float]:
        done = known(run / "summary.json").get("status") == "completed"
        return done, run.stat().st_mtime

    return max(runs, key=rank, default=None)


def known(path: Path) -> dict[str, Any]:
    """What a file says; a damaged one is a failed run's, whose next attempt names it."""
    try:
        return read_json(path)
    except ValueError:
        return {"status": "failed"}


@cache
def rows_of(path: Path, changed: int, size: int) -> tuple[dict[str, str], ...]:
    """A file's rows, as long as it stays the same; none where one is not whole."""
    with path.open(newline="") as file:
        rows = tuple(csv.DictReader(file))
    return rows if all(None not in row.values() for row in rows) else ()


@cache
def numbers(count: int) -> list[str]:
    """0 to count - 1, as they stand in a file."""
    return [str(number) for number in range(count)]


def made_by() -> str:
    """Code and torch, in one word."""
    from importlib.metadata import version

    return f"source {source_hash()}, torch {version('torch')}"
