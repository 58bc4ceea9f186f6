"""Did a self-supervised arm train at all? Judged on validation, before anybody looks at a test.

An arm that fails is listed as not trained and stays in every table.
"""

from dataclasses import dataclass

import numpy as np

from vit.compare.job import Step
from vit.compare.store import Store
from vit.evaluate.rankme import COLLAPSED

JUDGES = ("attentive", "linear", "knn")  # the first that was measured on both


@dataclass
class Verdict:
    """Of one self-supervised arm.

    Args:
        trained: did it pass every check that could be made?
        reasons: what was found, failures first.
        short: was its loss on validation still falling when pre-training ended?
    """

    trained: bool
    reasons: list[str]
    short: bool = False

    @property
    def words(self) -> str:
        """For people."""
        if self.trained:
            return "trained"
        return "NOT TRAINED, too short: its loss was still falling" if self.short else "NOT TRAINED"


def validity(
    arm: str, steps: list[Step], store: Store, trivial_baseline: tuple[str, str] | None
) -> Verdict:
    """Better than random features, above its trivial trivial_baseline, not collapsed.

    Args:
        arm: its name.
        steps: of the study.
        store: where runs lie.
        trivial_baseline: the objective's own (metric, what a trivial answer scores), where it has
            one.
    """
    declared = [step for step in steps if step.point is None]
    probes = [store.summary(s) for s in declared if s.arm == arm and s.stage == "probe"]
    controls = [store.summary(s) for s in declared if s.stage == "control"]
    probes, controls = [s for s in probes if s], [s for s in controls if s]
    good, bad = [], []
    name = next((f"val/{j}/accuracy" for j in JUDGES
                 if all(f"val/{j}/accuracy" in s for s in [*probes, *controls])), None)  # fmt: skip
    if name and probes and controls:
        own, random = (np.mean([s[name] for s in group]) for group in (probes, controls))
        line = f"{name} {100 * own:.1f} % against {100 * random:.1f} % of random features"
        (good if own > random else bad).append(line)
    ranks = [s["effective_rank"] for s in probes if "effective_rank" in s]
    if ranks:
        line = f"effective rank {np.mean(ranks):.1f}"
        (good if min(ranks) >= COLLAPSED else bad).append(line)
    if trivial_baseline:
        fits = [store.summary(s) for s in steps if s.arm == arm and s.stage == "pretrain"]
        pairs = [
            (s[trivial_baseline[0]], s[trivial_baseline[1]])
            for s in fits
            if trivial_baseline[0] in s and trivial_baseline[1] in s
        ]
        if pairs:
            own, trivial = np.mean(pairs, axis=0)
            line = (
                f"its own task, {trivial_baseline[0]}, {own:.3f} against {trivial:.3f} "
                "of a trivial answer"
            )
            (good if own > trivial else bad).append(line)
    fits = [s for s in declared if s.arm == arm and s.stage == "pretrain"]
    votes = [bool(still_falling(store.validation_losses(step))) for step in fits]
    lines = [f"failed: {line}" for line in bad] + [f"passed: {line}" for line in good]
    return Verdict(not bad and bool(good), lines, sum(votes) > len(votes) / 2)


def still_falling(losses: dict[int, float]) -> bool | None:
    """By more than 1 % in the last fifth of a run, or since the validation before that.

    Args:
        losses: on validation, by optimiser step.

    Returns:
        None where there was no validation before the last fifth.
    """
    end = max(losses, default=0)
    before = [step for step in losses if step <= 0.8 * end]
    return losses[end] < 0.99 * losses[max(before)] if before else None
