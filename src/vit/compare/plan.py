"""From a study to its jobs: ordinary commands, each with an id and with what it needs first.

The plan is a function of the study and of which learning rates were chosen; the jobs that follow
from a choice are planned once its trials are done.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from vit.compare.command import UPSTREAM, Command
from vit.compare.dry_run import EVALUATION, DryRun, DryRuns
from vit.compare.given_weights import weights_hash
from vit.compare.identity import VERSION, data_identity, fit_identity, without_defaults
from vit.compare.job import FORWARD, SPEED, START, Cell, Job, Point, Repetition, Stage
from vit.compare.lengths import budget_steps, longer_steps, with_length
from vit.compare.recipes import Recipes
from vit.compare.study import FINETUNE, Arm, Study
from vit.compare.tested_images import tested_images
from vit.compare.withheld import leaves
from vit.digest import digest


class Planner:
    """Everything that a study asks for.

    Args:
        study: checked.
        arms: by name, in the order of the report.
        dry_run: builds what a command would do without running it.
        protocol_settings: the settings of a protocol, by its name; an id holds them.
        cache: see Recipes.
    """

    def __init__(
        self,
        study: Study,
        arms: dict[str, Arm],
        dry_run: Callable[[Command], DryRun],
        protocol_settings: Callable[[str], dict[str, Any]],
        cache: str = "none",
    ) -> None:
        self.study = study
        self.arms = arms
        self.protocol_settings = protocol_settings
        self.recipes = Recipes(study, arms, cache if study.weights else "none")
        self.dry_run = DryRuns(dry_run)
        self.pretrainings: dict[tuple, Job] = {}
        self.points: list[Point] = [None]
        self.points += [(axis, v) for axis, values in study.axes.items() for v in values]
        self.folds: list[int | None] = list(range(study.folds)) if study.folds else [None]

    def all_jobs(self, chosen: dict[Repetition, int], trials: list[int]) -> list[Job]:
        """All jobs of the study; equal ids are one run that serves several cells.

        Args:
            chosen: learning-rate steps; without one an arm has its own rate.
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
                replace(self.transfer(arm, cell, trial), stage="tune")
                for seed in range(self.study.seeds)
                for name in self.study.transfer
                for cell in self.cells(name, seed)
                for arm in self.arms
                for trial in trials
            ]
        return jobs

    def first_cell(self, task: str) -> Cell:
        """Where a task is looked at before the start."""
        return Cell(task, fold=self.folds[0])

    def cells(self, task: str, seed: int, point: Point = None) -> list[Cell]:
        """The draws and folds of a seed; each validates on images of its own where it can."""
        draws = self.study.draws if self.draws_labels(task, point) else 1
        first = seed * self.study.draws
        redraws = self.dry_run(self.recipes.untrained(self.first_cell(task))).data.redraws
        return [
            Cell(task, seed, draw, point, fold, val_draw=draw if redraws else 0)
            for draw in range(first, first + draws)
            for fold in self.folds
        ]

    def draws_labels(self, task: str, point: Point = None) -> bool:
        """Do the label draws of a seed differ there?"""
        drawn = self.study.transfer[task].set.get("labels_per_class") is not None
        return drawn or (point is not None and point[0] == "labels_per_class")

    def tuned(self, arm: str, cell: Cell) -> Repetition:
        """Whose learning rate a cell uses: its own, or at an axis the declared point's."""
        first = cell.seed * self.study.draws
        draw = cell.draw if self.draws_labels(cell.data) else first
        return Repetition(arm, cell.data, cell.seed, draw, cell.fold)

    def _pretrainings(self, seed: int, fold: int | None) -> list[Job]:
        factors = [1.0, *(v for axis, v in filter(None, self.points) if axis == "budget")]
        jobs = (self.pretraining(arm, seed, f, fold) for arm in self.arms for f in factors)
        return [job for job in jobs if job]

    def _finals(self, chosen: dict[Repetition, int]) -> list[Job]:
        """The jobs of every cell; only the primary task is measured along the axes."""
        jobs = []
        for seed in range(self.study.seeds):
            for name in self.study.transfer:
                for point in self.points if name == self.study.primary.data else [None]:
                    for cell in self.cells(name, seed, point):
                        jobs += self._cell_jobs(chosen, cell)
        return jobs

    def _cell_jobs(self, chosen: dict[Repetition, int], cell: Cell) -> list[Job]:
        """Along an axis only the primary protocol is measured."""
        jobs, primary, declared = [], self.study.primary.protocol, cell.point is None
        for arm in self.arms:
            trial = chosen.get(self.tuned(arm, cell), 0)
            if not self.study.frozen_only and (declared or primary == FINETUNE):
                final = self.transfer(arm, cell._replace(final=True), trial)
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
        key = arm, seed, factor, self.folds[0] if fold is None else fold
        if key not in self.pretrainings:  # every run of a task asks
            self.pretrainings[key] = self._pretraining(*key)
        return self.pretrainings[key]

    def _pretraining(self, arm: str, seed: int, factor: float, fold: int | None) -> Job:
        # Built twice: only the built objective says if it uses labels, and that decides the data.
        with_labels = self.recipes.pretraining(arm, fold, uses_labels=True)
        uses_labels = self.dry_run(with_labels).uses_labels
        command = self.recipes.pretraining(arm, fold, uses_labels)
        dry_run = self.dry_run(command)
        command = with_length(command, dry_run, budget_steps(self.study.budget, dry_run, factor))
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
        if self.arms[arm].longer and cell.final:
            others = [self.pretraining(other, 0, cell.factor) for other in self.arms]
            seen = max((job.images for job in others if job), default=0)
            steps = longer_steps(self.study, dry_run, cell, seen)
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
            seconds=START + final.flops / final.images * final.tested * FORWARD / SPEED,
        )

    def probe(self, arm: str, cell: Cell) -> Job | None:
        """The protocols on frozen features; None for an arm that begins with the task."""
        given = self.arms[arm].pretrained
        before = self.pretraining(arm, cell.seed, cell.factor, cell.fold)
        if before is None and not given:
            return None
        if before is None:
            command = self.recipes.given(arm, cell)
            return self._evaluate(command, "probe", arm, cell, "none", weights_hash(given))
        data = {"data": self.recipes.data(cell, arm)}
        command = Command("evaluate", data, subject=UPSTREAM)
        job = self._evaluate(command, "probe", arm, cell, "none", before.id)
        return replace(job, needs=(before.id,))

    def control(self, cell: Cell) -> Job:
        """The same protocols on an untrained encoder and on pixels."""
        command = self.recipes.untrained(cell)
        pixels = {"raw_pixels": "pixels", "kmeans": "kmeans"}  # what evaluate calls them
        controls = ",".join(pixels[x] for x in pixels if x in self.study.controls) or "none"
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
        alone, dry_run, given = command, self.dry_run(command), self.arms[arm].pretrained
        upstream = before.id if before else None
        if stage == "transfer" and before:
            command = command.with_file("model.encoder", "model.pretrained", UPSTREAM)
        elif given:
            upstream = weights_hash(given)
        settings = dry_run.settings | {"seed_everything": seed}
        changes = self.study.finetune.set | self.arms[arm].finetune
        if upstream and not any(key.startswith("model.encoder") for key in leaves(changes)):
            settings |= {"model": settings["model"] | {"encoder": None}}  # the checkpoint's own
        about = fit_identity(settings, dry_run.learned_from, upstream)
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
            parameters=dry_run.parameters,
            seconds=dry_run.fit_seconds,
            about=about,
            **(tested_images(dry_run.data) if stage == "transfer" else {}),
            alone=alone,
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
            "data": data_identity(self._as_shown(dry_run.settings["data"], arm)),
            "splits": {s: dry_run.data.split_hash(s) for s in ("train", "val", "test")},
            "protocols": {name: self.protocol_settings(name) for name in self.study.protocols},
            "controls": controls,
        }
        counts = dry_run.data.spec.counts
        return Job(
            digest(about),
            self.recipes.evaluation(command, cell, controls, trained=bool(command.subject)),
            stage,
            arm,
            cell.seed,
            cell.draw,
            cell.data,
            cell.point,
            fold=cell.fold,
            labels=counts["train"],
            validation=dry_run.chosen_on,
            seconds=EVALUATION + dry_run.feature_seconds,
            feature_seconds=0.0 if command.subject else dry_run.feature_seconds,  # those are kept
            about=about,
            **tested_images(dry_run.data),
        )

    def _as_shown(self, data: dict[str, Any], arm: str) -> dict[str, Any]:
        """Settings of a task's data at the size that an arm is shown."""
        size = self.arms[arm].image_size if arm in self.arms else None
        return data | {"init_args": data["init_args"] | {"image_size": size}} if size else data
