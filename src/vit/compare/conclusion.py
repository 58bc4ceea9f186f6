"""The conclusion of a study in sentences: the answer, what surrounds it, what would settle it."""

from collections import defaultdict
from itertools import combinations

import numpy as np

from vit.compare import statistics
from vit.compare.best_start import best_start
from vit.compare.ceiling import ceiling_of
from vit.compare.crossing import crossing
from vit.compare.findings import Findings
from vit.compare.settle import settling
from vit.compare.trained import Validity
from vit.compare.verdict import decide, effect_of
from vit.compare.wording import Wording, interval_text, signed


class Conclusion:
    """Sentences about the primary endpoint.

    Args:
        findings: the figures.
    """

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.comparison = findings.declared
        self.evidence = findings.evidence()
        self.answer = decide(self.evidence)
        self.ceiling = ceiling_of(self.answer, self.comparison, findings.study.margin or 0.0)
        self.titles = findings.titles
        table, controls = findings.results.table(*findings.primary)
        self.tables = {name: rows for name, rows in table.items() if name not in controls}
        self.odd = statistics.odd_seeds(self.tables) if self.comparison else []

    def sentences(self) -> list[str]:
        """The answer first; then what could change it, and what would settle it."""
        lines = [self.first_line(), *self.about_validity(), *self.about_seeds()]
        starts = best_start(self.findings, self.answer)
        rest = [*starts, self.about_controls(), self.what_settles()]
        return [line for line in [*lines, *rest] if line]

    def first_line(self) -> str:
        """One of four answers, with its effect, and the ceiling where one limits it."""
        findings, task = self.findings, self.findings.study.primary.data
        given = tuple(name for name, arm in findings.arms.items() if arm.pretrained)
        reasons = {
            arm: reason_of(validity, arm in given)
            for (arm, name), validity in findings.validities.items()
            if name == task
        }
        reasons |= {arm: f"has no figure ({why})" for arm, why in self.evidence.failures.items()}
        why = findings.why_no_interval() if self.comparison is None else ""
        spoiled = self._control_on_top() or self._odd_seed()
        parts = (self.answer, self.evidence, self.titles, reasons, why, spoiled, given)
        line = Wording(*parts).first_line()
        at = self.ceiling
        return f"{line} {at.sentence(self.findings.title(at.arm))}" if at else line

    def _control_on_top(self) -> str:
        """A control that beats every arm; empty: none does."""
        pair = self._best_arm_and_control()
        gain = effect_of(self.comparison, *pair) if pair else None
        if gain is None or gain.high >= 0:
            return ""
        arm, control = pair
        accuracy = 100 * self.comparison.arms[control].value
        return (
            f"no training here pays so far: {self.findings.title(control)} ({accuracy:.1f} %) "
            f"beats every arm, {self.titles[arm]} by {100 * -gain.value:.1f} points "
            f"({self._interval(-gain.high, -gain.low)})"
        )

    def _odd_seed(self) -> str:
        """A seed that stands outside and widens an open answer; empty: none does."""
        arms = (self.answer.arm, self.answer.over)
        odd = [one for one in self.odd if one.arm in arms] if self.answer.why == "noise" else []
        return "; ".join(
            f"seed {one.seed} of {self.titles[one.arm]} stands at {100 * one.value:.1f} %, its "
            f"others at {100 * one.others:.1f} %"
            for one in odd
        )

    def about_validity(self) -> list[str]:
        """The arms of which it is not sure that they trained, in a sentence a verdict."""
        task, by_summary = self.findings.study.primary.data, defaultdict(list)
        for (arm, name), validity in self.findings.validities.items():
            told_before = arm in (*self.answer.outside, *self.answer.level_with)
            if name == task and validity.state != "trained" and not told_before:
                by_summary[state_text(validity)].append(self.titles[arm])
        return [f"{', '.join(names)}: {summary}." for summary, names in by_summary.items()]

    def _best_arm_and_control(self) -> tuple[str, str] | None:
        """The best arm and the best control; None where one is lacking."""
        there = self.comparison.arms if self.comparison else {}
        arms = [name for name in there if name in self.findings.arms]
        controls = [name for name in there if name not in arms]
        if not arms or not controls:
            return None
        arm, control = (
            max(names, key=lambda name: there[name].value) for names in (arms, controls)
        )
        return arm, control

    def about_controls(self) -> str:
        """How the best arm stands against the best control; empty where there is no interval."""
        pair = self._best_arm_and_control()
        if pair is None or self._control_on_top():
            return ""
        arm, control = pair
        gain = effect_of(self.comparison, arm, control)
        verb = "is beaten" if gain.low > 0 else "is not beaten for sure"
        return (
            f"The best control {verb}: {self.findings.title(control)}, "
            f"{100 * self.comparison.arms[control].value:.1f} %; {self.titles[arm]} "
            f"{signed(gain.value)} points against it ({self._interval(gain.low, gain.high)})."
        )

    def about_seeds(self) -> list[str]:
        """The seeds that stand far outside their arm's others, and what was done about them."""
        return [
            f"Seed {odd.seed} of {self.titles[odd.arm]}, at {100 * odd.value:.1f} % beside "
            f"{100 * odd.others:.1f} % of its others, counts in every figure, as a recipe that "
            f"collapses now and then does so for its users too; {self._without(odd.seed)}"
            for odd in self.odd
        ]

    def _without(self, seed: int) -> str:
        """What the answer's effect would be if a seed had not been run."""
        arm, over = self.answer.arm, self.answer.over
        if not (arm and over):
            return "look at its run."
        fewer = {name: np.delete(rows, seed, axis=0) for name, rows in self.tables.items()}
        gain = effect_of(self.findings.compared(*self.findings.primary, fewer, ()), arm, over)
        return (
            f"with seed {seed} left out of every arm, {self.titles[arm]} would stand "
            f"{signed(gain.value)} points against {self.titles[over]} "
            f"({self._interval(gain.low, gain.high)})."
        )

    def what_settles(self) -> str:
        """What would settle what noise left open, in seeds, draws or images, and minutes."""
        answer, study = self.answer, self.findings.study
        if answer.why not in ("noise", "which") or self._control_on_top():
            return ""
        if self.ceiling and self.ceiling.closed:  # more of the same changes nothing
            return ""
        if any(arm in self.evidence.failures for arm in answer.outside):
            return "Before more is run, mend what failed: its output.txt says why."
        other = answer.level_with[0] if answer.why == "which" else answer.over
        noisy = [self.titles[x] for x in (answer.arm, other) if x in self.comparison.noisy]
        if noisy:
            return (
                f"The seeds of {' and '.join(noisy)} differ too much among each other to say what "
                "would settle it: look at the runs that stand out first."
            )
        gain = effect_of(self.comparison, answer.arm, other).value
        return settling(self.comparison, gain, study.margin or 0.0, self.findings.results.spent())

    def about_noise(self) -> list[str]:
        """Where the uncertainty comes from, and what a study of this size sees."""
        comparison = self.comparison
        if comparison is None or not comparison.family:
            return []
        parts = ", ".join(
            f"{name} {100 * x:.0f} %" for name, x in comparison.noise_fractions.items()
        )
        lines = [f"variance of a difference between two arms: {parts}"]
        advice = statistics.advice(comparison)
        if advice.now is None:
            return [*lines, "two seeds are too few to say what a study of this size sees"]
        doubled = ", ".join(f"twice the {name} {100 * x:.1f}" for name, x in advice.doubled.items())
        return [
            *lines,
            f"it sees a difference of {100 * advice.now:.1f} points in 4 of 5 cases; {doubled}; "
            "what is not seen is not shown to be equal; more of anything averages the residual, "
            "which is single answers",
        ]

    def about_crossings(self) -> list[str]:
        """Where two arms cross along an axis, with how well that is known."""
        axes = self.findings.study.axes
        lines = [line for axis in axes for line in self._crossings_of(axis)]
        return lines or (["no two arms cross for sure along an axis"] if axes else [])

    def _crossings_of(self, axis: str) -> list[str]:
        findings, lines = self.findings, []
        data, protocol, _ = findings.primary
        compared = {
            value: findings.comparison(data, protocol, findings.point_at(axis, value))
            for value in findings.values_on(axis)
        }
        for one, two in combinations(findings.arms, 2):
            effects = {
                value: effect_of(comparison, one, two)
                for value, comparison in compared.items()
                if comparison and {one, two} <= comparison.arms.keys()
            }
            if place := crossing(effects):
                low, high = (two, one) if place.rising else (one, two)
                lines.append(
                    f"{axis.replace('_', ' ')}: {self.titles[low]} is better below about "
                    f"{place.place:.3g}, {self.titles[high]} above (sure at {place.low:g} and at "
                    f"{place.high:g})"
                )
        return lines

    def _interval(self, low: float, high: float) -> str:
        return interval_text(low, high, self.findings.level, sign=True)


def reason_of(validity: Validity, given: bool = False) -> str:
    """What the checks say of an arm, to stand behind its title; of an unclear one what was seen.

    Args:
        validity: of the arm.
        given: were its weights trained before the study?
    """
    seen = validity.reasons[0] if validity.reasons else ""
    if validity.state != "not trained":
        return seen
    verdict = "is no better than untrained here" if given else "did not train"
    return f"{verdict} ({seen})" if seen else verdict


def state_text(validity: Validity) -> str:
    """The verdict of the checks on validation, in words."""
    state = "NOT TRAINED" if validity.state == "not trained" else validity.state
    state = "cannot tell if it trained" if validity.state == "cannot tell" else state
    return state + validity.too_short
