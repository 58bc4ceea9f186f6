"""Which pre-training pays: one of four answers, decided from the primary endpoint alone.

An arm that was not trained, failed, or is absent can neither win nor lose: the answer is then that
it cannot be told, and the arm is named. Both sides are tested by one rule, at the level of the
comparison: that an arm is better than each arm without pre-training (Holm over all pairs), and that
its gain is smaller than the declared margin (Holm over the pairs of an arm with weights and one
without).
"""

from dataclasses import dataclass, field
from typing import Literal

from vit.compare.statistics import Comparison, Difference, holm

Kind = Literal["none", "supervised", "self-supervised", "imported"]
State = Literal["trained", "not trained", "cannot tell"]
Says = Literal["supervised", "self-supervised", "imported", "alike", "none", "cannot be told"]
Why = Literal[
    "", "no interval", "no question", "failed", "untrained leads", "untrained", "which", "noise"
]


@dataclass(frozen=True)
class Evidence:
    """All that an answer may rest on.

    Args:
        comparison: of the arms that have all their seeds; None: there is no interval.
        kinds: what each arm of the study learned from before the task, by arm.
        states: did it train at all, by arm with weights.
        failures: why an arm lacks a figure, by arm.
        margin: gains below it count as none, a fraction.
    """

    comparison: Comparison | None
    kinds: dict[str, Kind]
    states: dict[str, State] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    margin: float = 0.0

    @property
    def pretrained(self) -> list[str]:
        """The arms that bring weights to the task, in the report's order."""
        return [arm for arm, kind in self.kinds.items() if kind != "none"]

    @property
    def baselines(self) -> list[str]:
        """The arms without pre-training."""
        return [arm for arm, kind in self.kinds.items() if kind == "none"]


@dataclass(frozen=True)
class Answer:
    """The answer and what it is about.

    Args:
        says: which pre-training pays.
        why: it cannot be told; empty where it can.
        arm: the best arm with weights that could win.
        over: the best arm without pre-training.
        level_with: arms that are not distinguishable from `arm`, or of which it is unclear if they
            trained.
        outside: arms that can neither win nor lose: failed, absent or not trained.
    """

    says: Says
    why: Why = ""
    arm: str = ""
    over: str = ""
    level_with: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()


def decide(evidence: Evidence) -> Answer:
    """The one of four answers that the evidence allows."""
    outside = tuple(arm for arm in evidence.pretrained if not _may_win(evidence, arm))
    if why := _nothing_to_tell(evidence):
        return Answer("cannot be told", why, outside=(*_absent_baselines(evidence), *outside))
    comparison = evidence.comparison
    over = _ranked(comparison, evidence.baselines)[0]
    leading = [x for x in outside if x in comparison.arms and _beats_all(evidence, x)]
    eligible = _ranked(comparison, [x for x in evidence.pretrained if x not in outside])
    if leading:
        return Answer("cannot be told", "untrained leads", leading[0], over, outside=outside)
    if not eligible:
        return Answer("cannot be told", "untrained", "", over, outside=outside)
    if base := _worthless_against(evidence, eligible):
        return _none(evidence, eligible, base, outside)
    winners = [arm for arm in eligible if _beats_all(evidence, arm)]
    if not winners:
        return Answer("cannot be told", "noise", eligible[0], over, outside=outside)
    return _which(evidence, winners[0], over, eligible, outside)


def _nothing_to_tell(evidence: Evidence) -> Why:
    """Why no two arms can be held against each other; empty: they can."""
    if not evidence.pretrained or not evidence.baselines:
        return "no question"
    if evidence.comparison is None:
        return "no interval"
    there = any(arm in evidence.comparison.arms for arm in evidence.pretrained)
    return "" if there and not _absent_baselines(evidence) else "failed"


def _absent_baselines(evidence: Evidence) -> tuple[str, ...]:
    comparison = evidence.comparison
    there = comparison.arms if comparison else evidence.baselines
    return tuple(arm for arm in evidence.baselines if arm not in there)


def _none(evidence: Evidence, eligible: list[str], base: str, outside: tuple[str, ...]) -> Answer:
    """No gain was seen; but has every arm with weights been trained for sure?"""
    unsure = tuple(x for x in eligible if evidence.states.get(x) != "trained")
    if outside or unsure:
        return Answer("cannot be told", "untrained", eligible[0], base, unsure, outside)
    return Answer("none", "", eligible[0], base)


def _which(
    evidence: Evidence, arm: str, over: str, eligible: list[str], outside: tuple[str, ...]
) -> Answer:
    """Pre-training pays; is it of one kind?"""
    comparison, kind = evidence.comparison, evidence.kinds[arm]
    rivals = [x for x in eligible if evidence.kinds[x] != kind]
    level = tuple(x for x in rivals if not better(comparison, arm, x))
    if not level:
        same = (x for x in eligible if x != arm and evidence.kinds[x] == kind)
        ties = tuple(x for x in same if not better(comparison, arm, x))
        return Answer(kind, "", arm, over, ties, outside)
    if evidence.margin and all(_equal(evidence, arm, x) for x in level):
        return Answer("alike", "", arm, over, level, outside)
    return Answer("cannot be told", "which", arm, over, level, outside)


def _may_win(evidence: Evidence, arm: str) -> bool:
    comparison = evidence.comparison
    there = comparison is None or arm in comparison.arms
    return there and arm not in evidence.failures and evidence.states.get(arm) != "not trained"


def _ranked(comparison: Comparison, arms: list[str]) -> list[str]:
    return sorted(arms, key=lambda arm: -comparison.arms[arm].value)


def _beats_all(evidence: Evidence, arm: str) -> bool:
    return all(better(evidence.comparison, arm, other) for other in evidence.baselines)


def _worthless_against(evidence: Evidence, eligible: list[str]) -> str:
    """An arm without pre-training over which no arm gains as much as the margin; empty: none."""
    comparison, margin = evidence.comparison, evidence.margin
    keys = [(arm, base) for base in evidence.baselines for arm in eligible]
    gains = [effect_of(comparison, *key) for key in keys]
    below = holm([p_of_gain(comparison, *key, margin) for key in keys])
    fails = {
        key: (gain.value < margin and p <= comparison.alpha)
        for key, gain, p in zip(keys, gains, below, strict=True)
    }
    ranked = _ranked(comparison, evidence.baselines)
    return next((base for base in ranked if all(fails[arm, base] for arm in eligible)), "")


def _equal(evidence: Evidence, first: str, second: str) -> bool:
    """Does the interval lie within the margin on both sides?"""
    gain = effect_of(evidence.comparison, first, second)
    return -evidence.margin < gain.low and gain.high < evidence.margin


def p_of_gain(comparison: Comparison, arm: str, over: str, gain: float) -> float:
    """The two-sided p of the hypothesis that `arm` is better than `over` by exactly `gain`."""
    pair = pair_of(comparison, arm, over)
    return pair.p_at(gain if pair.first == arm else -gain)


def better(comparison: Comparison, arm: str, other: str) -> bool:
    """Is an arm separated from another, in its favour, after Holm over all pairs?"""
    pair = pair_of(comparison, arm, other)
    gain = pair.value if pair.first == arm else -pair.value
    return gain > 0 and pair.holm is not None and pair.holm <= comparison.alpha


def pair_of(comparison: Comparison, one: str, other: str) -> Difference:
    """The pair that two arms form, in whichever order it holds them."""
    return next(pair for pair in comparison.pairs if {pair.first, pair.second} == {one, other})


@dataclass(frozen=True)
class Effect:
    """A difference read from one of its two sides, with its interval and Holm's p."""

    value: float
    low: float
    high: float
    holm: float | None


def effect_of(comparison: Comparison, arm: str, over: str) -> Effect:
    """The accuracy of `arm` minus that of `over`, fractions."""
    pair = pair_of(comparison, arm, over)
    sign = 1 if pair.first == arm else -1
    low, high = sorted((sign * pair.low, sign * pair.high))
    return Effect(sign * pair.value, low, high, pair.holm)
