"""From a study to its runs: ordinary commands, each with an id and with what it needs first.

The plan is a function of the study and of which learning rates were chosen; the runs that follow
from a choice are planned once its trials are done.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from vit.compare.answers import Answers, Ask
from vit.compare.commands import data_words, file_hash, keys
from vit.compare.identity import VERSION, data_identity, digest, fit_identity, plain
from vit.compare.job import UPSTREAM, Asked, Place, Point, Stage, Step
from vit.compare.study import FINETUNE, Arm, Part, Study
from vit.compare.validation import MOST_STEPS
from vit.compare.withheld import leaves
from vit.models.weights import checkpoint_in

Protocols = Callable[[list[str]], dict[str, Any]]  # settings of protocols, which their ids hold


class Planner:
    """Everything that a study asks for.

    Args:
        study: checked.
        arms: by name, in the order of the report.
        ask: builds a command's parts without running it.
        protocols: the settings of protocols by name.
    """

    def __init__(self, study: Study, arms: dict[str, Arm], ask: Ask, protocols: Protocols) -> None:
        self.study, self.arms, self.protocols = study, arms, protocols
        self.ask = Answers(ask)
        self.points: list[Point] = [None]
        self.points += [(axis, v) for axis, values in study.axes.items() for v in values]
        self.folds: list[int | None] = list(range(study.folds)) if study.folds else [None]

    def steps(self, chosen: dict[str, int] | None, trials: list[int]) -> list[Step]:
        """All steps that are known; equal ids are one run that serves several cells.

        Args:
            chosen: by "arm task", the power of the learning rate's factor; None: not chosen yet.
            trials: powers that every arm tries.
        """
        found = [
            step
            for seed in range(self.study.seeds)
            for fold in self.folds
            for step in self._pretrainings(seed, fold)
        ]
        if len(trials) > 1:
            found += [
                replace(self.transfer(arm, Place(name, fold=self.folds[0]), trial), stage="tune")
                for name in self.study.transfer
                for arm in self.arms
                for trial in trials
            ]
        return found if chosen is None else found + self._judgements(chosen)

    def _pretrainings(self, seed: int, fold: int | None) -> list[Step]:
        factors = [1.0, *(v for axis, v in filter(None, self.points) if axis == "budget")]
        steps = (self.pretraining(arm, seed, f, fold) for arm in self.arms for f in factors)
        return [step for step in steps if step]

    def _judgements(self, chosen: dict[str, int]) -> list[Step]:
        steps = []
        for seed in range(self.study.seeds):
            for name in self.study.transfer:
                for own in range(self.study.label_draws):
                    draw = seed * self.study.label_draws + own
                    for point in self.points if name == self.study.primary.data else [None]:
                        for fold in self.folds:
                            steps += self._cells(chosen, Place(name, seed, draw, point, fold))
        return steps

    def _cells(self, chosen: dict[str, int], place: Place) -> list[Step]:
        """Along an axis only the primary protocol is measured."""
        steps, primary, declared = [], self.study.primary.protocol, place.point is None
        for arm in self.arms:
            final = self.transfer(
                arm, place._replace(final=True), chosen.get(f"{arm} {place.data}", 0)
            )
            if declared or primary == FINETUNE:
                steps += [final, self.test(final)]
            if self.study.protocols and (declared or primary != FINETUNE):
                probe = self.probe(arm, place)
                steps += [probe] if probe else []
        if self.study.protocols and self.study.controls and declared:
            steps.append(self.control(place))
        return steps

    # ---- one run ------------------------------------------------------------------------------

    def pretraining(
        self, arm: str, seed: int, factor: float = 1.0, fold: int | None = None
    ) -> Step | None:
        """None for an arm without one."""
        what, plan = self.arms[arm], self.study.pretrain
        if not what.pretrain:
            return None
        base = ("fit", "--config", what.pretrain)
        tail = (
            *self._encoder(arm), *self._where(), *keys(plan.set), *keys(what.set),
            "--keep_best", "false", "--test_after_fit", "false",
        )  # fmt: skip
        fold = self.folds[0] if fold is None else fold
        asked = self.ask((*base, *data_words(self._parted(plan.labelled, fold)), *tail))
        part = plan.labelled if asked.uses_labels else plan.unlabelled or plan.labelled
        words = (*base, *data_words(self._parted(part, fold)), *tail)
        asked = self.ask(words)
        words += self._length(asked, self.budget_steps(asked, factor))
        step = self._fit(words, asked.flops, "pretrain", arm, seed)
        return replace(step, fold=fold)

    def transfer(self, arm: str, place: Place, trial: int = 0) -> Step:
        """An arm learns a task."""
        study, what = self.study, self.arms[arm]
        before = self.pretraining(arm, place.seed, place.factor, place.fold)
        words = self.task_words(arm, place)
        if trial:
            lr = (
                self.ask(words).settings["model"]["optimizer"]["init_args"]["lr"]
                * study.tuning.lr**trial
            )
            words += ("--model.optimizer.lr", f"{lr:.6g}")
        asked = self.ask(words)
        steps = study.finetune.steps
        steps += self.longer_steps(asked, place.factor) if what.longer else 0
        words += self._length(asked, steps)
        step = self._fit(words, asked.flops, "transfer", arm, place.seed, before)
        return replace(
            step, data=place.data, draw=place.draw, point=place.point, trial=trial, fold=place.fold
        )

    def test(self, final: Step) -> Step:
        """The one reading of the test split by a final model."""
        about = {"version": VERSION, "verb": "test", "upstream": final.id}
        return replace(
            final, id=digest(about), kind="test", stage="test", about=about, needs=(final.id,),
            words=("test", "--from", UPSTREAM), flops=0.0, images=0, labels=0, seconds=2.0,
        )  # fmt: skip

    def probe(self, arm: str, place: Place) -> Step | None:
        """Protocols on frozen features; None for an arm that begins with the task."""
        what = self.arms[arm]
        before = self.pretraining(arm, place.seed, place.factor, place.fold)
        if before is None and not what.pretrained:
            return None
        start = UPSTREAM if before else str(checkpoint_in(Path(what.pretrained)))
        words = ("evaluate", start, *self._task(place), "--controls", "none")
        upstream = before.id if before else file_hash(what.pretrained)
        step = self._evaluate(words, arm, place, upstream)
        return replace(step, stage="probe", needs=(before.id,) if before else ())

    def control(self, place: Place) -> Step:
        """The same protocols on an untrained encoder and on pixels."""
        words = (
            "evaluate", "--config", self.study.finetune.config, *self._task(place),
            "--model.encoder", self.study.encoder, "--controls",
            "pixels" if "raw_pixels" in self.study.controls else "none",
        )  # fmt: skip
        encoder = plain(self.ask(("fit", *words[1:-2])).settings["model"]["encoder"])
        return self._evaluate(words, "random_encoder", place, encoder)

    def task_words(self, arm: str, place: Place) -> tuple[str, ...]:
        """How an arm learns a task, but for its learning rate, length and seed."""
        study = self.study
        words = (
            "fit", "--config", study.finetune.config, *self._task(place),
            *self._encoder(arm), *self._where(), *keys(study.finetune.set),
            *keys(self.arms[arm].finetune), "--keep_best", "false", "--test_after_fit", "false",
        )  # fmt: skip
        asked = self.ask(words)
        count = asked.data.spec.counts["train"]
        if count < asked.data.batch_size:  # few labels: a step sees them all
            words += ("--data.batch_size", str(count))
        return words

    # ---- parts of commands --------------------------------------------------------------------

    def _fit(
        self,
        words: tuple[str, ...],
        flops: float,
        stage: Stage,
        arm: str,
        seed: int,
        before: Step | None = None,
    ) -> Step:
        asked, given = self.ask(words), self.arms[arm].pretrained
        upstream = before.id if before else None
        if stage == "transfer" and before:
            at = words.index("--model.encoder")
            words = (*words[:at], "--model.pretrained", UPSTREAM, *words[at + 2 :])
        elif given:
            upstream = file_hash(given)
        splits = {split: asked.data.split_hash(split) for split in ("train", "val")}
        settings = asked.settings | {"seed_everything": seed}
        own = self.study.finetune.set | self.arms[arm].finetune
        if upstream and not any(key.startswith("model.encoder") for key in leaves(own)):
            settings |= {"model": settings["model"] | {"encoder": None}}  # the checkpoint's own
        about = fit_identity(settings, splits, upstream)
        images = asked.settings["trainer"]["max_steps"] * asked.data.batch_size
        return Step(
            digest(about), "fit", stage, arm, seed, (*words, "--seed_everything", str(seed)),
            needs=(before.id,) if before else (), flops=flops * images, images=images,
            labels=asked.data.spec.counts["train"] if asked.uses_labels else 0,
            validation=asked.chosen_on, tested=asked.data.spec.counts["test"],
            parameters=asked.parameters, seconds=asked.seconds * images + 3, about=about,
        )  # fmt: skip

    def _evaluate(
        self,
        words: tuple[str, ...],
        arm: str,
        place: Place,
        upstream: Any,
    ) -> Step:
        protocols = list(self.study.protocols)
        words += ("--protocols", ",".join(protocols), "--split", "val,test")
        words += ("--cache", "none", "--seed_everything", str(place.seed))
        asked = self.ask(("fit", "--config", self.study.finetune.config, *self._task(place),
                          "--model.encoder", self.study.encoder))  # fmt: skip
        about = {
            "version": VERSION, "verb": "evaluate", "upstream": upstream, "seed": place.seed,
            "data": data_identity(asked.settings["data"]),
            "splits": {s: asked.data.split_hash(s) for s in ("train", "val", "test")},
            "protocols": self.protocols(protocols),
            "controls": words[words.index("--controls") + 1],
        }  # fmt: skip
        return Step(
            digest(about), "evaluate", "control", arm, place.seed, words, place.draw, place.data,
            place.point, fold=place.fold,
            labels=asked.data.spec.counts["train"], validation=asked.chosen_on,
            tested=asked.data.spec.counts["test"], about=about,
        )  # fmt: skip

    def _task(self, place: Place) -> tuple[str, ...]:
        part, point = self._parted(self.study.transfer[place.data], place.fold), place.point
        if place.final:
            part = Part(part.config, part.set | self.study.transfer[place.data].final)
        if point and point[0] != "budget":  # whole numbers, which study.check saw to
            part = Part(part.config, part.set | {point[0]: int(point[1])})
        if part.set.get("labels_per_class") is not None:
            part = Part(part.config, part.set | {"label_draw": place.draw})
        return data_words(part)

    def _parted(self, part: Part, fold: int | None) -> Part:
        """Data of which one fold is tested, and pre-trained on by nobody."""
        if fold is None:
            return part
        return Part(part.config, part.set | {"folds": self.study.folds, "fold": fold})

    def _encoder(self, arm: str) -> tuple[str, ...]:
        what = self.arms[arm]
        if what.pretrained:
            return ("--model.pretrained", what.pretrained)
        return ("--model.encoder", what.encoder or self.study.encoder)

    def _where(self) -> tuple[str, ...]:
        return ("--trainer", self.study.trainer) if self.study.trainer else ()

    def _length(self, asked: Asked, steps: int) -> tuple[str, ...]:
        ended = asked.settings["trainer"].get("max_epochs") is not None
        epochs = ("--trainer.max_epochs", "-1") if ended else ()
        return (*epochs, "--trainer.max_steps", str(steps))

    def longer_steps(self, asked: Asked, factor: float) -> int:
        """What an arm without pre-training gets for the task instead.

        A budget in epochs counts passes over pre-training data: here it is as many images as the
        longest pre-training sees.
        """
        others = [self.pretraining(arm, 0, factor) for arm in self.arms]
        seen = max((step.images for step in others if step), default=0)
        if self.study.budget.epochs is not None and seen:
            return max(round(seen / asked.data.batch_size), 1)
        return self.budget_steps(asked, factor)

    def budget_steps(self, asked: Asked, factor: float) -> int:
        """Optimiser steps that the budget pays for."""
        budget, batch = self.study.budget, asked.data.batch_size
        if budget.flops is not None:
            steps = budget.flops / (asked.flops * batch)
        elif budget.images is not None:
            steps = budget.images / batch
        else:
            steps = budget.epochs * (asked.data.spec.counts["train"] // batch)
        if steps * factor > MOST_STEPS:
            paid = f"{steps * factor:.3g} steps"
            raise ValueError(f"budget: {paid}, at most {MOST_STEPS:.0e}; lower it")
        return max(round(steps * factor), 1)
