"""Where a task leaves no room for a difference: what is nearly always right cannot be beaten."""

from dataclasses import dataclass

from vit.compare.settle import SMALLEST
from vit.compare.statistics import Comparison, advice
from vit.compare.verdict import Answer


@dataclass(frozen=True)
class Ceiling:
    """An accuracy above which too little is left to gain.

    Args:
        arm: that has to be beaten, the lowest where there are several.
        value: its accuracy, a fraction.
        needed: the smallest gain that counts, or that a study of this size sees, a fraction.
        closed: is the gain that counts itself impossible, so that no larger study helps?
    """

    arm: str
    value: float
    needed: float
    closed: bool

    def sentence(self, title: str) -> str:
        """What it means for the answer, and what to do."""
        room = f"{title} is right in {100 * self.value:.1f} %, which leaves "
        room += f"{100 * (1 - self.value):.1f} points to gain"
        if self.closed:
            return (
                f"The task is at its ceiling: {room}, and below {100 * self.needed:g} nothing is "
                "aimed at; take a harder task, or fewer labels."
            )
        return (
            f"The task is near its ceiling: {room}, and this study sees "
            f"{100 * self.needed:.1f}; take more test images, a harder task, or fewer labels."
        )


def ceiling_of(answer: Answer, comparison: Comparison | None, margin: float) -> Ceiling | None:
    """The ceiling under which an answer was looked for; None: there was room.

    Args:
        answer: whose arms were held against each other.
        comparison: at the primary endpoint.
        margin: gains below it count as none, a fraction; 0: the study declares none.
    """
    pays = answer.why == "which" or answer.says not in ("none", "cannot be told")
    rivals = answer.level_with if pays else (answer.over,)
    if comparison is None or not rivals or not all(arm in comparison.arms for arm in rivals):
        return None
    lowest = min(rivals, key=lambda arm: comparison.arms[arm].value)
    value, counts = comparison.arms[lowest].value, margin or SMALLEST
    if 1 - value < counts:
        return Ceiling(lowest, value, counts, closed=True)
    seen = advice(comparison).now
    if seen is not None and 1 - value < seen:
        return Ceiling(lowest, value, seen, closed=False)
    return None
