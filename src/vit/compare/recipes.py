"""The commands that a study comes to, but for lengths, learning rates and seeds."""

from dataclasses import replace
from typing import Any

from vit.compare.command import Command
from vit.compare.job import Cell
from vit.compare.study import Arm, ConfigPatch, Study

LAST_WEIGHTS = {"keep_best": False, "test_after_fit": False}


class Recipes:
    """Commands by arm and cell.

    Args:
        study: says what differs from the recipes' files.
        arms: by name.
        cache: folder of the features of encoders that no run of the study trains; none: they are
            made anew each time.
    """

    def __init__(self, study: Study, arms: dict[str, Arm], cache: str = "none") -> None:
        self.study = study
        self.arms = arms
        self.cache = cache

    def pretraining(self, arm: str, fold: int | None, uses_labels: bool) -> Command:
        """How an arm learns from data that is not the task's.

        Args:
            arm: one with a pre-training.
            fold: which part of the data nobody learns from.
            uses_labels: does its objective?
        """
        given, pretrain = self.arms[arm], self.study.pretrain
        data = pretrain.labelled if uses_labels else pretrain.unlabelled or pretrain.labelled
        files = {"config": ConfigPatch(given.pretrain), "data": self._without_fold(data, fold)}
        command = Command("fit", files | self._start(arm) | self._trainer())
        return command.with_settings(pretrain.set, given.set, LAST_WEIGHTS)

    def task(self, arm: str, cell: Cell) -> Command:
        """How an arm learns a task from its encoder as it is before any training."""
        finetune = self.study.finetune
        files = {"config": ConfigPatch(finetune.config), "data": self.data(cell, arm)}
        command = Command("fit", files | self._start(arm) | self._trainer())
        return command.with_settings(finetune.set, self.arms[arm].finetune, LAST_WEIGHTS)

    def untrained(self, cell: Cell) -> Command:
        """The study's encoder on a task; evaluate and fit take the same files."""
        files = {
            "config": ConfigPatch(self.study.finetune.config),
            "data": self.data(cell),
            "model.encoder": ConfigPatch(self.study.encoder),
        }
        return Command("fit", files)

    def given(self, arm: str, cell: Cell) -> Command:
        """The encoder of an arm's own weights on a task, as it is before any training here."""
        config = {"config": ConfigPatch(self.study.finetune.config)}
        return Command("fit", config | {"data": self.data(cell, arm)} | self._start(arm))

    def evaluation(self, command: Command, cell: Cell, controls: str, trained: bool) -> Command:
        """A command with the settings of protocols on frozen features.

        Args:
            command: says which encoder and data.
            cell: whose seed is used.
            controls: as evaluate names them.
            trained: did a run of the study train it? Folds and seeds then share no features.
        """
        return replace(command, verb="evaluate").with_settings(
            {
                "controls": controls,
                "protocols": ",".join(self.study.protocols),
                "split": "val,test",
                "cache": "none" if trained else self.cache,
                "seed_everything": cell.seed,
            }
        )

    def data(self, cell: Cell, arm: str = "") -> ConfigPatch:
        """The data of a task at one place of the study, as large as an arm is shown it."""
        patch = self.study.transfer[cell.data]
        changes = self._without_fold(patch, cell.fold).set
        if arm and self.arms[arm].image_size:
            changes = changes | {"image_size": self.arms[arm].image_size}
        changes = changes | (patch.final if cell.final else {})
        if cell.point and cell.point[0] != "budget":  # whole numbers, which validation.py saw to
            changes = changes | {cell.point[0]: int(cell.point[1])}
        if changes.get("labels_per_class") is not None:
            changes = changes | {"label_draw": cell.draw}
        if cell.val_draw:
            changes = changes | {"val_draw": cell.val_draw}
        return ConfigPatch(patch.config, changes)

    def _without_fold(self, patch: ConfigPatch, fold: int | None) -> ConfigPatch:
        """Data of which one fold is tested, and learned from by nobody."""
        folds: dict[str, Any] = {"folds": self.study.folds, "fold": fold}
        return ConfigPatch(patch.config, patch.set | (folds if fold is not None else {}))

    def _start(self, arm: str) -> dict[str, ConfigPatch]:
        given = self.arms[arm]
        if given.pretrained:
            return {"model.pretrained": ConfigPatch(given.pretrained)}
        return {"model.encoder": ConfigPatch(given.encoder or self.study.encoder)}

    def _trainer(self) -> dict[str, ConfigPatch]:
        return {"trainer": ConfigPatch(self.study.trainer)} if self.study.trainer else {}
