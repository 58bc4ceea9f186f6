"""The dataclasses of a study's YAML; validation.py refuses what no study can be.

Paths inside a file are relative to that file. An arm is one file of configs/compare/arms.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

PROTOCOLS = ("knn", "ridge", "linear", "attentive")  # on frozen features; finetune is a fit
FINETUNE = "finetune"
FEW_LABEL_DRAWS = 5  # which images have labels moves accuracy more than a seed does
AXES = ("labels_per_class", "train_images", "image_size", "budget")


@dataclass
class ConfigPatch:
    """A config file, and keys in which the study differs from it.

    Args:
        config: path.
        set: settings by key; of a data file its own (`classes`), else the run's whole keys.
        final: of a task's data, settings of the final fit alone, once the learning rate is chosen.
        each: of a task's data, one key and its values: a task for each value, called by it.
    """

    config: str
    set: dict[str, Any] = field(default_factory=dict)
    final: dict[str, Any] = field(default_factory=dict)
    each: dict[str, list[Any]] = field(default_factory=dict)


@dataclass
class Pretraining:
    """What arms learn from before they see the task.

    Args:
        labelled: data for objectives that use labels; never the labels that are tested on.
        unlabelled: data for the others; null: the labelled data without their labels.
        set: keys of every pre-training that differ from its recipe.
    """

    labelled: ConfigPatch
    unlabelled: ConfigPatch | None = None
    set: dict[str, Any] = field(default_factory=dict)


@dataclass
class Finetuning:
    """How every arm learns the task.

    Args:
        config: recipe.
        steps: optimiser steps.
        set: keys that differ from the recipe.
    """

    config: str
    steps: int
    set: dict[str, Any] = field(default_factory=dict)


@dataclass
class Budget:
    """How much each pre-training may use; exactly one is given.

    Args:
        flops: floating-point operations of forward and backward.
        images: images seen.
        epochs: passes over the arm's own pre-training data.
    """

    flops: float | None = None
    images: int | None = None
    epochs: float | None = None


@dataclass
class Tuning:
    """Learning rates that each arm may try for the task, chosen on validation.

    Args:
        trials: how many, the arm's own in the middle; 1: only its own.
        lr: factor between neighbours.
    """

    trials: int = 3
    lr: float = 3.0


@dataclass
class Primary:
    """An endpoint: of a study's own the conclusion is drawn from it alone.

    Args:
        data: a name of `transfer`.
        protocol: finetune, or a protocol on frozen features.
        metric: accuracy.
    """

    data: str
    protocol: str = FINETUNE
    metric: Literal["accuracy"] = "accuracy"


@dataclass
class Claim:
    """A published difference at the primary endpoint, to be held against ours.

    Args:
        published: what was, and where.
        first: the arm that was better.
        second: the other.
        points: by how much; null: only that it was.
        at: the axis and value, as `{train_images: 1000}`; null: as declared.
    """

    published: str
    first: str
    second: str
    points: float | None = None
    at: dict[str, float] | None = None


@dataclass
class Arm:
    """One way to an encoder.

    Args:
        title: in words, for tables.
        pretrain: recipe; null: none.
        set: keys in which the pre-training differs from the recipe.
        finetune: keys in which the fine-tuning differs from the study's.
        longer: fine-tuning also gets the budget that other arms spend on pre-training.
        encoder: another encoder than the study's.
        pretrained: run folder, checkpoint, released file or name that is the start instead.
        checkpoint_cost: what that checkpoint cost and learned from; printed as not paid here.
        image_size: pixels of the square that it is shown, where that is another than the task's.
        on_request: `arms: all` leaves it out: it needs a file that not everybody has.
    """

    title: str
    pretrain: str | None = None
    set: dict[str, Any] = field(default_factory=dict)
    finetune: dict[str, Any] = field(default_factory=dict)
    longer: bool = False
    encoder: str | None = None
    pretrained: str | None = None
    checkpoint_cost: str | None = None
    image_size: int | None = None
    on_request: bool = False


@dataclass
class Study:
    """A comparison.

    Args:
        question: one sentence; the report's title.
        arms: names of files in configs/compare/arms (or paths), or all.
        encoder: of every arm.
        transfer: the tasks, by name.
        finetune: how an arm learns a task.
        primary: what the conclusion is drawn from.
        endpoints: others that are declared beforehand, one for each number of labels, say; what is
            in neither is exploratory.
        pretrain: what arms learn from first.
        budget: of each pre-training.
        protocols: how an arm is judged besides fine-tuning.
        tuning: learning rates tried for each arm.
        seeds: how many, from 0; fixed before the start.
        folds: each seed runs once for each of so many parts of the data, which is then what it is
            tested on (small sets: every image is tested); null: the data's own test split.
        label_draws: drawn label sets for each seed, shared by all arms; null: 5 where a task or
            an axis has labels_per_class, else 1.
        margin: differences within +- this count as none, a fraction; null: no claim of equality.
        axes: values tried one axis at a time, the rest as declared: labels_per_class,
            train_images, image_size (of the tasks), budget (a factor).
        controls: random_encoder, raw_pixels and kmeans, judged on frozen features.
        trainer: where it runs.
        claims: published differences to hold against what is found.
        shared_classes: names that mean other things in a labelled pre-training than in a task (a
            crane, say); all other names that stand in both are refused.
        weights: released encoders, paths or names, each of which becomes an arm: `--weights a b`;
            null: the study takes none.
        weights_px: no picture is shown to them larger than this, as a forward pass of 518 px
            takes five times one of 224.
        frozen_only: no arm is fine-tuned: protocols on frozen features alone, where the controls
            stand for what can be had without pre-training.
    """

    question: str
    arms: list[str] | Literal["all"]
    encoder: str
    transfer: dict[str, ConfigPatch]
    finetune: Finetuning
    primary: Primary
    endpoints: list[Primary] = field(default_factory=list)
    pretrain: Pretraining | None = None
    budget: Budget = field(default_factory=Budget)
    protocols: list[Literal["knn", "ridge", "linear", "attentive"]] = field(
        default_factory=lambda: list(PROTOCOLS)
    )
    tuning: Tuning = field(default_factory=Tuning)
    seeds: int = 5
    folds: int | None = None
    label_draws: int | None = None
    margin: float | None = None
    axes: dict[str, list[float]] = field(default_factory=dict)
    controls: list[Literal["random_encoder", "raw_pixels", "kmeans"]] = field(
        default_factory=lambda: ["random_encoder", "raw_pixels", "kmeans"]
    )
    trainer: str | None = None
    claims: list[Claim] = field(default_factory=list)
    shared_classes: list[str] = field(default_factory=list)
    weights: list[str] | None = None
    weights_px: int = 224
    frozen_only: bool = False

    @property
    def few_labels(self) -> bool:
        """Are labels drawn anywhere?"""
        drawn = any(p.set.get("labels_per_class") is not None for p in self.transfer.values())
        return drawn or "labels_per_class" in self.axes

    @property
    def draws(self) -> int:
        """The label draws of a seed."""
        return self.label_draws or (FEW_LABEL_DRAWS if self.few_labels else 1)


def expanded(transfer: dict[str, ConfigPatch]) -> dict[str, ConfigPatch]:
    """Tasks by name: an entry with `each` becomes a task for each value of its key.

    Raises:
        ValueError: naming an entry that cannot be, or a name that two tasks have.
    """
    tasks: dict[str, ConfigPatch] = {}
    for entry, patch in transfer.items():
        for name, task in _tasks_of(entry, patch):
            if name in tasks:
                raise ValueError(f"transfer: two tasks are called {name!r}; rename one")
            tasks[name] = task
    return tasks


def _tasks_of(entry: str, patch: ConfigPatch) -> list[tuple[str, ConfigPatch]]:
    if not patch.each:
        return [(entry, patch)]
    where = f"transfer.{entry}.each"
    if len(patch.each) != 1:
        raise ValueError(f"{where}: needs one key and its values, got {len(patch.each)} keys")
    (key, values), *_ = patch.each.items()
    whole = values and all(isinstance(value, str | int) for value in values)
    if not whole or len(set(map(str, values))) < len(values):
        raise ValueError(f"{where}: {key} needs words or whole numbers, each once, got {values}")
    if key in patch.set | patch.final:
        raise ValueError(f"{where}: {key} stands in set or final too; leave it out there")
    return [
        (str(value), ConfigPatch(patch.config, {key: value} | patch.set, patch.final))
        for value in values
    ]


def relative(path: str, to: Path) -> str:
    """A path written in a file, or typed, as seen from where the command is typed."""
    beside = to.parent / path
    chosen = Path(path) if Path(path).exists() and not beside.exists() else beside
    from_here = os.path.relpath(chosen)  # symbolic links stay as they are
    return str(Path(from_here).absolute()) if from_here.startswith("..") else from_here
