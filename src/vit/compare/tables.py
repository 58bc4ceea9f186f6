"""The tables of a report as rows of text, heads first."""

import numpy as np

from vit.compare.findings import BEST_USE, Findings
from vit.compare.results import Score
from vit.compare.statistics import Comparison
from vit.compare.study import FINETUNE
from vit.compare.verdict import Effect, effect_of
from vit.compare.wording import interval_text, signed
from vit.published.tasks import TASKS, means

Rows = list[list[str]]


def headline(findings: Findings) -> Rows:
    """A row for each arm and control at the primary endpoint: figures, validity, cost."""
    comparison = findings.declared
    rows = [["arm", "each seed, %", f"mean, % ({findings.level})", "trained?", *COSTS]]
    for arm in (*findings.arms, *findings.study.controls):
        scores = findings.scores_of(arm)
        if not scores:
            continue
        seeds = " ".join(seed_text(score) for score in scores)
        mean = mean_text(arm, scores, comparison)
        validity = findings.validities.get((arm, findings.study.primary.data))
        state = validity.state if validity else "-"
        spent = (*cost(findings, scores[0]), labels_text(scores[0]))
        rows.append([findings.title(arm), seeds, mean, state, *spent])
    return rows


COSTS = ("pre-training FLOPs", "total FLOPs", "labels: learned from + chosen on")


def labels_text(score: Score) -> str:
    """How many labels taught, and by how many more on validation something was chosen, if any."""
    taught, chosen = score.labels_used - score.labels_chosen_on, score.labels_chosen_on
    return f"{taught:,} + {chosen:,}" if chosen else f"{taught:,}"


def seed_text(score: Score) -> str:
    """One seed's accuracy in percent, or what became of it."""
    return f"{100 * score.accuracy:.1f}" if score.accuracy is not None else short(score.status)


def short(status: str) -> str:
    """The first word or two of why there is no figure."""
    return "-" if status.startswith("not defined") else status.partition(":")[0]


def mean_text(arm: str, scores: list[Score], comparison: Comparison | None) -> str:
    """The mean with its interval; without all seeds neither, as the rest may differ from them."""
    if comparison and arm in comparison.arms:
        one = comparison.arms[arm]
        return f"{100 * one.value:.1f} ({interval_text(one.low, one.high, '')})"
    values = [score.accuracy for score in scores if score.accuracy is not None]
    if len(values) == len(scores):
        return f"{100 * np.mean(values):.1f}"
    return f"{len(values)} of {len(scores)} seeds" if values else "-"


def cost(findings: Findings, score: Score) -> tuple[str, str]:
    """The FLOPs of pre-training and of all; what somebody else paid for is not nothing."""
    arm = findings.arms.get(score.arm)
    if arm and arm.pretrained:
        return "not paid here", f"{score.total_flops:.2g} + not paid"
    return f"{score.pretraining_flops:.2g}", f"{score.total_flops:.2g}"


def by_protocol(findings: Findings, data: str) -> Rows:
    """A row for each arm and control: every protocol on one task."""
    study = findings.study
    protocols = [*([] if study.frozen_only else [FINETUNE]), *study.protocols]
    comparisons = {name: findings.comparison(data, name) for name in protocols}
    classical = any(name in BEST_USE for name in findings.study.controls)
    rows = [["arm", *protocols, *(["as a classifier"] if classical else [])]]
    for arm in (*findings.arms, *findings.study.controls):
        figures = []
        for name in protocols:
            scores = findings.results.of(arm, data, name)
            figures.append(mean_text(arm, scores, comparisons[name]) if scores else "-")
        if classical:
            best = BEST_USE.get(arm)
            scores = findings.results.of(arm, data, best[0]) if best else []
            figures.append(mean_text(arm, scores, None) if scores else "-")
        if set(figures) != {"-"}:
            rows.append([findings.titles[arm], *figures])
    return rows


def suite_means(findings: Findings) -> Rows:
    """Means over VTAB's tasks at the primary protocol; nothing where the tasks are others."""
    study = findings.study
    names = [name for name in study.transfer if name in TASKS]
    if len(names) < 2 or len(names) < len(study.transfer):
        return []
    rows = []
    for arm in findings.arms:
        by_task = {}
        for name in names:
            scores = findings.results.of(arm, name, study.primary.protocol)
            if scores and all(score.accuracy is not None for score in scores):
                by_task[name] = np.mean([score.accuracy for score in scores])
        if len(by_task) == len(names):
            figures = means(by_task)
            rows += [] if rows else [["arm", *figures]]
            rows.append([findings.titles[arm], *(f"{100 * x:.1f}" for x in figures.values())])
    return rows


def pairs(findings: Findings) -> Rows:
    """The differences between arms, and of the best arm to controls, at the primary endpoint."""
    comparison = findings.declared
    rows = [["arm", "minus", "points", findings.level, "Holm p"]]
    every = comparison.pairs if comparison else []
    for pair in every:
        if pair.holm is None and pair.first != every[0].first:
            continue
        rows.append(
            [
                findings.title(pair.first),
                findings.title(pair.second),
                signed(pair.value),
                interval_text(pair.low, pair.high, "", sign=True),
                "control" if pair.holm is None else f"{pair.holm:.2g}",
            ]
        )
    return rows


def endpoints(findings: Findings) -> Rows:
    """Every arm that brings weights at the other declared endpoints, against the best rival."""
    rows = [ENDPOINTS]
    for endpoint in findings.study.endpoints:
        comparison = findings.declared_at(endpoint.data, endpoint.protocol)
        rival = findings.best_rival(comparison) if comparison else ""
        for arm in findings.arms if rival else ():
            if arm not in comparison.arms or findings.kinds.get(arm, "none") == "none":
                continue
            gain, rate = effect_of(comparison, arm, rival), comparison.arms[rival].value
            rows.append(
                [
                    f"{endpoint.data}, {endpoint.protocol}",
                    findings.titles[arm],
                    mean_text(arm, [], comparison),
                    f"{findings.title(rival)}, {100 * rate:.1f}",
                    signed(gain.value),
                    interval_text(gain.low, gain.high, "", sign=True),
                    "control" if gain.holm is None else f"{gain.holm:.2g}",
                ]
            )
    return rows


ENDPOINTS = [
    *("endpoint", "arm", "mean, % (95 % interval)", "best without pre-training, %"),
    *("points", "95 % interval", "Holm p"),
]


def claims(findings: Findings) -> Rows:
    """Published differences beside ours; it agrees only where ours has its size too."""
    rows = [["published", "points", "ours", "95 % interval", "verdict"]]
    for claim in findings.study.claims:
        point = next(iter(claim.at.items()), None) if claim.at else None
        comparison = findings.comparison(*findings.primary[:2], point)
        where = f" ({point[0]} {point[1]:g})" if point else ""
        size = "more" if claim.points is None else f"{claim.points:+g}"
        row = [f"{claim.published}{where}", size]
        if comparison is None or not {claim.first, claim.second} <= comparison.arms.keys():
            rows.append([*row, "missing", "", "cannot tell"])
            continue
        gain = effect_of(comparison, claim.first, claim.second)
        interval = interval_text(gain.low, gain.high, "", sign=True)
        rows.append([*row, signed(gain.value), interval, claim_verdict(claim.points, gain)])
    return rows


def claim_verdict(published: float | None, gain: Effect) -> str:
    """Does our interval hold what was published, in points; null: that there is a gain?"""
    direction = -1 if published is not None and published < 0 else 1
    low, high = sorted((direction * gain.low, direction * gain.high))
    if high < 0:
        return "contradicts"
    if low <= 0:
        return "cannot tell"
    same = published is None or gain.low <= published / 100 <= gain.high
    return "agrees" if same else "agrees in sign, not in size"


def ranks(findings: Findings) -> Rows:
    """The arms from best to worst, by task, place on an axis, and protocol."""
    protocols = [FINETUNE, *findings.study.protocols]
    rows = [["", *protocols]]
    for data in findings.study.transfer:
        for point in dict.fromkeys(score.point for score in findings.results.scores):
            where = data if point is None else f"{data}, {point[0]} {point[1]:g}"
            orders = [order(findings, data, name, point) for name in protocols]
            rows += [[where, *orders]] if set(orders) != {"-"} else []
    return rows if len(rows) > 2 else rows[:1]  # one row would repeat the table of its task


def order(findings: Findings, data: str, protocol: str, point: tuple | None) -> str:
    """The arms from best to worst."""
    table, controls = findings.results.table(data, protocol, point)
    accuracy = {arm: x.mean() for arm, x in table.items() if arm not in controls}
    ranked = sorted(accuracy, key=lambda arm: -accuracy[arm])
    return " > ".join(findings.titles[arm] for arm in ranked) or "-"


def markdown(rows: Rows) -> str:
    """A Markdown table; empty where there is only a header."""
    if len(rows) < 2:
        return ""
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def aligned(rows: Rows) -> str:
    """A table for a terminal."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)
