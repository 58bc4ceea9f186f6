"""Rules for a study's YAML; each violation is one error, raised before anything is built.

Other stages refuse what these rules cannot see, in this order: cli/compare.py (files and keys),
withheld.py (what `set` may not contain), cli/dry_run.py and plan.py (a command that cannot be
built, a budget of too many steps), preflight.py (tasks and overlaps), pool.py (one run).
"""

import math
from collections.abc import Iterable
from typing import Any

from vit.compare.study import AXES, FINETUNE, Arm, Study
from vit.compare.withheld import check_withheld

RESERVED = ("random_encoder", "raw_pixels", "kmeans")
PRETRAIN = "pretrain"  # what stands beside the tasks' names in reports
MOST_RUNS = 100_000  # planning so many takes minutes, and no machine would finish
MOST_STEPS = 10**9
MOST_BUDGET = 1e30  # the largest machines do 1e26 operations a year


def validate_study(study: Study, arms: dict[str, Arm]) -> None:
    """Refuse every value that is wrong whatever the data and the recipes say.

    Raises:
        ValueError: naming the key.
    """
    _check_frozen(study, arms)
    _check_numbers(study)
    _check_lists(study, arms)
    for key, value, names in _names(study, arms):
        if value not in names:
            raise ValueError(f"{key}: unknown {value!r}; known: {', '.join(map(str, names))}")
    if study.margin is not None and not 0 < study.margin < 1:
        raise ValueError(f"margin must be a fraction between 0 and 1, got {study.margin}")
    if study.draws > 1 and not study.few_labels:
        raise ValueError("label_draws: nothing is drawn without labels_per_class in transfer")
    _check_pretraining_data(study)
    _check_axes(study)
    _check_size(study, arms)
    _check_arms(study, arms)
    _check_budget(study, arms)
    _check_endpoints(study)
    _check_claims(study)
    check_withheld(study, arms)


def _check_numbers(study: Study) -> None:
    folds = 2 if study.folds is None else study.folds
    draws = 1 if study.label_draws is None else study.label_draws
    for key, number, least, most in (
        ("seeds", study.seeds, 1, 1000),
        ("label_draws", draws, 1, 1000),
        ("folds", folds, 2, 1000),
        ("tuning.trials", study.tuning.trials, 1, 101),
        ("tuning.lr", study.tuning.lr, 1.01, 1000),
        ("finetune.steps", study.finetune.steps, 1, MOST_STEPS),
        ("weights_px", study.weights_px, 1, 2**14),
    ):
        if not least <= number <= most:
            raise ValueError(f"{key} needs a number from {least} to {most:,}, got {number}")


def _check_lists(study: Study, arms: dict[str, Arm]) -> None:
    if not arms:
        raise ValueError("arms needs an arm, got none; name some")
    if not study.transfer:
        raise ValueError("transfer needs a task, got none; name some")
    for name in study.transfer:
        if not name.strip() or not name.isprintable() or name == PRETRAIN:
            raise ValueError(f"transfer: {name!r} is no name for a task; give another")
    pairs = [f"{arm} {name}" for arm in arms for name in study.transfer]  # as results call them
    if len(set(pairs)) < len(pairs):
        raise ValueError("arms, transfer: two pairs of an arm and a task read alike; rename one")
    for key, names in (("protocols", study.protocols), ("controls", study.controls)):
        if len(set(names)) < len(names):
            raise ValueError(f"{key}: needs each once, got {names}")


def _check_size(study: Study, arms: dict[str, Arm]) -> None:
    cells = len(study.transfer) + sum(map(len, study.axes.values()))
    draws = {"seeds": study.seeds, "folds": study.folds or 1, "label_draws": study.draws}
    finals = {"tasks and values of axes": cells, "arms": len(arms), "runs each": 3}
    trials = {"tuning.trials": study.tuning.trials, "tasks": len(study.transfer)}
    for parts in (draws | finals, draws | trials | {"arms": len(arms)}):  # 3: fit, test, probes
        count = math.prod(parts.values())
        if count > MOST_RUNS:
            product = " x ".join(f"{name} {number:,}" for name, number in parts.items())
            raise ValueError(
                f"{product} = {count:,} runs, at most {MOST_RUNS:,} are planned; lower one of them"
            )


def _names(study: Study, arms: dict[str, Arm]) -> Iterable[tuple[str, Any, tuple]]:
    """Keys whose values name something else: the key, its value, the names there are."""
    yield "primary.data", study.primary.data, tuple(study.transfer)
    yield "primary.protocol", study.primary.protocol, (FINETUNE, *study.protocols)
    for endpoint in study.endpoints:
        yield "endpoints.data", endpoint.data, tuple(study.transfer)
        known = study.protocols if study.frozen_only else (FINETUNE, *study.protocols)
        yield "endpoints.protocol", endpoint.protocol, tuple(known)
    for axis in study.axes:
        yield "axes", axis, AXES
    for claim in study.claims:
        yield "claims.first", claim.first, tuple(arms)
        yield "claims.second", claim.second, tuple(arms)
        for axis, value in (claim.at or {}).items():
            yield "claims.at", axis, tuple(study.axes)
            yield f"claims.at.{axis}", value, tuple(study.axes[axis])


def _check_endpoints(study: Study) -> None:
    declared = [(one.data, one.protocol) for one in (study.primary, *study.endpoints)]
    twice = next((one for one in declared if declared.count(one) > 1), None)
    if twice:
        raise ValueError(f"endpoints: {', '.join(twice)} is declared twice; leave one out")


def _check_claims(study: Study) -> None:
    for claim in study.claims:
        if claim.first == claim.second:
            raise ValueError(f"claims: got {claim.first!r} against itself; name two arms")
        if claim.points is not None and not math.isfinite(claim.points):
            raise ValueError(f"claims.points needs a number or null, got {claim.points}")
        if claim.at is not None and len(claim.at) != 1:
            raise ValueError(f"claims.at: needs one axis and its value, got {claim.at}")


def _check_pretraining_data(study: Study) -> None:
    patches = [study.pretrain.labelled, study.pretrain.unlabelled] if study.pretrain else []
    for patch in filter(None, patches):
        if patch.final or patch.each:
            key = "final" if patch.final else "each"
            raise ValueError(f"pretrain: {key} belongs to a task's data; leave it out")


def _check_axes(study: Study) -> None:
    for axis, values in study.axes.items():
        finite = all(map(math.isfinite, values))
        whole = axis == "budget" or (finite and all(value == int(value) for value in values))
        good = finite and whole and values and len(set(values)) == len(values) and min(values) > 0
        if not good:
            kind = "numbers" if axis == "budget" else "whole numbers"
            raise ValueError(f"axes.{axis}: needs {kind} above 0, each once, got {values}")


def _check_arms(study: Study, arms: dict[str, Arm]) -> None:
    for name, arm in arms.items():
        if name in RESERVED:
            raise ValueError(f"arm {name}: this name is a control's; rename the file")
        if arm.pretrained and (arm.pretrain or arm.encoder):
            other = "pretrain" if arm.pretrain else "encoder"
            raise ValueError(f"arm {name}: {other} or pretrained, not both")
        if arm.image_size is not None and not 1 <= arm.image_size <= 2**14:
            raise ValueError(f"arm {name}: image_size must be from 1 to {2**14:,} pixels")
        if arm.checkpoint_cost and not arm.pretrained:
            raise ValueError(f"arm {name}: `checkpoint_cost` needs `pretrained`; this arm has none")
        if arm.set and not arm.pretrain:
            raise ValueError(f"arm {name}: `set` needs `pretrain`; this arm has none")
        if arm.pretrain and study.pretrain is None:
            raise ValueError(f"pretrain: arm {name} needs data to learn from")


def _check_frozen(study: Study, arms: dict[str, Arm]) -> None:
    """Where nothing is fine-tuned, nothing may rest on fine-tuning."""
    if study.weights == [] and not any(arm.pretrain or arm.pretrained for arm in arms.values()):
        raise ValueError(
            "weights: needs encoders to compare: --weights a.safetensors b/ c.npz (files, folders, "
            "or names such as timm:vit_small_patch16_224.augreg_in21k)"
        )
    if "image_size" in study.axes and any(arm.image_size for arm in arms.values()):
        raise ValueError("axes.image_size: an arm has a size of its own; leave one of the two out")
    if not study.frozen_only:
        return
    if study.primary.protocol == FINETUNE:
        known = ", ".join(study.protocols)
        raise ValueError(
            f"primary.protocol: nothing is fine-tuned (frozen_only); take one of {known}, or ask "
            "for it: --finetune"
        )
    if study.tuning.trials > 1:
        raise ValueError(
            f"tuning.trials: nothing is fine-tuned (frozen_only), got {study.tuning.trials}; set 1"
        )
    if not study.controls:
        raise ValueError(
            "controls: they stand for what can be had without pre-training where nothing is "
            "fine-tuned (frozen_only); name one of random_encoder, raw_pixels, kmeans"
        )


def _check_budget(study: Study, arms: dict[str, Arm]) -> None:
    given = {key: value for key, value in vars(study.budget).items() if value is not None}
    if any(arm.pretrain or arm.longer for arm in arms.values()) and len(given) != 1:
        raise ValueError(f"budget: give one of flops, images, epochs, got {list(given) or 'none'}")
    for key, value in given.items():
        if not 0 < value <= MOST_BUDGET:
            raise ValueError(f"budget.{key} must be above 0, at most 1e30, got {str(value)[:20]}")
