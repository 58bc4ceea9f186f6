"""What a classifier confuses: its matrix, each class's precision and recall, its surest mistakes.

A fit looks at the validation split when it ends, `validate` and `test` at theirs; each split has
files of its own in the run folder, and the pictures stand in TensorBoard too.
"""

import math

import torch
from lightning.pytorch import Callback, Trainer

from vit.batch import Batch
from vit.callbacks.confusions import Confusions, Mistake
from vit.callbacks.figures import matrix_figure, mistakes_figure
from vit.callbacks.run import Run, callback_of
from vit.callbacks.tables import write_rows
from vit.evaluate.per_class import ClassScore, per_class, worst
from vit.metrics import Answers
from vit.module import ViTModule
from vit.objectives.parts.classification import MOST_CLASSES
from vit.published.decode import decode
from vit.whole_files import replacing

ALL = 10  # classes that are all printed; of more, the worst few
FEW = 5


class ConfusionMatrix(Callback):
    """Write per_class.<split>.csv, confusion.<split>.png and mistakes.<split>.png.

    Args:
        images: how many of the surest mistakes are shown, at most.
    """

    def __init__(self, images: int = 16) -> None:
        if images < 1:
            raise ValueError(f"ConfusionMatrix: images must be at least 1, got {images}")
        self.images = images
        self.confusions: Confusions | None = None
        self.lines: list[str] = []  # for people, of the split that was looked at last

    # ---- what is looked at ----------------------------------------------------------------------

    def begin(self, module: ViTModule) -> None:
        """Nothing is carried over from another split."""
        self.confusions, count = None, len(module.spec.classes)
        why = ""
        if not module.eval_objective.uses_labels or not hasattr(module.eval_objective, "predict"):
            why = "it needs a classifier"
        elif count > MOST_CLASSES:
            why = f"{count:,} classes are more than {MOST_CLASSES:,}"
        self.lines = [f"ConfusionMatrix: skipped, {why}"] if why else []
        if not why:
            several = module.spec.multi_label
            self.confusions = Confusions(count, several, self.images, module.device)

    def add(self, answers: Answers | None, batch: Batch, module: ViTModule) -> None:
        """Count a batch whose answers are there."""
        if self.confusions and answers is not None and answers.predicted is not None:
            self.confusions.add(answers, batch.images, module.eval_objective.pixels)

    def on_test_start(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """The test split begins."""
        self.begin(pl_module)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: ViTModule,
        outputs: Answers | None,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """A batch of the test split, whose answers were made anyway."""
        self.add(outputs, batch, pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """The test split is done."""
        self.finish(trainer, pl_module, "test")

    def on_validation_start(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Validation is looked at where it is the verb, and not a part of a fit."""
        if trainer.state.fn == "validate":
            self.begin(pl_module)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: ViTModule,
        outputs: Answers | None,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """A batch of the validation split."""
        if trainer.state.fn == "validate":
            self.add(outputs, batch, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """The validation split is done."""
        if trainer.state.fn == "validate":
            self.finish(trainer, pl_module, "val")

    @torch.no_grad()
    def on_train_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Look at the whole validation split once more, with the last weights."""
        self.begin(pl_module)
        if self.confusions is None:
            return
        objective, data = pl_module.eval_objective, trainer.datamodule
        was = objective.training
        objective.eval()
        context = pl_module.loader_context().whole_images()
        for batch in data.evaluation_loader("val", context):
            shown = data.show(batch.to(pl_module.device), context, training=False)
            with trainer.precision_plugin.val_step_context():
                losses = objective(shown, 1.0)
            index = torch.where(shown.labels >= 0, shown.index, -1)
            self.add(Answers(index, None, losses.predicted), shown, pl_module)
        objective.train(was)
        kept = callback_of(trainer, Run).files.folder / "checkpoints" / "best.ckpt"
        self.finish(trainer, pl_module, "val", ", last weights" if kept.exists() else "")

    # ---- what is written ------------------------------------------------------------------------

    def finish(self, trainer: Trainer, module: ViTModule, split: str, weights: str = "") -> None:
        """Bring the ranks together; rank 0 writes.

        Args:
            trainer: of the run.
            module: what was evaluated.
            split: on which images.
            weights: for titles, where the run keeps others too.
        """
        seen, self.confusions = self.confusions, None
        if seen is None:
            return
        seen.over_ranks()
        if not seen.table.any():
            kind = type(module.eval_objective).__name__
            self.lines = [f"ConfusionMatrix: skipped, {kind} says of no {split} image what it is"]
        elif trainer.is_global_zero:
            self.write(trainer, module.spec.classes, seen, split, weights)

    def write(
        self,
        trainer: Trainer,
        classes: tuple[str, ...],
        seen: Confusions,
        split: str,
        weights: str,
    ) -> None:
        """Write the table, and where each image has one label both pictures."""
        files, names = callback_of(trainer, Run).files, trainer.datamodule.names(split)
        scores, title = per_class(classes, seen.counts()), split + weights
        table = files.folder / f"per_class.{split}.csv"
        write_rows(table, list(ClassScore._fields), (row(score) for score in scores))
        pictures = {} if seen.several else drawn(classes, seen, title, names)
        for name in ("confusion", "mistakes"):
            path = files.folder / f"{name}.{split}.png"
            if name not in pictures:
                path.unlink(missing_ok=True)  # an earlier test's
                continue
            with replacing(path) as file:
                file.write(pictures[name])
            pixels = decode(pictures[name]).float() / 255
            files.picture(f"pictures/{name}_{split}", pixels, trainer.global_step)
        self.lines = [
            *class_lines(scores, title),
            f"{split}: tables and pictures: {table}"
            + "".join(f", {name}.{split}.png" for name in pictures),
        ]


def drawn(
    classes: tuple[str, ...], seen: Confusions, title: str, files: list[str] | None
) -> dict[str, bytes]:
    """Both pictures by name; one where there is no mistake.

    Args:
        classes: their names.
        seen: of all ranks.
        title: which split, and which weights.
        files: of its images, where they are files.
    """
    right, images, _ = seen.counts().sum(1).tolist()
    head = f"{title}: {right:,} of {images:,} images right ({percent(right / images)})"
    pictures = {"confusion": matrix_figure(seen.table.cpu(), classes, head)}
    mistakes = seen.mistakes()
    if mistakes:
        names = names_of(mistakes, files)
        head = f"{title}: the {len(mistakes)} surest of {images - right:,} mistakes"
        pictures["mistakes"] = mistakes_figure(mistakes, classes, names, head)
    return pictures


def names_of(mistakes: list[Mistake], files: list[str] | None) -> list[str]:
    """The file of each image, or its number where it is none."""
    return [files[m.index] if files else f"image {m.index}" for m in mistakes]


def row(score: ClassScore) -> list[str | int]:
    """A line of the table; nothing stands where there was nothing to divide by."""
    fractions = ("" if math.isnan(value) else f"{value:.6f}" for value in score[4:])
    return [*score[:4], *fractions]


def class_lines(scores: list[ClassScore], title: str) -> list[str]:
    """What is printed: all classes, or of many the worst."""
    shown = scores if len(scores) <= ALL else worst(scores, FEW)
    which = "" if len(scores) <= ALL else f", the {len(shown)} worst of {len(scores)}"
    width = max(len(score.name) for score in shown)
    head = f"  {'':<{width}}  images  precision   recall       F1"
    lines = [f"{title}: class by class{which}", head]
    for score in shown:
        fractions = "".join(f"{percent(value):>9}" for value in score[4:])
        lines.append(f"  {score.name:<{width}}  {score.images:>6}  {fractions}")
    return lines


def percent(value: float) -> str:
    """A fraction in percent; a dash where there was nothing to divide by."""
    return "-" if math.isnan(value) else f"{100 * value:.1f} %"
