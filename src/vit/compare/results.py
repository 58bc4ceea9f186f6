"""From run folders to cells: one an arm, task, protocol, seed and place on an axis."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vit.compare.job import Point, Step
from vit.compare.store import Store
from vit.compare.study import FINETUNE, Study
from vit.compare.tuning import Choice

RANDOM, PIXELS = "random_encoder", "raw_pixels"
CLASSICAL = "pixels"  # the protocol of raw pixels: a classical classifier
COLUMNS = (
    "arm", "data", "protocol", "axis", "value", "seed", "accuracy", "protocol_id", "status",
    "pretraining_flops", "total_flops", "images_seen", "labels_used", "lr_power", "seconds", "run",
)  # fmt: skip


@dataclass
class Cell:
    """One figure, the mean over the seed's label draws, or why there is none.

    Args:
        accuracy: of the test split; None where it is not defined or not there.
        correct: M, the fraction of draws in which each test image was right.
        status: done, missing, or what makes it undefined.
        labels_used: that learning, tuning and probes looked at, validation included.
        total_flops: pre-training, fine-tuning, and the arm's other tuning trials for the task.
    """

    arm: str
    data: str
    protocol: str
    seed: int
    point: Point = None
    accuracy: float | None = None
    correct: np.ndarray | None = None
    status: str = "missing"
    protocol_id: str = ""
    pretraining_flops: float = 0.0
    total_flops: float = 0.0
    images_seen: int = 0
    labels_used: int = 0
    lr_power: int | None = None
    seconds: float = 0.0
    runs: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str, str, Point]:
        """What seeds of it share."""
        return self.arm, self.data, self.protocol, self.point


class Results:
    """All cells of a study, as far as its runs have come.

    Args:
        study: what was asked.
        arms: names, in the report's order.
        steps: all that were planned.
        store: where runs lie.
        choice: of learning rates.
    """

    def __init__(
        self, study: Study, arms: list[str], steps: list[Step], store: Store, choice: Choice
    ) -> None:
        self.study, self.arms, self.store, self.choice = study, arms, store, choice
        self.by_id = {step.id: step for step in steps}
        self.finals = grouped(step for step in steps if step.stage == "transfer")
        self.tests = {step.needs[0]: step for step in steps if step.stage == "test"}
        self.probes = grouped(step for step in steps if step.stage in ("probe", "control"))
        self.cells = list(self._all())

    def _all(self) -> Iterable[Cell]:
        for (arm, data, seed, point), finals in self.finals.items():
            yield self.finetuned(arm, data, seed, point, finals)
        rows = self.arms + [name for name in (RANDOM, PIXELS) if name in self.study.controls]
        points = list(dict.fromkeys([None, *(key[3] for key in self.probes)]))
        for data in self.study.transfer:
            for seed in range(self.study.seeds):
                for point in points if data == self.study.primary.data else [None]:
                    for arm in rows if point is None else self.arms:
                        yield from self.probed(arm, data, seed, point)

    def finetuned(self, arm: str, data: str, seed: int, point: Point, finals: list[Step]) -> Cell:
        """A fit of the task, tested once."""
        cell = Cell(arm, data, FINETUNE, seed, point, lr_power=finals[0].trial)
        tests = [self.tests[final.id] for final in finals]
        self._fill(cell, [(test.draw, self.store.correct(test, "accuracy")) for test in tests])
        summaries = [self.store.summary(final) for final in finals]
        before = [self.by_id[final.needs[0]] for final in finals if final.needs][:1]
        cell.pretraining_flops = sum(step.flops for step in before)
        cell.total_flops = cell.pretraining_flops + finals[0].flops
        cell.total_flops += self.choice.cost(f"{arm} {data}", finals[0].id)
        cell.images_seen = finals[0].images + sum(step.images for step in before)
        cell.labels_used = finals[0].labels + sum(step.labels for step in before)
        cell.labels_used += finals[0].validation if len(self.choice.trials) > 1 else 0
        cell.seconds = sum(s.get("seconds") or 0.0 for s in summaries) / len(summaries)
        cell.seconds += sum(self.store.summary(step).get("seconds") or 0.0 for step in before)
        cell.runs = [str(self.store.folder(final) or "") for final in finals]
        cell.protocol_id = FINETUNE
        return cell

    def probed(self, arm: str, data: str, seed: int, point: Point) -> Iterable[Cell]:
        """Protocols on frozen features."""
        who = RANDOM if arm in (RANDOM, PIXELS) else arm
        steps = self.probes.get((who, data, seed, point), [])
        names = [*self.study.protocols, *([CLASSICAL] if arm == PIXELS else [])]
        for name in names:
            cell = Cell(arm, data, name, seed, point)
            if not steps:
                cell.status = "not defined: no encoder before the task"
                yield cell
                continue
            column = f"{name}_pixels" if arm == PIXELS and name != CLASSICAL else name
            self._fill(cell, [(step.draw, self.store.correct(step, column)) for step in steps])
            summary = self.store.summary(steps[0])
            if cell.accuracy is None and self.store.status(steps[0]) == "done":
                cell.status = "not defined: no patch tokens"
            cell.protocol_id = summary.get("protocol_ids", {}).get(f"test/{column}", "")
            before = [self.by_id[step.needs[0]] for step in steps if step.needs][:1]
            cell.pretraining_flops = cell.total_flops = sum(step.flops for step in before)
            cell.images_seen = sum(step.images for step in before)
            cell.labels_used = sum(step.labels for step in before) + steps[0].labels
            chooses = f"test/{column}" in summary.get("chosen", {})
            cell.labels_used += steps[0].validation if chooses else 0
            cell.seconds = summary.get("seconds") or 0.0
            cell.runs = [str(self.store.folder(step) or "") for step in steps]
            yield cell

    @staticmethod
    def _fill(cell: Cell, parts: list[tuple[int, np.ndarray | None]]) -> None:
        """Folds of a draw side by side: each image once; then the mean over draws."""
        draws: dict[int, list[np.ndarray]] = {}
        for draw, correct in parts:
            if correct is None:
                return
            draws.setdefault(draw, []).append(correct)
        cell.correct = np.mean([np.concatenate(folds) for folds in draws.values()], axis=0)
        cell.accuracy, cell.status = float(cell.correct.mean()), "done"

    def of(self, arm: str, data: str, protocol: str, point: Point = None) -> list[Cell]:
        """The seeds of one cell."""
        key = (arm, data, protocol, point)
        return [cell for cell in self.cells if cell.key == key]

    def table(
        self, data: str, protocol: str, point: Point = None
    ) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
        """Correctness, seeds x images, of every arm that has all its seeds; and the controls."""
        found, controls = {}, []
        for arm in (*self.arms, RANDOM, PIXELS):
            cells = self.of(arm, data, protocol, point)
            if cells and all(cell.correct is not None for cell in cells):
                found[arm] = np.stack([cell.correct for cell in cells])
                controls += [arm] if arm in (RANDOM, PIXELS) else []
        return found, tuple(controls)

    def write(self, path: Path) -> None:
        """results.csv, in an order that does not depend on which run ended first."""
        part = path.with_suffix(".part")
        with part.open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(COLUMNS)
            for cell in self.cells:
                out.writerow(row(cell))
        part.replace(path)


def row(cell: Cell) -> list[Any]:
    """Of results.csv; figures that are not there are empty, and `status` says why."""
    axis, value = cell.point or ("", "")
    return [
        cell.arm, cell.data, cell.protocol, axis, value, cell.seed,
        "" if cell.accuracy is None else repr(cell.accuracy), cell.protocol_id, cell.status,
        f"{cell.pretraining_flops:.6g}", f"{cell.total_flops:.6g}", cell.images_seen,
        cell.labels_used, "" if cell.lr_power is None else cell.lr_power,
        f"{cell.seconds:.1f}", ";".join(cell.runs),
    ]  # fmt: skip


def grouped(steps: Iterable[Step]) -> dict[tuple[str, str, int, Point], list[Step]]:
    """The label draws of a seed side by side."""
    found: dict[tuple[str, str, int, Point], list[Step]] = {}
    for step in steps:
        found.setdefault((step.arm, step.data, step.seed, step.point), []).append(step)
    return found
