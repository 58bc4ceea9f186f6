"""From run folders to scores: one for each arm, task, protocol, seed and place on an axis."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vit.compare.job import Cell, Job, Point
from vit.compare.plan import Planner
from vit.compare.store import Store
from vit.compare.study import FINETUNE, Study
from vit.compare.tuning import Choice

RANDOM, PIXELS = "random_encoder", "raw_pixels"
CLASSICAL = "pixels"  # the protocol of raw pixels: a classical classifier
COLUMNS = (
    "arm", "data", "protocol", "axis", "value", "seed", "accuracy", "protocol_id", "status",
    "pretraining_flops", "total_flops", "images_seen", "labels_used", "lr_exponent", "seconds",
    "run",
)  # fmt: skip


@dataclass
class Score:
    """One accuracy, the mean over the seed's label draws, or why there is none; and what it cost.

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
    lr_exponent: int | None = None
    seconds: float = 0.0
    runs: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str, str, Point]:
        """What its seeds have in common."""
        return self.arm, self.data, self.protocol, self.point


class Results:
    """All scores of a study, as far as its runs have come.

    Args:
        study: what was asked.
        arms: names, in the report's order.
        jobs: all that were planned.
        store: where runs lie.
        choice: of learning rates.
    """

    def __init__(
        self, study: Study, arms: list[str], jobs: list[Job], store: Store, choice: Choice
    ) -> None:
        self.study = study
        self.arms = arms
        self.store = store
        self.choice = choice
        self.by_id = {job.id: job for job in jobs}
        self.finals = grouped(job for job in jobs if job.stage == "transfer")
        self.tests = {job.needs[0]: job for job in jobs if job.stage == "test"}
        self.probes = grouped(job for job in jobs if job.stage in ("probe", "control"))
        self.scores = list(self._all())

    def _all(self) -> Iterable[Score]:
        for (arm, data, seed, point), finals in self.finals.items():
            yield self.finetuned(arm, data, seed, point, finals)
        rows = self.arms + [name for name in (RANDOM, PIXELS) if name in self.study.controls]
        points = list(dict.fromkeys([None, *(key[3] for key in self.probes)]))
        for data in self.study.transfer:
            for seed in range(self.study.seeds):
                for point in points if data == self.study.primary.data else [None]:
                    for arm in rows if point is None else self.arms:
                        yield from self.probed(arm, data, seed, point)

    def finetuned(self, arm: str, data: str, seed: int, point: Point, finals: list[Job]) -> Score:
        """The score of a fit of the task, tested once."""
        score = Score(arm, data, FINETUNE, seed, point, lr_exponent=finals[0].trial)
        tests = [self.tests[final.id] for final in finals]
        self._fill(score, [(test.draw, self.store.correct(test, "accuracy")) for test in tests])
        summaries = [self.store.summary(final) for final in finals]
        before = [self.by_id[final.needs[0]] for final in finals if final.needs][:1]
        score.pretraining_flops = sum(job.flops for job in before)
        score.total_flops = score.pretraining_flops + finals[0].flops
        score.total_flops += self.choice.cost(f"{arm} {data}", finals[0].id)
        score.images_seen = finals[0].images + sum(job.images for job in before)
        score.labels_used = finals[0].labels + sum(job.labels for job in before)
        score.labels_used += finals[0].validation if len(self.choice.trials) > 1 else 0
        score.seconds = sum(s.get("seconds") or 0.0 for s in summaries) / len(summaries)
        score.seconds += sum(self.store.summary(job).get("seconds") or 0.0 for job in before)
        score.runs = [str(self.store.folder(final) or "") for final in finals]
        score.protocol_id = FINETUNE
        return score

    def probed(self, arm: str, data: str, seed: int, point: Point) -> Iterable[Score]:
        """The scores of protocols on frozen features."""
        source = RANDOM if arm in (RANDOM, PIXELS) else arm
        jobs = self.probes.get((source, data, seed, point), [])
        names = [*self.study.protocols, *([CLASSICAL] if arm == PIXELS else [])]
        for name in names:
            score = Score(arm, data, name, seed, point)
            if not jobs:
                score.status = "not defined: no encoder before the task"
                yield score
                continue
            column = f"{name}_pixels" if arm == PIXELS and name != CLASSICAL else name
            self._fill(score, [(job.draw, self.store.correct(job, column)) for job in jobs])
            summary = self.store.summary(jobs[0])
            if score.accuracy is None and self.store.status(jobs[0]) == "done":
                score.status = "not defined: no patch tokens"
            score.protocol_id = summary.get("protocol_ids", {}).get(f"test/{column}", "")
            before = [self.by_id[job.needs[0]] for job in jobs if job.needs][:1]
            score.pretraining_flops = score.total_flops = sum(job.flops for job in before)
            score.images_seen = sum(job.images for job in before)
            score.labels_used = sum(job.labels for job in before) + jobs[0].labels
            chooses = f"test/{column}" in summary.get("chosen", {})
            score.labels_used += jobs[0].validation if chooses else 0
            score.seconds = summary.get("seconds") or 0.0
            score.runs = [str(self.store.folder(job) or "") for job in jobs]
            yield score

    @staticmethod
    def _fill(score: Score, parts: list[tuple[int, np.ndarray | None]]) -> None:
        """Put the folds of a draw side by side, each image once; then take the mean over draws."""
        draws: dict[int, list[np.ndarray]] = {}
        for draw, correct in parts:
            if correct is None:
                return
            draws.setdefault(draw, []).append(correct)
        score.correct = np.mean([np.concatenate(folds) for folds in draws.values()], axis=0)
        score.accuracy, score.status = float(score.correct.mean()), "done"

    def of(self, arm: str, data: str, protocol: str, point: Point = None) -> list[Score]:
        """The scores of all seeds."""
        key = (arm, data, protocol, point)
        return [score for score in self.scores if score.key == key]

    def table(
        self, data: str, protocol: str, point: Point = None
    ) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
        """Correctness, seeds x images, of every arm that has all its seeds; which are controls."""
        correct, controls = {}, []
        for arm in (*self.arms, RANDOM, PIXELS):
            scores = self.of(arm, data, protocol, point)
            if scores and all(score.correct is not None for score in scores):
                correct[arm] = np.stack([score.correct for score in scores])
                controls += [arm] if arm in (RANDOM, PIXELS) else []
        return correct, tuple(controls)

    def write(self, path: Path) -> None:
        """Write results.csv, in an order that does not depend on which run ended first."""
        part = path.with_suffix(".part")
        with part.open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(COLUMNS)
            for score in self.scores:
                out.writerow(as_row(score))
        part.replace(path)


def as_row(score: Score) -> list[Any]:
    """A row of results.csv; figures that are not there are empty, and `status` says why."""
    axis, value = score.point or ("", "")
    return [
        score.arm, score.data, score.protocol, axis, value, score.seed,
        "" if score.accuracy is None else repr(score.accuracy), score.protocol_id, score.status,
        f"{score.pretraining_flops:.6g}", f"{score.total_flops:.6g}", score.images_seen,
        score.labels_used, "" if score.lr_exponent is None else score.lr_exponent,
        f"{score.seconds:.1f}", ";".join(score.runs),
    ]  # fmt: skip


def grouped(jobs: Iterable[Job]) -> dict[tuple[str, str, int, Point], list[Job]]:
    """The label draws of a seed side by side, by arm, task, seed and point."""
    groups: dict[tuple[str, str, int, Point], list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.arm, job.data, job.seed, job.point), []).append(job)
    return groups


def image_groups(planner: Planner) -> dict[str, np.ndarray]:
    """What each test image belongs to, by task; such images are no more evidence than one."""
    arm, groups = next(iter(planner.arms)), {}
    for name in planner.study.transfer:
        commands = [planner.task_command(arm, Cell(name, fold=fold)) for fold in planner.folds]
        parts = [planner.dry_run(command).data.groups("test") for command in commands]
        if all(part is not None for part in parts):
            groups[name] = np.array([group for part in parts for group in part])
    return groups
