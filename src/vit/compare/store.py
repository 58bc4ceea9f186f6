"""Where a study's runs lie and how far each has come; all it knows it reads from run folders.

logs/compare/runs/<arm>.<id>/ holds the run folder of one id, whichever studies use it.
"""

import csv
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
        runs = sorted(self.place(step).glob("*_seed*"), key=lambda path: path.stat().st_mtime)
        return runs[-1] if runs else None

    def folder_of(self, id_: str) -> Path | None:
        """The run folder of an id."""
        runs = sorted(self.root.glob(f"*.{id_}/*_seed*"), key=lambda path: path.stat().st_mtime)
        return runs[-1] if runs else None

    def summary(self, step: Step) -> dict[str, Any]:
        """What a step reported; empty until it has."""
        folder = self.folder(step)
        return read_json(folder / SUMMARY[step.kind]) if folder else {}

    def status(self, step: Step) -> Status:
        """How far it has come."""
        if self.folder(step) is None:
            return "new"
        status = self.summary(step).get("status")
        if status == "completed":
            return "done"
        if step.kind != "fit":
            return "failed" if status == "failed" else "new"
        return "failed" if status == "failed" else "begun"

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
        return read_json(self.place(step) / "identity.json").get("made_by") != made_by()

    def validation_losses(self, step: Step) -> list[float]:
        """Of a fit, in its order."""
        folder = self.folder(step)
        path = folder / "metrics.csv" if folder else None
        if path is None or not path.is_file():
            return []
        rows = (line.split(",") for line in path.read_text().splitlines()[1:])
        return [float(value) for _, _, name, value in rows if name == "val/loss"]

    def set_aside(self, step: Step) -> None:
        """Rename a run that other code made, so that it is made again; nothing is lost."""
        place = self.place(step)
        if self.stale(step):
            number = len(list(self.root.glob(f"{place.name}.stale*"))) + 1
            place.rename(place.with_name(f"{place.name}.stale{number}"))

    def correct(self, step: Step, column: str) -> np.ndarray | None:
        """M, 1 for each test image that was right; None where the cell is not defined."""
        folder = self.folder(step)
        name = "correct.csv" if step.kind == "test" else "correct.test.csv"
        if folder is None or not (folder / name).is_file():
            return None
        with (folder / name).open(newline="") as file:
            rows = list(csv.DictReader(file))
        if not rows or column not in rows[0]:
            return None
        return np.array([float(row[column]) for row in rows])


def made_by() -> str:
    """Code and torch, in one word."""
    from importlib.metadata import version

    return f"source {source_hash()}, torch {version('torch')}"
