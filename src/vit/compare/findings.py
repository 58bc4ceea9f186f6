"""What a study shows: comparisons of its arms, and the answer that they allow."""

import numpy as np

from vit.compare import statistics
from vit.compare.results import CLASSICAL, KMEANS, PIXELS, RANDOM, Results, Score
from vit.compare.statistics import Comparison
from vit.compare.study import Arm, Primary
from vit.compare.trained import Validity
from vit.compare.verdict import Evidence, Kind

CONTROLS = {
    RANDOM: "random encoder (control)",
    PIXELS: "raw pixels (control)",
    KMEANS: "k-means features (control)",
}
BEST_USE = {  # a control's best use, whatever the arms' endpoint is
    PIXELS: (CLASSICAL, "raw pixels with a classical classifier"),
    KMEANS: (KMEANS, "k-means features"),
}


class Findings:
    """Figures with their intervals, and what follows from them.

    Args:
        results: all scores.
        arms: by name.
        validities: of arms that bring weights, by arm and task.
        kinds: what each arm learned from before the task.
        looks: how often smaller versions of this study were reported; each look halves alpha.
        groups: by task, what each test image belongs to, where some belong together.
        chance: accuracy of guessing on the primary task; 0: not known.
    """

    def __init__(
        self,
        results: Results,
        arms: dict[str, Arm],
        validities: dict[tuple[str, str], Validity],
        kinds: dict[str, Kind],
        looks: int = 0,
        groups: dict[str, np.ndarray] | None = None,
        chance: float = 0.0,
    ) -> None:
        self.results = results
        self.arms = arms
        self.validities = validities
        self.kinds = kinds
        self.groups = groups or {}
        self.chance = chance
        self.study = results.study
        self.alpha = 0.05 / 2**looks
        self.titles = {name: arm.title for name, arm in arms.items()} | CONTROLS

    # ---- statistics -----------------------------------------------------------------------------

    def comparison(self, data: str, protocol: str, point: tuple | None = None) -> Comparison | None:
        """All arms by one protocol; None: too few seeds, images or scores for an interval."""
        table, controls = self.results.table(data, protocol, point)
        return self.compared(data, protocol, point, table, controls)

    def compared(
        self,
        data: str,
        protocol: str,
        point: tuple | None,
        table: dict[str, np.ndarray],
        controls: tuple[str, ...],
    ) -> Comparison | None:
        """The comparison of tables of correctness, n d m each, as those of one endpoint."""
        trainable = [name for name in table if name not in controls]
        if not trainable or self.study.seeds < 2 or self.units(data, table[trainable[0]]) < 2:
            return None
        alpha = self.alpha if (data, protocol, point) == self.primary else 0.05
        return statistics.compare_arms(
            table,
            self.groups.get(data),
            controls,
            alpha,
            folds=self.study.folds or 1,
            drawn=self.study.few_labels,
        )

    @property
    def declared(self) -> Comparison | None:
        """The comparison at the primary endpoint."""
        data, protocol, _ = self.primary
        return self.declared_at(data, protocol)

    def declared_at(self, data: str, protocol: str) -> Comparison | None:
        """The comparison at a declared endpoint; controls stand in it at their best use.

        Where nothing is fine-tuned they are the arms without pre-training.
        """
        table, controls = self.results.table(data, protocol)
        for name, (best, _) in BEST_USE.items():
            rows = self.results.correctness(name, data, best)
            if rows is not None:
                table[name] = rows
                controls = tuple({*controls, name})
        outside = () if self.study.frozen_only else controls
        return self.compared(data, protocol, None, table, outside)

    def units(self, data: str, correct: np.ndarray) -> int:
        """The number of images, or of groups of images that belong together."""
        groups = self.groups.get(data)
        return correct.shape[-1] if groups is None else len(np.unique(groups))

    @property
    def primary(self) -> tuple[str, str, None]:
        """The endpoint that the conclusion is drawn from."""
        return self.study.primary.data, self.study.primary.protocol, None

    @property
    def level(self) -> str:
        """The primary endpoint's interval, named; each extension of the seeds widens it."""
        return f"{100 - 100 * self.alpha:g} % interval"

    # ---- what the answer rests on ---------------------------------------------------------------

    def evidence(self) -> Evidence:
        """All that the answer rests on."""
        task = self.study.primary.data
        states = {arm: v.state for (arm, name), v in self.validities.items() if name == task}
        baselines = self.study.controls if self.study.frozen_only else ()
        kinds = self.kinds | dict.fromkeys(baselines, "none")
        return Evidence(self.declared, kinds, states, self.failures(), self.study.margin or 0.0)

    def failures(self) -> dict[str, str]:
        """Why an arm has no figure at the primary endpoint, or fewer seeds than the others."""
        reasons = {}
        for name in self.arms:
            scores = self.results.of(name, *self.primary)
            statuses = [score.status for score in scores]
            lacking = [one for one in statuses if one != "done"]
            if scores and not lacking:
                continue
            if lacking and all(one.startswith("not defined") for one in lacking):
                reasons[name] = f"{lacking[0]} ({self.study.primary.protocol})"
            elif lacking:
                kinds = sorted({one.partition(":")[0] for one in lacking})
                why = next((one.partition(": ")[2] for one in lacking if ": " in one), "")
                what = f"{len(lacking)} of {len(statuses)} seeds {' or '.join(kinds)}"
                reasons[name] = what + (f" ({why})" if why else "")
            else:
                reasons[name] = "its runs are missing"
        return reasons

    def why_no_interval(self) -> str:
        """Why the primary endpoint has no interval."""
        table, controls = self.results.table(*self.primary)
        if self.study.seeds < 2:
            here = f"this study has {self.study.seeds}"
            return f"an interval needs at least two seeds of each arm, {here}; start it with 5"
        if not set(table) - set(controls):
            return "no arm has all its runs at the primary endpoint"
        return "an interval needs at least two test images that do not belong together"

    # ---- pieces of tables and pictures ----------------------------------------------------------

    def title(self, arm: str) -> str:
        """The title of an arm, or of a control at its best use."""
        return BEST_USE.get(arm, ("", self.titles.get(arm, arm)))[1]

    def scores_of(self, arm: str) -> list[Score]:
        """The seeds of an arm at the primary endpoint, of a control at its best use."""
        data, protocol, _ = self.primary
        return self.results.of(arm, data, BEST_USE.get(arm, (protocol,))[0])

    def untrained(self, arm: str) -> bool:
        """Is it not sure that an arm with weights trained?"""
        validity = self.validities.get((arm, self.study.primary.data))
        return validity is not None and validity.state != "trained"

    def best_baseline(self) -> str:
        """The best arm without pre-training; empty where there is none with all its seeds."""
        comparison = self.declared
        kinds = self.evidence().kinds
        there = [a for a, kind in kinds.items() if kind == "none" and a in comparison.arms]
        return max(there, key=lambda arm: comparison.arms[arm].value, default="")

    def best_rival(self, comparison: Comparison) -> str:
        """The best of what can be had without pre-training, controls included; empty: nothing."""
        there = [
            name
            for name in comparison.arms
            if name not in self.arms or self.kinds.get(name, "none") == "none"
        ]
        return max(there, key=lambda name: comparison.arms[name].value, default="")

    def labels_at(self, endpoint: Primary) -> int | None:
        """How many labels a class the task of an endpoint has; None: all."""
        return self.study.transfer[endpoint.data].set.get("labels_per_class")

    def lines(self) -> list[tuple[str, float]]:
        """Controls and chance: what an arm should be above."""
        comparison = self.declared
        controls = [name for name in comparison.arms if name not in self.arms]
        lines = [(self.title(name), comparison.arms[name].value) for name in controls]
        return [*lines, ("chance", self.chance)] if self.chance else lines

    def values_on(self, axis: str) -> list[float]:
        """What was measured along an axis, the declared point included."""
        declared = self.study.transfer[self.study.primary.data].set.get(axis)
        declared = 1.0 if axis == "budget" else declared
        return sorted({*self.study.axes[axis], *([] if declared is None else [float(declared)])})

    def point_at(self, axis: str, value: float) -> tuple[str, float] | None:
        """The place on an axis; None: the declared point, which lies there."""
        return (axis, value) if value in self.study.axes[axis] else None
