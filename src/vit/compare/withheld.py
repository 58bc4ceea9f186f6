"""Keys that `set` may not contain, because the plan sets them.

The plan writes each command, and what it writes last wins: seeds, lengths, folds, draws, weights.
"""

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
    "data.labels_per_class": "use transfer.<task>.set, which probes heed too",
    **dict.fromkeys(LENGTHS, "use finetune.steps"),
}


def check_withheld(study: Study, arms: dict[str, Arm]) -> None:
    """Refuse what a `set` of a study must leave to the plan.

    Raises:
        ValueError: naming the place, the setting, and the study's own key for it.
    """
    axes = {f"data.{axis}": f"use axes.{axis}" for axis in study.axes}
    for where, settings, refused in _settings(study, arms, TASK | axes):
        for key in leaves(settings):
            if key in refused:
                raise ValueError(f"{where}: {key}: the plan decides this; {refused[key]}")
    for name, arm in arms.items():
        _check_encoder(study, name, arm)


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
    draws = folds | {"label_draw": "use label_draws"}
    if study.pretrain:
        yield "pretrain.set", study.pretrain.set, PRETRAINING
        yield "pretrain.labelled.set", study.pretrain.labelled.set, folds
        unlabelled = study.pretrain.unlabelled
        yield "pretrain.unlabelled.set", unlabelled.set if unlabelled else {}, folds
    yield "finetune.set", study.finetune.set, task
    for name, patch in study.transfer.items():
        yield f"transfer.{name}.set", patch.set, draws
        axes = study.axes if name == study.primary.data else ()
        final = draws | {axis: f"use axes.{axis}" for axis in axes}
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
