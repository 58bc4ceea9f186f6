"""What a study shows: the sentence that may be concluded, and its tables as rows of text."""

import numpy as np

from vit.compare import statistics, wording
from vit.compare.results import CLASSICAL, PIXELS, RANDOM, Results, Score
from vit.compare.statistics import Comparison, Difference
from vit.compare.study import FINETUNE, Arm
from vit.compare.trained import Verdict
from vit.published.tasks import TASKS, means

WORTHLESS = 0.01  # a gain below it is none, where the study declares no margin
CONTROLS = {RANDOM: "random encoder (control)", PIXELS: "raw pixels (control)"}


class Findings:
    """Figures with their intervals, and what follows from them.

    Args:
        results: all scores.
        arms: by name.
        verdicts: of self-supervised arms.
        seeds_before: seeds of earlier versions of this study, which each halve alpha.
        groups: by task, what each test image belongs to, where some belong together.
    """

    def __init__(
        self,
        results: Results,
        arms: dict[str, Arm],
        verdicts: dict[str, Verdict],
        seeds_before: list[int],
        groups: dict[str, np.ndarray] | None = None,
    ) -> None:
        self.results = results
        self.arms = arms
        self.verdicts = verdicts
        self.seeds_before = seeds_before
        self.groups = groups or {}
        self.study = results.study
        self.alpha = 0.05 / 2 ** len(seeds_before)
        self.titles = {name: arm.title for name, arm in arms.items()} | CONTROLS

    # ---- statistics ---------------------------------------------------------------------------

    def comparison(self, data: str, protocol: str, point: tuple | None = None) -> Comparison | None:
        """All arms by one protocol; None: too few seeds, images or scores for an interval."""
        table, controls = self.results.table(data, protocol, point)
        trainable = [name for name in table if name not in controls]
        if not trainable or self.study.seeds < 2 or self.units(data, table[trainable[0]]) < 2:
            return None
        alpha = self.alpha if (data, protocol, point) == self.primary else 0.05
        return statistics.compare_arms(
            table, self.groups.get(data), controls, alpha, folds=self.study.folds or 1
        )

    def units(self, data: str, correct: np.ndarray) -> int:
        """The number of images, or of groups of images that belong together."""
        groups = self.groups.get(data)
        return correct.shape[1] if groups is None else len(np.unique(groups))

    @property
    def primary(self) -> tuple[str, str, None]:
        """The endpoint that the conclusion is drawn from."""
        return self.study.primary.data, self.study.primary.protocol, None

    @property
    def level(self) -> str:
        """The primary endpoint's interval, named; each extension of the seeds widens it."""
        return f"{100 - 100 * self.alpha:g} % interval"

    def conclusion(self) -> list[str]:
        """The conclusion in sentences, the shortest first."""
        comparison = self.comparison(*self.primary)
        if comparison is None:
            return [f"No conclusion: {self.why_no_interval()}."]
        lines = wording.sentences(comparison, self.study.margin, self.titles)
        for name, verdict in self.verdicts.items():
            lines += [] if verdict.trained else [f"{self.titles[name]}: {verdict.summary}."]
        return lines + self.missing_arms() + self.pretraining_verdict(comparison)

    def missing_arms(self) -> list[str]:
        """The arms without a figure at the primary endpoint, in sentences."""
        scores = {name: self.results.of(name, *self.primary) for name in self.arms}
        status = {name: [score.status for score in scores[name]] for name in self.arms}
        absent = [self.titles[name] for name in self.arms if "missing" in status[name]]
        undefined = [
            self.titles[name]
            for name in self.arms
            if status[name] and all(one.startswith("not defined") for one in status[name])
        ]
        lines = [f"Without {', '.join(absent)}, whose runs are missing."] if absent else []
        protocol = self.study.primary.protocol
        lines += [f"{', '.join(undefined)}: not defined under {protocol}."] if undefined else []
        return lines

    def why_no_interval(self) -> str:
        """Why the primary endpoint has no interval."""
        table, controls = self.results.table(*self.primary)
        if self.study.seeds < 2:
            here = f"this study has {self.study.seeds}"
            return f"an interval needs at least two seeds of each arm, {here}"
        if not set(table) - set(controls):
            return "no arm has all its runs at the primary endpoint"
        return "an interval needs at least two test images that do not belong together"

    def pretraining_verdict(self, comparison: Comparison) -> list[str]:
        """Does pre-training pay? The best arm with one against the best arm without."""
        there = [name for name in self.arms if name in comparison.arms]
        with_ = [name for name in there if self.arms[name].pretrain or self.arms[name].pretrained]
        without = [name for name in there if name not in with_]
        if not with_ or not without:
            return []
        arm, other = (
            max(names, key=lambda name: comparison.arms[name].value) for names in (with_, without)
        )
        value, low, high, pair = signed_difference(comparison.pairs, arm, other)
        numbers = (
            f"{self.titles[arm]} {100 * value:+.1f} points against "
            f"{self.titles[other]} (interval {100 * low:+.1f} to {100 * high:+.1f})"
        )
        if pair.first == arm and pair.holm <= comparison.alpha:
            return [f"Pre-training is worth it here: {numbers}."]
        if high < (self.study.margin or WORTHLESS):
            return [f"Pre-training is not worth it here: {numbers}; more labels are what to add."]
        more = wording.what_would_settle(comparison)
        return [f"Whether pre-training is worth it cannot be told: {numbers}; {more}."]

    def claims(self) -> list[list[str]]:
        """Published differences beside ours; it agrees or contradicts only outside the noise."""
        rows = [["published", "points", "ours", "95 % interval", "verdict"]]
        for claim in self.study.claims:
            point = next(iter(claim.at.items()), None) if claim.at else None
            comparison = self.comparison(*self.primary[:2], point)
            where = f" ({point[0]} {point[1]:g})" if point else ""
            points = "more" if claim.points is None else f"{claim.points:+g}"
            row = [f"{claim.published}{where}", points]
            if comparison is None or not {claim.first, claim.second} <= comparison.arms.keys():
                rows.append([*row, "missing", "", "cannot tell"])
                continue
            value, low, high, _ = signed_difference(comparison.pairs, claim.first, claim.second)
            verdict = "agrees" if low > 0 else "contradicts" if high < 0 else "cannot tell"
            interval = f"{100 * low:+.1f} to {100 * high:+.1f}"
            rows.append([*row, f"{100 * value:+.1f}", interval, verdict])
        return rows

    # ---- tables -------------------------------------------------------------------------------

    def headline(self, data: str) -> list[list[str]]:
        """A row for each arm: primary first, then the other protocols, then what it cost."""
        protocols = [FINETUNE, *self.study.protocols, CLASSICAL]
        comparisons = {name: self.comparison(data, name) for name in protocols}
        columns = [FINETUNE, *self.study.protocols, "SVM"]
        rows = [["arm", *columns, "pre-training FLOPs", "total FLOPs", "labels"]]
        for arm in (*self.arms, *self.study.controls):
            at = arm, data, None
            scores = [s for s in self.results.scores if (s.arm, s.data, s.point) == at]
            scores = sorted(scores, key=lambda score: score.protocol != FINETUNE)
            if not scores:
                continue
            figures = [self._figure(arm, data, name, comparisons[name]) for name in protocols]
            labels = f"{scores[0].labels_used:,}"
            rows.append([self.titles[arm], *figures, *self._cost(arm, scores[0]), labels])
        return rows

    def suite_means(self) -> list[list[str]]:
        """Means over VTAB's tasks at the primary protocol; nothing where the tasks are others."""
        names = [name for name in self.study.transfer if name in TASKS]
        if len(names) < 2 or len(names) < len(self.study.transfer):
            return []
        rows = []
        for arm in self.arms:
            by_task = {}
            for name in names:
                scores = self.results.of(arm, name, self.study.primary.protocol)
                if scores and all(score.accuracy is not None for score in scores):
                    by_task[name] = np.mean([score.accuracy for score in scores])
            if len(by_task) == len(names):
                figures = means(by_task)
                rows += [] if rows else [["arm", *figures]]
                rows.append([self.titles[arm], *(f"{100 * x:.1f}" for x in figures.values())])
        return rows

    def _cost(self, arm: str, score: Score) -> tuple[str, str]:
        """The FLOPs of pre-training and of all; what somebody else paid for is not nothing."""
        if arm in self.arms and self.arms[arm].pretrained:
            return "not paid here", f"{score.total_flops:.2g} + not paid"
        return f"{score.pretraining_flops:.2g}", f"{score.total_flops:.2g}"

    def _figure(self, arm: str, data: str, protocol: str, comparison: Comparison | None) -> str:
        if comparison and arm in comparison.arms:
            one = comparison.arms[arm]
            return f"{100 * one.value:.1f} ({100 * one.low:.1f} to {100 * one.high:.1f})"
        scores = self.results.of(arm, data, protocol)
        values = [score.accuracy for score in scores if score.accuracy is not None]
        if values:
            missing = len(scores) - len(values)
            return f"{100 * np.mean(values):.1f}" + (f" ({missing} missing)" if missing else "")
        return "missing" if scores and not scores[0].status.startswith("not defined") else "-"

    def pairs(self) -> list[list[str]]:
        """The differences between arms at the primary endpoint."""
        comparison = self.comparison(*self.primary)
        rows = [["arm", "minus", "points", self.level, "Holm p", "noise from images"]]
        for pair in comparison.pairs if comparison else []:
            rows.append(
                [
                    self.titles[pair.first],
                    self.titles[pair.second],
                    f"{100 * pair.value:+.1f}",
                    f"{100 * max(pair.low, -1):+.1f} to {100 * min(pair.high, 1):+.1f}",
                    "outside the family" if pair.holm is None else f"{pair.holm:.2g}",
                    f"{100 * pair.image_fraction:.0f} %",
                ]
            )
        return rows

    def ranks(self) -> list[list[str]]:
        """The arms from best to worst, by task, place on an axis, and protocol."""
        protocols = [FINETUNE, *self.study.protocols]
        rows = [["", *protocols]]
        for data in self.study.transfer:
            for point in dict.fromkeys(score.point for score in self.results.scores):
                where = data if point is None else f"{data}, {point[0]} {point[1]:g}"
                orders = [self._order(data, name, point) for name in protocols]
                rows += [[where, *orders]] if set(orders) != {"-"} else []
        return rows

    def _order(self, data: str, protocol: str, point: tuple | None) -> str:
        table, controls = self.results.table(data, protocol, point)
        accuracy = {arm: x.mean() for arm, x in table.items() if arm not in controls}
        return " > ".join(sorted(accuracy, key=lambda arm: -accuracy[arm])) or "-"


def signed_difference(
    pairs: list[Difference], first: str, second: str
) -> tuple[float, float, float, Difference]:
    """The difference of one arm to another with its interval, and the pair that holds it."""
    pair = next(pair for pair in pairs if {pair.first, pair.second} == {first, second})
    sign = 1 if pair.first == first else -1
    low, high = sorted((sign * pair.low, sign * pair.high))
    return sign * pair.value, low, high, pair
