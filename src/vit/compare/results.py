"""From run folders to scores: one for each arm, task, protocol, seed and place on an axis."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vit.compare.job import Cell, Job, Point
from vit.compare.plan import Planner
from vit.compare.store import Store
from vit.compare.study import FINETUNE, Study
from vit.compare.tested_images import unread_images
from vit.compare.tuning import Choice

RANDOM, PIXELS = "random_encoder", "raw_pixels"
CLASSICAL = "pixels"  # the protocol of raw pixels: a classical classifier
KMEANS = "kmeans"  # a control and its protocol: a linear classifier of k-means features
CONTROL_ARMS = (RANDOM, PIXELS, KMEANS)
COLUMNS = (
    "arm", "data", "protocol", "axis", "value", "seed", "accuracy", "by_draw", "protocol_id",
    "status", "pretraining_flops", "total_flops", "images_seen", "labels_used", "lr_exponent",
    "seconds", "run",
)  # fmt: skip


@dataclass
class Score:
    """One accuracy, the mean over the seed's label draws, or why there is none; and what it cost.

    Args:
        accuracy: of the test split; None where it is not defined or not there.
        correct: D M, 1 where a test image was right; D label draws of the seed.
        status: done, missing, failed, or what makes it undefined.
        labels_used: that learning, tuning and probes looked at, validation included.
        labels_chosen_on: those of them on validation, that something was chosen by; else 0.
        total_flops: pre-training, fine-tuning, and the arm's other tuning trials for the task,
            of one draw; images_seen and seconds likewise.
        lr_exponents: the learning-rate steps of its draws and folds, in their order.
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
    labels_chosen_on: int = 0
    lr_exponents: tuple[int, ...] = ()
    seconds: float = 0.0
    runs: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str, str, Point]:
        """What its seeds have in common."""
        return self.arm, self.data, self.protocol, self.point


class Spent(NamedTuple):
    """What a study took so far, in seconds of computing, one run at a time.

    Args:
        all: every run; a new seed repeats all of it.
        tasks: fine-tuning, tests and probes; a new label draw repeats these alone.
    """

    all: float
    tasks: float


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
        rows = self.arms + [name for name in CONTROL_ARMS if name in self.study.controls]
        points = list(dict.fromkeys([None, *(key[3] for key in self.probes)]))
        for data in self.study.transfer:
            for seed in range(self.study.seeds):
                for point in points if data == self.study.primary.data else [None]:
                    for arm in rows if point is None else self.arms:
                        yield from self.probed(arm, data, seed, point)

    def finetuned(self, arm: str, data: str, seed: int, point: Point, finals: list[Job]) -> Score:
        """The score of a fit of the task, tested once."""
        score = Score(arm, data, FINETUNE, seed, point)
        score.lr_exponents = tuple(final.trial for final in finals)
        tests = [self.tests[final.id] for final in finals]
        self._fill(score, "accuracy", tests, finals)
        before = [self.by_id[final.needs[0]] for final in finals if final.needs][:1]
        spent = [*before, *self.choice.other_trials(finals[0])]
        score.pretraining_flops = sum(job.flops for job in before)
        score.total_flops = finals[0].flops + sum(job.flops for job in spent)
        score.images_seen = finals[0].images + sum(job.images for job in spent)
        score.labels_used = finals[0].labels + sum(job.labels for job in before)
        score.labels_chosen_on = finals[0].validation if len(self.choice.trials) > 1 else 0
        score.labels_used += score.labels_chosen_on
        score.seconds = sum(map(self._seconds, finals)) / len(finals)
        score.seconds += sum(map(self._seconds, spent))
        score.runs = [str(self.store.folder(final) or "") for final in finals]
        score.protocol_id = FINETUNE
        return score

    def probed(self, arm: str, data: str, seed: int, point: Point) -> Iterable[Score]:
        """The scores of protocols on frozen features."""
        source = RANDOM if arm in CONTROL_ARMS else arm
        jobs = self.probes.get((source, data, seed, point), [])
        names = [KMEANS] if arm == KMEANS else [*self.study.protocols]
        names += [CLASSICAL] if arm == PIXELS else []
        for name in names:
            score = Score(arm, data, name, seed, point)
            if not jobs:
                score.status = "not defined: no encoder before the task"
                yield score
                continue
            column = f"{name}_pixels" if arm == PIXELS and name != CLASSICAL else name
            self._fill(score, column, jobs)
            summary = self.store.summary(jobs[0])
            if score.accuracy is None and self.store.status(jobs[0]) == "done":
                score.status = "not defined: no patch tokens"
            score.protocol_id = summary.get("protocol_ids", {}).get(f"test/{column}", "")
            before = [self.by_id[job.needs[0]] for job in jobs if job.needs][:1]
            score.pretraining_flops = score.total_flops = sum(job.flops for job in before)
            score.images_seen = sum(job.images for job in before)
            score.labels_used = sum(job.labels for job in before) + jobs[0].labels
            chooses = name in self.study.protocols and f"test/{column}" in summary.get("chosen", {})
            score.labels_chosen_on = jobs[0].validation if chooses else 0
            score.labels_used += score.labels_chosen_on
            score.seconds = self._seconds(jobs[0])
            score.runs = [str(self.store.folder(job) or "") for job in jobs]
            yield score

    def _fill(
        self, score: Score, column: str, jobs: list[Job], before: list[Job] | None = None
    ) -> None:
        """Put the folds of a draw side by side, each image once, and the draws in rows.

        Args:
            score: whose figures are filled in.
            column: of the tables of correctness.
            jobs: that left them.
            before: jobs that came before these.
        """
        draws: dict[int, list[np.ndarray]] = {}
        for job in jobs:
            correct = self.store.correct(job, column)
            if correct is None:
                score.status = self._why_none([*(before or []), *jobs])
                return
            draws.setdefault(job.draw, []).append(correct)
        score.correct = np.stack([np.concatenate(folds) for folds in draws.values()])
        score.accuracy, score.status = float(score.correct.mean()), "done"

    def _why_none(self, jobs: list[Job]) -> str:
        """Did one of these jobs, or one that they need, fail? Else they have not come so far."""
        needed = [self.by_id[id_] for job in jobs for id_ in job.needs if id_ in self.by_id]
        failed = any(self.store.status(job) == "failed" for job in [*jobs, *needed])
        return "failed" if failed else "missing"

    def _seconds(self, job: Job) -> float:
        return self.store.summary(job).get("seconds") or 0.0

    def of(self, arm: str, data: str, protocol: str, point: Point = None) -> list[Score]:
        """The scores of all seeds."""
        key = (arm, data, protocol, point)
        return [score for score in self.scores if score.key == key]

    def table(
        self, data: str, protocol: str, point: Point = None
    ) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
        """Correctness, seeds x draws x images, of arms with all seeds; which are controls."""
        tables = {
            arm: self.correctness(arm, data, protocol, point) for arm in (*self.arms, *CONTROL_ARMS)
        }
        correct = {arm: rows for arm, rows in tables.items() if rows is not None}
        return correct, tuple(arm for arm in correct if arm in CONTROL_ARMS)

    def correctness(
        self, arm: str, data: str, protocol: str, point: Point = None
    ) -> np.ndarray | None:
        """Correctness, seeds x draws x images; None where a seed is missing."""
        scores = self.of(arm, data, protocol, point)
        if not scores or any(score.correct is None for score in scores):
            return None
        return np.stack([score.correct for score in scores])

    def spent(self) -> Spent:
        """What the study's runs took."""
        by_stage: dict[str, float] = {}
        for job in self.by_id.values():
            by_stage[job.stage] = by_stage.get(job.stage, 0.0) + self._seconds(job)
        every = sum(by_stage.values())
        return Spent(every, every - by_stage.get("pretrain", 0.0))

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
    by_draw = [] if score.correct is None else score.correct.mean(1).tolist()
    steps = score.lr_exponents[:1] if len(set(score.lr_exponents)) == 1 else score.lr_exponents
    return [
        score.arm, score.data, score.protocol, axis, value, score.seed,
        "" if score.accuracy is None else repr(score.accuracy), ";".join(map(repr, by_draw)),
        score.protocol_id, score.status, f"{score.pretraining_flops:.6g}",
        f"{score.total_flops:.6g}", score.images_seen, score.labels_used,
        ";".join(map(str, steps)), f"{score.seconds:.1f}", ";".join(score.runs),
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
        tests = [planner.dry_run(command).data for command in commands]
        parts = [data.groups("test") for data in tests]
        if all(part is not None for part in parts):
            read = [np.delete(p, unread_images(d)) for p, d in zip(parts, tests, strict=True)]
            groups[name] = np.concatenate(read)
    return groups
