"""A study from its plan to its report."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import date
from pathlib import Path

import numpy as np
import torch

from vit.compare import statistics
from vit.compare.curves import draw
from vit.compare.findings import Findings
from vit.compare.history import History
from vit.compare.identity import digest
from vit.compare.job import Asked, Place, Step
from vit.compare.overlap import Overlap, labels_shared, overlap
from vit.compare.plan import Planner
from vit.compare.pool import Pool, shown
from vit.compare.progress import StudyProgress, minutes
from vit.compare.report import Report, plain
from vit.compare.results import Results
from vit.compare.slurm import write_jobs
from vit.compare.store import Store
from vit.compare.study import FINETUNE
from vit.compare.tuning import EXTENSIONS, Choice, choose, first_trials
from vit.compare.validity import Verdict, validity
from vit.whole_files import write_text

BYTES = 4 * 3 * 2  # of a parameter: float32, with AdamW's two moments, in two checkpoints


class Conductor:
    """One study.

    Args:
        planner: knows its runs.
        store: knows how far they are.
        folder: of the study's results.
        jobs: runs at a time; None: one a GPU, or one a core.
    """

    def __init__(self, planner: Planner, store: Store, folder: Path, jobs: int | None) -> None:
        self.planner, self.store, self.folder = planner, store, folder
        self.study, self.arms = planner.study, planner.arms
        self.gpus = torch.cuda.device_count()
        self.jobs = jobs or self.gpus or os.cpu_count() or 1
        self.history = History(folder / "study.json")
        self.refuse()
        self.planner.steps({}, first_trials(self.study.tuning.trials))  # mistakes come out now

    def refuse(self) -> None:
        """What no run shall begin with.

        Raises:
            ValueError: a labelled pre-training knows the labels that are tested on.
        """
        self.asked: dict[tuple[str, str], Asked] = {}
        for arm in self.arms:
            with naming(f"arm {arm}, pre-training"):
                step = self.planner.pretraining(arm, 0)
            if step:
                self.asked[arm, "pretrain"] = self.planner.ask(step.words[:-2])
            for name in self.study.transfer:
                with naming(f"arm {arm}, task {name}"):
                    task = self.planner.ask(self.planner.task_words(arm, self.first(name)))
                    refuse_task(task, self.study.folds or 1)
                    self.asked[arm, name] = task
        self.overlaps: dict[tuple[str, str], Overlap] = {}
        for arm in self.arms:
            before = self.asked.get((arm, "pretrain"))
            for name in self.study.transfer if before else ():
                task = self.asked[arm, name].data
                why = labels_shared(before.data, task) if before.uses_labels else ""
                if why:
                    raise ValueError(
                        f"arm {arm} would pre-train on the labels that {name} tests: {why}; give "
                        "pretrain.labelled other classes or images"
                    )
                self.overlaps[arm, name] = overlap(before.data, task)

    def first(self, name: str) -> Place:
        """Of a task."""
        return Place(name, fold=self.planner.folds[0])

    # ---- before -------------------------------------------------------------------------------

    def describe(self) -> int:
        """Every run, its cost, what is done, and what the study could see."""
        trials = first_trials(self.study.tuning.trials)
        steps = unique(self.planner.steps({}, trials))
        for step in steps:
            print(f"{self.store.status(step):<7} {step.label}  (about {minutes(step.seconds)})")
            print(f"        {shown(step, self.store)}")
        todo = [step for step in steps if self.store.status(step) != "done"]
        disk = sum(step.parameters * BYTES for step in todo if step.kind == "fit") / 1e9
        print(
            f"{len(steps)} runs, {len(steps) - len(todo)} done; the rest: about "
            f"{minutes(sum(step.seconds for step in todo) / self.jobs)}, {self.jobs} at a time on "
            f"this machine's CPU, {disk:.1f} GB on disk"
        )
        if len(trials) > 1:
            print("learning rates are chosen on the way: the runs after them may have another")
        print(self.detectable())
        return 0

    def detectable(self) -> str:
        """The difference that the study finds with 80 % power, guessed before it has begun."""
        study = self.study
        on_features = (
            study.primary.protocol != FINETUNE
        )  # only arms with an encoder before the task
        arms = sum(bool(a.pretrain or a.pretrained) or not on_features for a in self.arms.values())
        images = self.asked[next(iter(self.arms)), study.primary.data].data.spec.counts["test"]
        images *= study.folds or 1
        if study.seeds < 2 or arms < 2:
            return "no difference can be detected: it needs two arms and two seeds at least"
        noise = statistics.expected()
        points = 100 * statistics.detectable(study.seeds, images, arms, noise)
        cheaper = statistics.cheaper(study.seeds, images, arms, noise)
        return (
            f"with {study.seeds} seeds and {images:,} test images it detects, with 80 % power, a "
            f"difference of {points:.1f} points between two of {arms} arms (guessed: accuracy "
            f"80 %, seeds 0.7 points apart); twice the {cheaper} would lower it most"
        )

    def emit(self, kind: str) -> int:
        """Job arrays for a scheduler."""
        if kind != "slurm":
            raise ValueError(f"--emit: unknown {kind!r}; known: slurm")
        trials = first_trials(self.study.tuning.trials)
        steps = unique(self.planner.steps(None if len(trials) > 1 else {}, trials))
        print("\n".join(write_jobs(steps, self.store, self.folder)))
        return 0

    # ---- the runs -----------------------------------------------------------------------------

    def carry_out(self, main: Callable, rerun_stale: bool) -> int:
        """Run what is missing, then report; 1 if a run failed."""
        print(self.detectable(), flush=True)
        pool = Pool(self.store, main, self.jobs, self.gpus, lambda line: print(line, flush=True))
        bar = StudyProgress(pool)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: each run saves
        try:
            with bar.progress:
                choice = self._tune(pool, bar, rerun_stale)
                steps = self.planner.steps(choice.chosen, choice.trials)
                self._work(pool, bar, steps, rerun_stale)
        except KeyboardInterrupt:
            print("interrupted; the same command goes on where it stopped", file=sys.stderr)
            return 130
        self.report(steps, choice, pool.failed)
        return 1 if pool.failed else 0

    def _work(self, pool: Pool, bar: StudyProgress, steps: list[Step], rerun_stale: bool) -> None:
        steps = unique(steps)
        if rerun_stale:
            for step in steps:
                self.store.set_aside(step)
        bar.begin(steps, {step.id for step in steps if self.store.status(step) == "done"})
        pool.work(steps, bar.tick)

    def _tune(self, pool: Pool, bar: StudyProgress, rerun_stale: bool) -> Choice:
        trials = first_trials(self.study.tuning.trials)
        if len(trials) == 1:
            return Choice(trials)
        for extension in range(EXTENSIONS + 1):
            steps = self.planner.steps(None, trials)
            self._work(pool, bar, steps, rerun_stale)
            choice = choose(steps, self.store, trials)
            if extension == EXTENSIONS or not choice.edge:
                break
            trials = choice.extended
        return choice

    # ---- after --------------------------------------------------------------------------------

    def report(self, steps: list[Step], choice: Choice, failed: dict[str, str]) -> None:
        """results.csv, report.md, pictures, and the table."""
        results = Results(self.study, list(self.arms), steps, self.store, choice)
        self.folder.mkdir(parents=True, exist_ok=True)  # somebody may have tidied up meanwhile
        results.write(self.folder / "results.csv")
        labels = {step.id: step.label for step in steps}
        seeds, others = self.seen_before()
        found = Findings(results, self.arms, self.verdicts(steps), seeds, self.groups())
        stale = [step.label for step in unique(steps) if self.store.stale(step)]
        lines = [f"{labels.get(id_, id_)}: {why}" for id_, why in failed.items()]
        report = Report(found, self.asked, self.overlaps, lines, stale, others)
        pictures = draw(found, self.folder)
        write_text(self.folder / "report.md", report.page(pictures))
        for name in self.study.transfer:
            print(f"\n{name}: test accuracy, %, with {found.level}s")
            print("\n".join(plain(found.headline(name))))
        if suite := found.suite():
            print("\nmeans over tasks\n" + "\n".join(plain(suite)))
        if self.study.claims:
            print("\n" + "\n".join(plain(found.claims())))
        print("\n" + "\n- ".join(found.conclusion()))
        print(f"report: {self.folder / 'report.md'}")

    def groups(self) -> dict[str, np.ndarray]:
        """Images that belong together are one unit: not more evidence than one of them."""
        arm, found = next(iter(self.arms)), {}
        for name in self.study.transfer:
            folds = [
                self.planner.ask(self.planner.task_words(arm, Place(name, fold=fold)))
                for fold in self.planner.folds
            ]
            parts = [asked.data.groups("test") for asked in folds]
            if all(part is not None for part in parts):
                found[name] = np.array([group for part in parts for group in part])
        return found

    def verdicts(self, steps: list[Step]) -> dict[str, Verdict]:
        """Of self-supervised arms."""
        found = {}
        for arm in self.arms:
            asked = self.asked.get((arm, "pretrain"))
            if asked and not asked.uses_labels:
                found[arm] = validity(arm, steps, self.store, asked.trivial_baseline)
        return found

    def seen_before(self) -> tuple[list[int], list[str]]:
        """This report joins the earlier ones: what it extends, and what else was reported."""
        settings = asdict(self.study) | {"seeds": None, "question": None}
        own = digest([settings, {name: asdict(arm) for name, arm in self.arms.items()}])
        primary = f"{self.study.primary.data}, {self.study.primary.protocol}"
        return self.history.add(date.today().isoformat(), self.study.seeds, own, primary)


def refuse_task(task: Asked, folds: int) -> None:
    """What accuracy on a task cannot be measured with.

    Raises:
        ValueError: naming it.
    """
    spec, trainer = task.data.spec, task.settings["trainer"]
    if spec.multi_label:
        raise ValueError("accuracy is compared, and images have several labels")
    if not spec.classes:
        raise ValueError("accuracy is compared, and images have no labels")
    if spec.counts["test"] * folds < 2:
        raise ValueError(f"an interval needs two test images, it has {spec.counts['test']}")
    limit = trainer.get("limit_test_batches")  # 1 is one batch, 1.0 all of them
    if trainer.get("fast_dev_run") or not (limit is None or (limit == 1 and type(limit) is float)):
        raise ValueError(
            "trainer.fast_dev_run and trainer.limit_test_batches test a few images alone; take "
            "them out of the trainer's file"
        )


@contextlib.contextmanager
def naming(where: str) -> Iterator[None]:
    """Say which part of the study a mistake belongs to."""
    try:
        yield
    except Exception as error:
        error.args = (f"{where}: {error}",)
        raise


def unique(steps: list[Step]) -> list[Step]:
    """One a run, in order."""
    return list({step.id: step for step in reversed(steps)}.values())[::-1]
