"""What a study found: the sentence that may be concluded, and its tables as rows of words."""

import numpy as np

from vit.compare import statistics, wording
from vit.compare.results import CLASSICAL, PIXELS, RANDOM, Cell, Results
from vit.compare.statistics import Comparison
from vit.compare.study import FINETUNE, Arm
from vit.compare.validity import Verdict
from vit.published.tasks import TASKS, means

WORTHLESS = 0.01  # a gain below it is none, where the study declares no margin
CONTROLS = {RANDOM: "random encoder (control)", PIXELS: "raw pixels (control)"}


class Findings:
    """Figures with their intervals, and what follows from them.

    Args:
        results: all cells.
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
        self.results, self.arms, self.verdicts = results, arms, verdicts
        self.seeds_before, self.groups = seeds_before, groups or {}
        self.study = results.study
        self.alpha = 0.05 / 2 ** len(seeds_before)
        self.titles = {name: arm.title for name, arm in arms.items()} | CONTROLS

    # ---- statistics ---------------------------------------------------------------------------

    def comparison(self, data: str, protocol: str, point: tuple | None = None) -> Comparison | None:
        """None where there are too few seeds, images or cells for an interval."""
        table, controls = self.results.table(data, protocol, point)
        trainable = [name for name in table if name not in controls]
        if not trainable or self.study.seeds < 2 or self.units(data, table[trainable[0]]) < 2:
            return None
        alpha = self.alpha if (data, protocol, point) == self.primary else 0.05
        return statistics.compare(
            table, self.groups.get(data), controls, alpha, folds=self.study.folds or 1
        )

    def units(self, data: str, correct: np.ndarray) -> int:
        """Images, or groups of images that belong together."""
        groups = self.groups.get(data)
        return correct.shape[1] if groups is None else len(np.unique(groups))

    @property
    def primary(self) -> tuple[str, str, None]:
        """The endpoint that the conclusion is drawn from."""
        return self.study.primary.data, self.study.primary.protocol, None

    @property
    def level(self) -> str:
        """Of the primary endpoint's intervals; each extension of the seeds widens them."""
        return f"{100 - 100 * self.alpha:g} % interval"

    def conclusion(self) -> list[str]:
        """In words, the shortest first."""
        found = self.comparison(*self.primary)
        if found is None:
            return [f"No conclusion: {self.lacking()}."]
        status = {
            name: [cell.status for cell in self.results.of(name, *self.primary)]
            for name in self.arms
        }
        absent = [self.titles[name] for name in self.arms if "missing" in status[name]]
        others = [
            self.titles[name]
            for name in self.arms
            if status[name] and all(one.startswith("not defined") for one in status[name])
        ]
        words = wording.sentences(found, self.study.margin, self.titles)
        for name, verdict in self.verdicts.items():
            words += [] if verdict.trained else [f"{self.titles[name]}: {verdict.words}."]
        words += [f"Without {', '.join(absent)}, whose runs are missing."] if absent else []
        protocol = self.study.primary.protocol
        words += [f"{', '.join(others)}: not defined under {protocol}."] if others else []
        return words + self.worth(found)

    def lacking(self) -> str:
        """Why the primary endpoint has no interval."""
        table, controls = self.results.table(*self.primary)
        if self.study.seeds < 2:
            here = f"this study has {self.study.seeds}"
            return f"an interval needs at least two seeds of each arm, {here}"
        if not set(table) - set(controls):
            return "no arm has all its runs at the primary endpoint"
        return "an interval needs at least two test images that do not belong together"

    def worth(self, found: Comparison) -> list[str]:
        """Does pre-training pay? The best arm with one against the best arm without."""
        begun = [bool(self.arms[name].pretrain or self.arms[name].pretrained) for name in self.arms]
        with_, without = (
            [n for n, b in zip(self.arms, begun, strict=True) if b == wanted and n in found.arms]
            for wanted in (True, False)
        )
        if not with_ or not without:
            return []
        arm, other = (max(names, key=lambda n: found.arms[n].value) for names in (with_, without))
        pair = next(pair for pair in found.family if {pair.first, pair.second} == {arm, other})
        sign = 1 if pair.first == arm else -1
        low, high = sorted((sign * pair.low, sign * pair.high))
        told = (
            f"{self.titles[arm]} {100 * sign * pair.value:+.1f} points against "
            f"{self.titles[other]} (interval {100 * low:+.1f} to {100 * high:+.1f})"
        )
        if sign > 0 and pair.holm <= found.alpha:
            return [f"Pre-training is worth it here: {told}."]
        if high < (self.study.margin or WORTHLESS):
            return [f"Pre-training is not worth it here: {told}; more labels are what to add."]
        return [f"Whether pre-training is worth it cannot be told: {told}; {wording.add(found)}."]

    def claims(self) -> list[list[str]]:
        """Published differences beside ours; it agrees or contradicts only outside the noise."""
        rows = [["published", "points", "ours", "95 % interval", "verdict"]]
        for claim in self.study.claims:
            point = next(iter(claim.at.items()), None) if claim.at else None
            found = self.comparison(*self.primary[:2], point)
            both = {claim.first, claim.second}
            pairs = found.pairs if found else []
            pair = next((p for p in pairs if {p.first, p.second} == both), None)
            where = f" ({point[0]} {point[1]:g})" if point else ""
            published = "more" if claim.points is None else f"{claim.points:+g}"
            row = [f"{claim.words}{where}", published]
            if pair is None:
                rows.append([*row, "missing", "", "cannot tell"])
                continue
            sign = 1 if pair.first == claim.first else -1
            low, high = sorted((sign * pair.low, sign * pair.high))
            verdict = "agrees" if low > 0 else "contradicts" if high < 0 else "cannot tell"
            interval = f"{100 * low:+.1f} to {100 * high:+.1f}"
            rows.append([*row, f"{100 * sign * pair.value:+.1f}", interval, verdict])
        return rows

    # ---- tables -------------------------------------------------------------------------------

    def headline(self, data: str) -> list[list[str]]:
        """A row an arm: primary first, then the other protocols, then what it cost."""
        protocols = [FINETUNE, *self.study.protocols, CLASSICAL]
        found = {name: self.comparison(data, name) for name in protocols}
        rows = [["arm", *protocols, "pre-training FLOPs", "total FLOPs", "labels"]]
        rows[0][-4] = "SVM"
        for arm in (*self.arms, *self.study.controls):
            cells = [c for c in self.results.cells if (c.arm, c.data, c.point) == (arm, data, None)]
            cells = sorted(cells, key=lambda cell: cell.protocol != FINETUNE)
            if not cells:
                continue
            rows.append([
                self.titles[arm],
                *(self._figure(arm, data, name, found[name]) for name in protocols),
                *self._cost(arm, cells[0]),
                f"{cells[0].labels_used:,}",
            ])  # fmt: skip
        return rows

    def suite(self) -> list[list[str]]:
        """Means over VTAB's tasks at the primary protocol; nothing where the tasks are others."""
        known = [name for name in self.study.transfer if name in TASKS]
        if len(known) < 2 or len(known) < len(self.study.transfer):
            return []
        protocol, rows = self.study.primary.protocol, []
        for arm in self.arms:
            cells = {name: self.results.of(arm, name, protocol) for name in known}
            scores = {
                name: np.mean([cell.accuracy for cell in found])
                for name, found in cells.items()
                if found and all(cell.accuracy is not None for cell in found)
            }
            if len(scores) == len(known):
                shown = means(scores)
                rows += [["arm", *shown]] if not rows else []
                rows.append([self.titles[arm], *(f"{100 * value:.1f}" for value in shown.values())])
        return rows

    def _cost(self, arm: str, cell: Cell) -> tuple[str, str]:
        """Both ledgers; what somebody else paid for is not nothing."""
        if arm in self.arms and self.arms[arm].pretrained:
            return "not paid here", f"{cell.total_flops:.2g} + not paid"
        return f"{cell.pretraining_flops:.2g}", f"{cell.total_flops:.2g}"

    def _figure(self, arm: str, data: str, protocol: str, found: Comparison | None) -> str:
        if found and arm in found.arms:
            one = found.arms[arm]
            return f"{100 * one.value:.1f} ({100 * one.low:.1f} to {100 * one.high:.1f})"
        cells = self.results.of(arm, data, protocol)
        values = [cell.accuracy for cell in cells if cell.accuracy is not None]
        if values:
            missing = len(cells) - len(values)
            return f"{100 * np.mean(values):.1f}" + (f" ({missing} missing)" if missing else "")
        return "missing" if cells and not cells[0].status.startswith("not defined") else "-"

    def pairs(self) -> list[list[str]]:
        """Of the primary endpoint."""
        found = self.comparison(*self.primary)
        rows = [["arm", "minus", "points", self.level, "Holm p", "noise from images"]]
        for pair in found.pairs if found else []:
            rows.append([
                self.titles[pair.first], self.titles[pair.second], f"{100 * pair.value:+.1f}",
                f"{100 * max(pair.low, -1):+.1f} to {100 * min(pair.high, 1):+.1f}",
                "outside the family" if pair.holm is None else f"{pair.holm:.2g}",
                f"{100 * pair.image_share:.0f} %",
            ])  # fmt: skip
        return rows

    def ranks(self) -> list[list[str]]:
        """Arms from best to worst, by task, place on an axis, and protocol."""
        protocols = [FINETUNE, *self.study.protocols]
        rows = [["", *protocols]]
        for data in self.study.transfer:
            for point in dict.fromkeys(cell.point for cell in self.results.cells):
                where = data if point is None else f"{data}, {point[0]} {point[1]:g}"
                orders = [self._order(data, name, point) for name in protocols]
                rows += [[where, *orders]] if set(orders) != {"-"} else []
        return rows

    def _order(self, data: str, protocol: str, point: tuple | None) -> str:
        table, controls = self.results.table(data, protocol, point)
        means = {arm: x.mean() for arm, x in table.items() if arm not in controls}
        return " > ".join(sorted(means, key=lambda arm: -means[arm])) or "-"
