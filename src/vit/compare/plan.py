"""From a study to its jobs: ordinary commands, each with an id and with what it needs first.

The plan is a function of the study and of which learning rates were chosen; the jobs that follow
from a choice are planned once its trials are done.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from vit.compare.command import UPSTREAM, Command
from vit.compare.dry_run import DryRun, DryRuns
from vit.compare.identity import VERSION, data_identity, fit_identity, without_defaults
from vit.compare.job import Cell, Job, Point, Stage
from vit.compare.recipes import Recipes
from vit.compare.study import FINETUNE, Arm, Study
from vit.compare.validation import MOST_STEPS
from vit.compare.withheld import leaves
from vit.digest import digest
from vit.models.weights import checkpoint_in


class Planner:
    """Everything that a study asks for.

    Args:
        study: checked.
        arms: by name, in the order of the report.
        dry_run: builds what a command would do without running it.
        protocol_settings: the settings of a protocol, by its name; an id holds them.
    """

    def __init__(
        self,
        study: Study,
        arms: dict[str, Arm],
        dry_run: Callable[[Command], DryRun],
        protocol_settings: Callable[[str], dict[str, Any]],
    ) -> None:
        self.study = study
        self.arms = arms
        self.protocol_settings = protocol_settings
        self.recipes = Recipes(study, arms)
        self.dry_run = DryRuns(dry_run)
        self.points: list[Point] = [None]
        self.points += [(axis, v) for axis, values in study.axes.items() for v in values]
        self.folds: list[int | None] = list(range(study.folds)) if study.folds else [None]

    def all_jobs(self, chosen: dict[str, int], trials: list[int]) -> list[Job]:
        """All jobs of the study; equal ids are one run that serves several cells.

        Args:
            chosen: learning-rate steps by "arm task"; without one an arm has its own rate.
            trials: steps that every arm tries.
        """
        return self.tuning_jobs(trials) + self._finals(chosen)

    def tuning_jobs(self, trials: list[int]) -> list[Job]:
        """The pre-trainings and, where there are several, the trials to choose among."""
        jobs = [
            job
            for seed in range(self.study.seeds)
            for fold in self.folds
            for job in self._pretrainings(seed, fold)
        ]
        if len(trials) > 1:
            jobs += [
                replace(self.transfer(arm, self.first_cell(name), trial), stage="tune")
                for name in self.study.transfer
                for arm in self.arms
                for trial in trials
            ]
        return jobs

    def first_cell(self, task: str) -> Cell:
        """Where a task is tuned and looked at before the start."""
        return Cell(task, fold=self.folds[0])

    def _pretrainings(self, seed: int, fold: int | None) -> list[Job]:
        factors = [1.0, *(v for axis, v in filter(None, self.points) if axis == "budget")]
        jobs = (self.pretraining(arm, seed, f, fold) for arm in self.arms for f in factors)
        return [job for job in jobs if job]

    def _finals(self, chosen: dict[str, int]) -> list[Job]:
        """The jobs of every cell; only the primary task is measured along the axes."""
        jobs = []
        for seed in range(self.study.seeds):
            for name in self.study.transfer:
                for number in range(self.study.label_draws):
                    draw = seed * self.study.label_draws + number
                    for point in self.points if name == self.study.primary.data else [None]:
                        for fold in self.folds:
                            jobs += self._cell_jobs(chosen, Cell(name, seed, draw, point, fold))
        return jobs

    def _cell_jobs(self, chosen: dict[str, int], cell: Cell) -> list[Job]:
        """Along an axis only the primary protocol is measured."""
        jobs, primary, declared = [], self.study.primary.protocol, cell.point is None
        for arm in self.arms:
            final = self.transfer(
                arm, cell._replace(final=True), chosen.get(f"{arm} {cell.data}", 0)
            )
            if declared or primary == FINETUNE:
                jobs += [final, self.test(final)]
            if self.study.protocols and (declared or primary != FINETUNE):
                probe = self.probe(arm, cell)
                jobs += [probe] if probe else []
        if self.study.protocols and self.study.controls and declared:
            jobs.append(self.control(cell))
        return jobs

    # ---- one job ------------------------------------------------------------------------------

    def pretraining(
        self, arm: str, seed: int, factor: float = 1.0, fold: int | None = None
    ) -> Job | None:
        """The fit before an arm sees the task; None for an arm without one."""
        if not self.arms[arm].pretrain:
            return None
        fold = self.folds[0] if fold is None else fold
        # Built twice: only the built objective says if it uses labels, and that decides the data.
        with_labels = self.recipes.pretraining(arm, fold, uses_labels=True)
        uses_labels = self.dry_run(with_labels).uses_labels
        command = self.recipes.pretraining(arm, fold, uses_labels)
        dry_run = self.dry_run(command)
        command = with_length(command, dry_run, self.budget_steps(dry_run, factor))
        return replace(self._fit(command, "pretrain", arm, seed), fold=fold)

    def transfer(self, arm: str, cell: Cell, trial: int = 0) -> Job:
        """The fit in which an arm learns a task."""
        before = self.pretraining(arm, cell.seed, cell.factor, cell.fold)
        command = self.task_command(arm, cell)
        if trial:
            lr = self.dry_run(command).settings["model"]["optimizer"]["init_args"]["lr"]
            lr *= self.study.tuning.lr**trial
            command = command.with_settings({"model.optimizer.lr": f"{lr:.6g}"})
        dry_run, steps = self.dry_run(command), self.study.finetune.steps
        steps += self.longer_steps(dry_run, cell.factor) if self.arms[arm].longer else 0
        command = with_length(command, dry_run, steps)
        job = self._fit(command, "transfer", arm, cell.seed, before)
        return replace(
            job, data=cell.data, draw=cell.draw, point=cell.point, trial=trial, fold=cell.fold
        )

    def test(self, final: Job) -> Job:
        """The one reading of the test split by a final model."""
        about = {"version": VERSION, "verb": "test", "upstream": final.id}
        command = Command("test").with_settings({"from": UPSTREAM})
        return replace(
            final,
            id=digest(about),
            command=command,
            stage="test",
            about=about,
            needs=(final.id,),
            flops=0.0,
            images=0,
            labels=0,
            seconds=2.0,
        )

    def probe(self, arm: str, cell: Cell) -> Job | None:
        """The protocols on frozen features; None for an arm that begins with the task."""
        given = self.arms[arm].pretrained
        before = self.pretraining(arm, cell.seed, cell.factor, cell.fold)
        if before is None and not given:
            return None
        subject = UPSTREAM if before else str(checkpoint_in(Path(given)))
        command = Command("evaluate", {"data": self.recipes.data(cell)}, subject=subject)
        upstream = before.id if before else file_hash(given)
        job = self._evaluate(command, "probe", arm, cell, "none", upstream)
        return replace(job, needs=(before.id,)) if before else job

    def control(self, cell: Cell) -> Job:
        """The same protocols on an untrained encoder and on pixels."""
        command = self.recipes.untrained(cell)
        controls = "pixels" if "raw_pixels" in self.study.controls else "none"
        encoder = without_defaults(self.dry_run(command).settings["model"]["encoder"])
        return self._evaluate(command, "control", "random_encoder", cell, controls, encoder)

    def task_command(self, arm: str, cell: Cell) -> Command:
        """How an arm learns a task, but for its learning rate, length and seed."""
        command = self.recipes.task(arm, cell)
        data = self.dry_run(command).data
        count = data.spec.counts["train"]
        few = count < data.batch_size  # a step sees them all
        return command.with_settings({"data.batch_size": count}) if few else command

    def _fit(
        self, command: Command, stage: Stage, arm: str, seed: int, before: Job | None = None
    ) -> Job:
        dry_run, given = self.dry_run(command), self.arms[arm].pretrained
        upstream = before.id if before else None
        if stage == "transfer" and before:
            command = command.with_file("model.encoder", "model.pretrained", UPSTREAM)
        elif given:
            upstream = file_hash(given)
        splits = {split: dry_run.data.split_hash(split) for split in ("train", "val")}
        settings = dry_run.settings | {"seed_everything": seed}
        changes = self.study.finetune.set | self.arms[arm].finetune
        if upstream and not any(key.startswith("model.encoder") for key in leaves(changes)):
            settings |= {"model": settings["model"] | {"encoder": None}}  # the checkpoint's own
        about = fit_identity(settings, splits, upstream)
        images = dry_run.settings["trainer"]["max_steps"] * dry_run.data.batch_size
        counts = dry_run.data.spec.counts
        return Job(
            digest(about),
            command.with_settings({"seed_everything": seed}),
            stage,
            arm,
            seed,
            needs=(before.id,) if before else (),
            flops=dry_run.flops * images,
            images=images,
            labels=counts["train"] if dry_run.uses_labels else 0,
            validation=dry_run.chosen_on,
            tested=counts["test"],
            parameters=dry_run.parameters,
            seconds=dry_run.seconds * images + 3,
            about=about,
        )

    def _evaluate(
        self, command: Command, stage: Stage, arm: str, cell: Cell, controls: str, upstream: Any
    ) -> Job:
        dry_run = self.dry_run(self.recipes.untrained(cell))
        about = {
            "version": VERSION,
            "verb": "evaluate",
            "upstream": upstream,
            "seed": cell.seed,
            "data": data_identity(dry_run.settings["data"]),
            "splits": {s: dry_run.data.split_hash(s) for s in ("train", "val", "test")},
            "protocols": {name: self.protocol_settings(name) for name in self.study.protocols},
            "controls": controls,
        }
        counts = dry_run.data.spec.counts
        return Job(
            digest(about),
            self.recipes.evaluation(command, cell, controls),
            stage,
            arm,
            cell.seed,
            cell.draw,
            cell.data,
            cell.point,
            fold=cell.fold,
            labels=counts["train"],
            validation=dry_run.chosen_on,
            tested=counts["test"],
            about=about,
        )

    # ---- lengths ------------------------------------------------------------------------------

    def longer_steps(self, task: DryRun, factor: float) -> int:
        """What an arm without pre-training gets for the task instead.

        A budget in epochs counts passes over pre-training data: here it is as many images as the
        longest pre-training sees.
        """
        others = [self.pretraining(arm, 0, factor) for arm in self.arms]
        seen = max((job.images for job in others if job), default=0)
        if self.study.budget.epochs is not None and seen:
            return max(round(seen / task.data.batch_size), 1)
        return self.budget_steps(task, factor)

    def budget_steps(self, dry_run: DryRun, factor: float) -> int:
        """Optimiser steps that the budget pays for."""
        budget, batch = self.study.budget, dry_run.data.batch_size
        if budget.flops is not None:
            steps = budget.flops / (dry_run.flops * batch)
        elif budget.images is not None:
            steps = budget.images / batch
        else:
            steps = budget.epochs * (dry_run.data.spec.counts["train"] // batch)
        if steps * factor > MOST_STEPS:
            paid = f"{steps * factor:.3g} steps"
            raise ValueError(f"budget: {paid}, at most {MOST_STEPS:.0e}; lower it")
        return max(round(steps * factor), 1)


def with_length(command: Command, dry_run: DryRun, steps: int) -> Command:
    """A command that ends after so many steps, whatever number of epochs its recipe asks for."""
    endless = {"trainer.max_epochs": -1}
    in_epochs = dry_run.settings["trainer"].get("max_epochs") is not None
    return command.with_settings(endless if in_epochs else {}, {"trainer.max_steps": steps})


def file_hash(path: str) -> str:
    """The hash of an imported checkpoint's bytes."""
    with checkpoint_in(Path(path)).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
