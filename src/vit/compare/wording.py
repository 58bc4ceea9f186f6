"""The answer of a study in words: what may be said, what may not, and on what it rests."""

from vit.compare.statistics import Comparison
from vit.compare.verdict import Answer, Effect, Evidence, effect_of, pair_of

CANNOT = "Cannot be told at this budget"
WIDEST = 0.5  # an interval as wide, of an arm, says nothing; a difference has twice the room
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
        reasons: why an arm counts as it does, by arm.
        why_no_interval: why the primary endpoint has none; empty where it has one.
    """

    def __init__(
        self,
        answer: Answer,
        evidence: Evidence,
        titles: dict[str, str],
        reasons: dict[str, str],
        why_no_interval: str = "",
    ) -> None:
        self.answer = answer
        self.evidence = evidence
        self.titles = titles
        self.reasons = reasons
        self.why_no_interval = why_no_interval

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
            line += f" {self._listed(answer.outside)}: nothing can be told at this budget."
        return line

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
            f"{others}: equal to it within {points(self.evidence.margin)} points."
        )

    def _none(self) -> str:
        margin = self.evidence.margin
        excluded = f"a gain of {points(margin)} points or more" if margin else "a gain"
        return (
            f"None: pre-training is not worth it here. The best of it, "
            f"{self.titles[self.answer.arm]}, stands {self._effect()}; {excluded} is excluded."
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
            f"{CANNOT}: {self._listed(self.answer.outside)}; an arm without its runs can neither "
            "win nor lose. Mend them and start again, or take the arm out."
        )

    def _untrained_leads(self) -> str:
        arm = self.answer.arm
        return (
            f"{CANNOT}: {self.titles[arm]} leads, {self._effect()}, yet by its check on validation "
            f"it did not train ({self.reasons.get(arm, 'see below')}). One of the two is wrong: "
            "look at the check before you believe either."
        )

    def _untrained(self) -> str:
        answer = self.answer
        parts = [self._listed(answer.outside)] if answer.outside else []
        if answer.level_with:
            parts.append(f"whether {self._names(answer.level_with)} trained at all is not clear")
        seen = f" No gain was seen ({self._effect()}), but" if answer.arm else " So"
        return (
            f"{CANNOT}: {'; '.join(parts)}.{seen} an arm that may not have trained cannot lose: "
            "give it a longer pre-training or another learning rate."
        )

    def _which(self) -> str:
        answer, comparison = self.answer, self.evidence.comparison
        rival = answer.level_with[0]
        gain = effect_of(comparison, answer.arm, rival)
        return (
            f"{CANNOT} which: pre-training pays ({self.titles[answer.arm]} {self._effect()}), but "
            f"{self.titles[rival]} is not distinguishable from it "
            f"({signed(gain.value)} points, {self.interval(gain)})."
        )

    def _noise(self) -> str:
        return (
            f"{CANNOT}: the best pre-trained arm, {self.titles[self.answer.arm]}, stands "
            f"{self._effect()}."
        )

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
        return (
            f"; its own interval excludes 0, but among {pairs} pairs one does so by chance too "
            f"often: Holm's p is {holm_p:.2g}"
        )

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
            f"{self.titles[arm]}: {self.reasons.get(arm, 'no figure')}" for arm in arms
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
