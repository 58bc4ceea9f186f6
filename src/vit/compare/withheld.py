"""Keys that `set` may not contain: the plan sets them, or arms would differ in what they learn.

The plan writes each command, and what it writes last wins: seeds, lengths, folds, draws, weights.
Which images and labels a task has is said once, in `transfer`, for every arm and every probe.
"""

import re
from collections.abc import Iterator
from typing import Any

from vit.compare.study import Arm, Study

NOTHING = "leave it out"
COMMON = {  # settings of a run, and what says so in a study
    "seed_everything": "use seeds",
    "model.pretrained": "use an arm's pretrained",
    "data.fold": "use folds",
    "data.folds": "use folds",
    "data.label_draw": "use label_draws",
    "data.val_draw": "use label_draws",
    "trainer.limit_test_batches": f"{NOTHING}: every test image counts",
    "keep_best": f"{NOTHING}: the last weights count",
    "test_after_fit": f"{NOTHING}: each final fit is tested once",
    **dict.fromkeys(("name", "logs", "resume", "from", "print_config", "help", "debug"), NOTHING),
}
LENGTHS = ("trainer.max_steps", "trainer.max_epochs", "trainer.fast_dev_run")
PRETRAINING = COMMON | {
    "config": "use an arm's pretrain, which is the config",
    "data": "use pretrain.labelled and pretrain.unlabelled",
    "model.encoder": "use encoder, of the study or of an arm",
    **dict.fromkeys(LENGTHS, "use budget"),
}
TASK = COMMON | {
    "config": "use finetune.config",
    "data": "use transfer",
    **dict.fromkeys(LENGTHS, "use finetune.steps"),
}
AUGMENTATION = ("augmentation",)
LEARNING = (*AUGMENTATION, "balanced", "repeats", "shrink")  # what a training does with its images
CONTROL = ("shuffled_labels",)  # of a pre-training alone: its arm should not win
LOADING = ("batch_size", "eval_batch_size", "workers")
SHOWING = ("image_size", "center_crop_ratio", "interpolation", "letterbox")
MAY = {  # keys of `data` that a place may hold, and where all others belong
    "finetune.set": (LEARNING + LOADING, "use transfer.<task>.set, which probes heed too"),
    "finetune": (AUGMENTATION, "use transfer.<task>.set, which is every arm's"),
    "set": (
        LEARNING + LOADING + SHOWING + CONTROL,
        "use pretrain.labelled.set or pretrain.unlabelled.set",
    ),
}
ONCE = (
    "fold",
    "folds",
    "classes",
    "labels_per_class",
    "test_fraction",
    *CONTROL,
)  # not of a final fit alone


def check_withheld(study: Study, arms: dict[str, Arm]) -> None:
    """Refuse what a `set` of a study must leave to the plan.

    Raises:
        ValueError: naming the place, the setting, and the study's own key for it.
    """
    axes = {f"data.{axis}": f"use axes.{axis}" for axis in study.axes}
    for where, settings, refused in _settings(study, arms, TASK | axes):
        for key in leaves(settings):
            if not re.fullmatch(r"[\w.+]+", key):  # with = or a space it could hide another key
                raise ValueError(f"{where}: {key[:80]!r} is no key; names and dots make one")
            if why := refused.get(key) or _belongs_elsewhere(where, key):
                raise ValueError(f"{where}: {key}: the plan decides this; {why}")
    for name, arm in arms.items():
        _check_encoder(study, name, arm)


def _belongs_elsewhere(where: str, key: str) -> str:
    """Where a key of `data` belongs that changes which images or labels there are; empty: here."""
    allowed, instead = MAY.get(where.rpartition(": ")[2], ((), ""))
    name = key.removeprefix("data.").split(".")[0]
    return instead if key.startswith("data.") and name not in allowed else ""


def _check_encoder(study: Study, name: str, arm: Arm) -> None:
    """Weights bring their encoder along; a part of it alone cannot be set for the task."""
    places = {"finetune.set": study.finetune.set, f"arm {name}: finetune": arm.finetune}
    given = any("model.encoder" in leaves(settings) for settings in places.values())
    if given or not (arm.pretrain or arm.pretrained):
        return
    for where, settings in places.items():
        for key in leaves(settings):
            if key.startswith("model.encoder."):
                raise ValueError(
                    f"{where}: {key}: arm {name} begins with weights and their encoder; set "
                    "model.encoder beside it"
                )


def _settings(
    study: Study, arms: dict[str, Arm], task: dict[str, str]
) -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
    """Where settings stand, what they are, and which of them are refused there."""
    folds = dict.fromkeys(("fold", "folds"), "use folds") if study.folds else {}
    draws = folds | dict.fromkeys(("label_draw", "val_draw"), "use label_draws")
    if study.pretrain:
        yield "pretrain.set", study.pretrain.set, PRETRAINING
        yield "pretrain.labelled.set", study.pretrain.labelled.set, folds
        unlabelled = study.pretrain.unlabelled
        yield "pretrain.unlabelled.set", unlabelled.set if unlabelled else {}, folds
    yield "finetune.set", study.finetune.set, task
    for name, patch in study.transfer.items():
        yield f"transfer.{name}.set", patch.set, draws
        axes = study.axes if name == study.primary.data else ()
        final = dict.fromkeys(ONCE, f"use transfer.{name}.set: the tested images stay the same")
        final |= draws | {axis: f"use axes.{axis}" for axis in axes}
        yield f"transfer.{name}.final", patch.final, final
    for name, arm in arms.items():
        yield f"arm {name}: set", arm.set, PRETRAINING
        yield f"arm {name}: finetune", arm.finetune, task


def leaves(settings: dict[str, Any], above: str = "") -> Iterator[str]:
    """The whole keys of settings, however nested; a class goes by the key that it is for."""
    for key, value in settings.items():
        path = f"{above}.{key}" if above else key
        if isinstance(value, dict) and value:
            yield from leaves(value, path)
        else:
            path = f".{path}.".replace(".init_args.", ".").strip(".")
            yield path.removesuffix(".class_path")
