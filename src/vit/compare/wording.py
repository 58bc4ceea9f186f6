"""The answer of a study in words: what may be said, what may not, and on what it rests."""

from vit.compare.statistics import Comparison
from vit.compare.verdict import Answer, Effect, Evidence, effect_of, pair_of

CANNOT = "Cannot be told at this budget"
WIDEST = 0.5  # an interval as wide, of an arm, says nothing; a difference has twice the room
MOST_REASONS = 2  # of arms stand in the first line; more stand below
KINDS = {
    "supervised": "Supervised",
    "self-supervised": "Self-supervised",
    "imported": "Imported weights",
}


class Wording:
    """Sentences about one answer.

    Args:
        answer: what was decided.
        evidence: what it rests on.
        titles: of the arms, by name.
        reasons: what became of an arm, by arm, to stand behind its title: `did not train (...)`.
        why_no_interval: why the primary endpoint has none; empty where it has one.
        spoiled: a sentence that goes before all else: a control beats every arm, or a seed of the
            answer's arms stands far outside the others. Empty: nothing does.
        given: arms whose weights were trained before, which nobody here can train longer.
    """

    def __init__(
        self,
        answer: Answer,
        evidence: Evidence,
        titles: dict[str, str],
        reasons: dict[str, str],
        why_no_interval: str = "",
        spoiled: str = "",
        given: tuple[str, ...] = (),
    ) -> None:
        self.answer = answer
        self.evidence = evidence
        self.titles = titles
        self.reasons = reasons
        self.why_no_interval = why_no_interval
        self.spoiled = spoiled
        self.given = given

    def first_line(self) -> str:
        """The answer with its effect, in a sentence or two."""
        answer = self.answer
        sentences = {
            "none": self._none,
            "alike": self._alike,
            "no question": self._no_question,
            "no interval": self._no_interval,
            "failed": self._failed,
            "untrained leads": self._untrained_leads,
            "untrained": self._untrained,
            "which": self._which,
            "noise": self._noise,
        }
        line = sentences.get(answer.why or answer.says, self._pays)()
        shown = answer.why in ("failed", "untrained", "untrained leads", "no interval")
        if answer.outside and not shown:
            line += f" {self._listed(answer.outside)}: not ruled out; mend it to compare."
        if not self.spoiled:
            return line
        if not line.startswith(f"{CANNOT}: "):
            return f"{line} Yet {self.spoiled}."
        rest = line.removeprefix(f"{CANNOT}: ")
        return f"{CANNOT}: {self.spoiled}. {rest[0].upper()}{rest[1:]}"

    def _pays(self) -> str:
        answer = self.answer
        kind, title = KINDS[answer.says], self.titles[answer.arm]
        who = kind if title.lower() == kind.lower() else f"{kind} ({title})"
        line = f"{who}: {self._effect()}."
        if answer.level_with:
            line += f" {self._names(answer.level_with)}: not distinguishable from it."
        return line

    def _alike(self) -> str:
        answer = self.answer
        others = self._names(answer.level_with)
        return (
            f"Supervised and self-supervised alike: {self.titles[answer.arm]} {self._effect()}; "
            f"{others}: equal to it within {points(self.evidence.margin)} points. Take the cheaper."
        )

    def _none(self) -> str:
        answer, margin = self.answer, self.evidence.margin
        best = f"the best of it, {self.titles[answer.arm]}, stands {self._effect()}"
        if effect_of(self.evidence.comparison, answer.arm, answer.over).high < 0:
            return f"None: pre-training does harm here; {best}."
        excluded = f"a gain of {points(margin)} points or more" if margin else "a gain"
        return (
            f"None: pre-training is not worth it here; {best}. {excluded.capitalize()} is excluded."
        )

    def _no_question(self) -> str:
        missing = "without" if self.evidence.pretrained else "with"
        line = f"{CANNOT}: the study has no arm {missing} pre-training."
        comparison = self.evidence.comparison
        return f"{line} {self.best_of_all(comparison)}" if comparison else line

    def _no_interval(self) -> str:
        return f"{CANNOT}: {self.why_no_interval}."

    def _failed(self) -> str:
        return (
            f"{CANNOT}: {self._listed(self.answer.outside)}. Without it nothing can be compared: "
            "find why, mend it, and type the same command."
        )

    def _untrained_leads(self) -> str:
        answer = self.answer
        gain = effect_of(self.evidence.comparison, answer.arm, answer.over)
        why = self.reasons.get(answer.arm, "did not train")
        return (
            f"{CANNOT}: {self.titles[answer.arm]} gains {signed(gain.value)} points, yet on "
            f"validation it {why}. Either the check misses what helps fine-tuning, or the gain has "
            "another cause: look at both before you believe it."
        )

    def _untrained(self) -> str:
        answer = self.answer
        parts = [self._listed(answer.outside)] if answer.outside else []
        if len(answer.level_with) > MOST_REASONS:
            parts.append(f"whether {self._names(answer.level_with)} trained is not clear")
        else:
            parts += [
                f"whether {self.titles[arm]} trained is not clear{self._check(arm)}"
                for arm in answer.level_with
            ]
        line = f"{CANNOT}: {'; '.join(parts)}."
        if answer.arm:
            best = self.titles[answer.arm]
            line += f" The best, {best}, stands {self._effect()}; what may not have trained has"
            line += " not lost by that."
        arms = (*answer.outside, *answer.level_with)
        ours = tuple(arm for arm in arms if arm not in self.given)
        if not ours:
            return f"{line} Leave them out, or try more pictures."
        return f"{line} Pre-train {self._names(ours)} longer, or at another learning rate."

    def _check(self, arm: str) -> str:
        return f" ({self.reasons[arm]})" if arm in self.reasons else ""

    def _which(self) -> str:
        answer, comparison = self.answer, self.evidence.comparison
        rival = answer.level_with[0]
        gain = effect_of(comparison, answer.arm, rival)
        return (
            f"{CANNOT} which kind, but pre-training pays: {self.titles[answer.arm]} "
            f"{self._effect()}; {signed(gain.value)} above {self.titles[rival]} "
            f"({self.interval(gain)}). Until it is settled, take the cheaper."
        )

    def _noise(self) -> str:
        answer = self.answer
        gain = effect_of(self.evidence.comparison, answer.arm, answer.over)
        best = self.titles[answer.arm]
        line = f"{CANNOT}: the best pre-trained arm, {best}, stands {self._effect()}."
        if gain.low <= 0 <= gain.high and gain.high - gain.low < WIDEST:
            above = abs(round(100 * gain.high, 1))  # never -0.0
            return f"{line} A gain above {above:.1f} points is unlikely."
        return line

    def best_of_all(self, comparison: Comparison) -> str:
        """Which arm is better than every other, if one is."""
        if comparison.winner:
            return f"{self.titles[comparison.winner]} is better than every other arm."
        return "No arm is better than every other."

    def _effect(self) -> str:
        """The difference of the answer's two arms, with what surrounds it."""
        answer, comparison = self.answer, self.evidence.comparison
        gain = effect_of(comparison, answer.arm, answer.over)
        best = max(self.evidence.baselines, key=lambda name: comparison.arms[name].value)
        role = ", the best arm without pre-training" if answer.over == best else ""
        text = (
            f"{signed(gain.value)} points against {self.titles[answer.over]}{role} "
            f"({self.interval(gain)}"
        )
        if answer.why != "noise" or gain.low <= 0 <= gain.high:
            return f"{text})"
        return f"{text}{self.in_spite(pair_of(comparison, answer.arm, answer.over).holm)})"

    def in_spite(self, holm_p: float | None) -> str:
        """Why an interval that excludes 0 is not enough; empty where it is."""
        comparison = self.evidence.comparison
        if holm_p is None or holm_p <= comparison.alpha:
            return ""
        pairs = len(comparison.family)
        return f"; with {pairs} comparisons that may be chance: Holm's corrected p is {holm_p:.2g}"

    def interval(self, gain: Effect) -> str:
        """An interval of a difference, in words."""
        return interval_text(gain.low, gain.high, self.level, sign=True)

    @property
    def level(self) -> str:
        """The level of the comparison's intervals."""
        comparison = self.evidence.comparison
        return f"{100 - 100 * comparison.alpha:g} % interval" if comparison else "95 % interval"

    def _names(self, arms: tuple[str, ...]) -> str:
        return ", ".join(self.titles[arm] for arm in arms)

    def _listed(self, arms: tuple[str, ...]) -> str:
        """The arms that can neither win nor lose, each with the reason."""
        return "; ".join(
            f"{self.titles[arm]} {self.reasons.get(arm, 'has no figure')}" for arm in arms
        )


def interval_text(low: float, high: float, level: str, sign: bool = False) -> str:
    """An interval of fractions in points, or that it says nothing."""
    if high - low >= WIDEST * (2 if sign else 1):
        return "too few seeds for an interval"
    low, high = (max(low, -1.0), min(high, 1.0)) if sign else (low, high)
    text = (signed(low), signed(high)) if sign else (f"{100 * low:.1f}", f"{100 * high:.1f}")
    return f"{level} {text[0]} to {text[1]}".strip()


def signed(fraction: float) -> str:
    """A fraction in points with its sign."""
    return f"{round(100 * fraction, 1) + 0.0:+.1f}"  # adding 0 makes -0.0 positive


def points(fraction: float) -> str:
    """A fraction in points."""
    return f"{100 * fraction:g}"
