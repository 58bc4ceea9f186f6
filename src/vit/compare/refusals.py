"""What no honest study can be, said in one line before anything is built."""

import math
from collections.abc import Iterable

from vit.compare.study import AXES, FINETUNE, Arm, Study

RESERVED = ("random_encoder", "raw_pixels")


def check(study: Study, arms: dict[str, Arm]) -> None:
    """Look at every key that could be wrong by itself.

    Raises:
        ValueError: naming the key.
    """
    for key, number, least in (
        ("arms", len(arms), 1),
        ("transfer", len(study.transfer), 1),
        ("seeds", study.seeds, 1),
        ("label_draws", study.label_draws, 1),
        ("folds", 2 if study.folds is None else study.folds, 2),
        ("tuning.trials", study.tuning.trials, 1),
        ("tuning.lr", study.tuning.lr, 1.01),
        ("finetune.steps", study.finetune.steps, 1),
    ):
        if not least <= number < math.inf:
            raise ValueError(f"{key} must be at least {least}, got {number}")
    for key, value, known in _names(study, arms):
        if value not in known:
            raise ValueError(f"{key}: unknown {value!r}; known: {', '.join(map(str, known))}")
    if len(set(study.protocols)) < len(study.protocols):
        raise ValueError(f"protocols: each once, got {study.protocols}")
    if study.margin is not None and not 0 < study.margin < 1:
        raise ValueError(f"margin is a fraction between 0 and 1, got {study.margin}")
    drawn = any(p.set.get("labels_per_class") is not None for p in study.transfer.values())
    if study.label_draws > 1 and not drawn and "labels_per_class" not in study.axes:
        raise ValueError("label_draws: nothing is drawn without labels_per_class in transfer")
    _check_parts(study)
    _check_axes(study)
    _check_arms(study, arms)
    _check_budget(study, arms)


def _names(study: Study, arms: dict[str, Arm]) -> Iterable[tuple[str, str | float, tuple]]:
    """Keys whose values name something else."""
    yield "primary.data", study.primary.data, tuple(study.transfer)
    yield "primary.protocol", study.primary.protocol, (FINETUNE, *study.protocols)
    for axis in study.axes:
        yield "axes", axis, AXES
    for claim in study.claims:
        yield "claims.first", claim.first, tuple(arms)
        yield "claims.second", claim.second, tuple(arms)
        for axis, value in (claim.at or {}).items():
            yield "claims.at", axis, tuple(study.axes)
            yield f"claims.at.{axis}", value, tuple(study.axes[axis])


def _check_parts(study: Study) -> None:
    parts = [study.pretrain.labelled, study.pretrain.unlabelled] if study.pretrain else []
    if any(part.final for part in parts if part):
        raise ValueError("pretrain: final belongs to a task's data")


def _check_axes(study: Study) -> None:
    for axis, values in study.axes.items():
        whole = axis == "budget" or all(value == int(value) for value in values)
        if not values or len(set(values)) < len(values) or min(values) <= 0 or not whole:
            kind = "numbers" if axis == "budget" else "whole numbers"
            raise ValueError(f"axes.{axis}: {kind} above 0, each once, got {values}")


def _check_arms(study: Study, arms: dict[str, Arm]) -> None:
    for name, arm in arms.items():
        if name in RESERVED:
            raise ValueError(f"arm {name}: this name is a control's; rename the file")
        if arm.pretrain and arm.pretrained:
            raise ValueError(f"arm {name}: pretrain or pretrained, not both")
        if arm.set and not arm.pretrain:
            raise ValueError(f"arm {name}: set changes a pre-training, and there is none")
        if arm.pretrain and study.pretrain is None:
            raise ValueError(f"pretrain: arm {name} wants data to learn from")


def _check_budget(study: Study, arms: dict[str, Arm]) -> None:
    given = {key: value for key, value in vars(study.budget).items() if value is not None}
    if any(arm.pretrain or arm.longer for arm in arms.values()) and len(given) != 1:
        raise ValueError(f"budget: give one of flops, images, epochs, got {list(given) or 'none'}")
    for key, value in given.items():
        if not 0 < value < math.inf:
            raise ValueError(f"budget.{key} must be above 0, got {value}")
