"""Pictures: a forest plot of the answer, accuracy along each axis, and against what it cost."""

from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vit.compare.findings import Findings
from vit.compare.study import FINETUNE
from vit.compare.verdict import effect_of

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#000000", "#999999")
ROW = 0.34  # inches of a row in the forest plot


def draw(findings: Findings, folder: Path) -> list[str]:
    """Write SVG files into a folder, the forest plot first; return their names."""
    made = [_forest(findings, folder)]
    made += [_axis(findings, folder, axis) for axis in findings.study.axes]
    made += [_labels(findings, folder)]
    return [name for name in [*made, _cost(findings, folder)] if name]


# ---- the forest plot ----------------------------------------------------------------------------


def _forest(findings: Findings, folder: Path) -> str:
    """Draw arms with their seeds, controls and chance as lines; and what each gains."""
    comparison = findings.declared
    if comparison is None:
        return ""
    arms = sorted(
        (name for name in findings.arms if name in comparison.arms),
        key=lambda name: comparison.arms[name].value,
    )
    figure = Figure(figsize=(9, 1.6 + ROW * len(arms)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for row, arm in enumerate(arms):
        one = comparison.arms[arm]
        _bar(left, row, one.value, one.low, one.high, hollow=findings.untrained(arm))
        seeds = [100 * score.accuracy for score in findings.scores_of(arm)]
        left.plot(seeds, [row + 0.22] * len(seeds), "|", color="#555555", markersize=5)
    for (name, value), dash in zip(findings.lines(), (":", "--", "-.", "-"), strict=False):
        left.axvline(100 * value, linestyle=dash, color="#777777", linewidth=1, label=name)
    left.set_yticks(range(len(arms)), [findings.titles[arm] for arm in arms])
    left.set_ylim(-0.6, len(arms) - 0.4)
    left.set_xlabel(f"test accuracy, % ({findings.level}; a stroke is a seed)")
    if findings.lines():
        left.legend(
            fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.28), ncols=2, frameon=False
        )
    _gains(findings, right, arms)
    return save(figure, folder / "forest.svg", left, right)


def _gains(findings: Findings, plot: Axes, arms: list[str]) -> None:
    """Draw each arm's difference to the best arm without pre-training, the margin as a band."""
    base = findings.best_baseline()
    plot.set_xlabel(f"points against {findings.titles[base]}" if base else "")
    plot.axvline(0, color="#777777", linewidth=1)
    if findings.study.margin:
        plot.axvspan(-100 * findings.study.margin, 100 * findings.study.margin, color="#dddddd")
    for row, arm in enumerate(arms):
        if base and arm != base:
            gain = effect_of(findings.declared, arm, base)
            hollow = findings.untrained(arm)
            _bar(plot, row, gain.value, max(gain.low, -1), min(gain.high, 1), hollow)


def _bar(plot: Axes, row: int, value: float, low: float, high: float, hollow: bool) -> None:
    """Draw a mean with its interval; an arm that was not trained is hollow."""
    plot.errorbar(
        [100 * value],
        [row],
        xerr=[[100 * (value - low)], [100 * (high - value)]],
        marker="o",
        color="#0072b2",
        markerfacecolor="white" if hollow else "#0072b2",
        capsize=3,
        linewidth=1.5,
    )


# ---- curves -------------------------------------------------------------------------------------


def _axis(findings: Findings, folder: Path, axis: str) -> str:
    """Draw the primary protocol along one axis, with the declared point where it lies on it."""
    data, protocol, _ = findings.primary
    values = findings.values_on(axis)
    figure, plot = canvas()
    for number, arm in enumerate(findings.arms):
        points = []
        for value in values:
            compared = findings.comparison(data, protocol, findings.point_at(axis, value))
            if compared and arm in compared.arms:
                points.append((value, compared.arms[arm]))
        _band(plot, number, findings.titles[arm], points)
    plot.set_xscale("log")
    plot.minorticks_off()
    plot.set_xticks(values, [f"{value:g}" for value in values])  # what was measured, not powers
    plot.set_xlabel(axis.replace("_", " "))
    return _finish(figure, plot, folder / f"{axis}.svg", f"{data}, {protocol}")


def _labels(findings: Findings, folder: Path) -> str:
    """Draw accuracy against labels a class, where endpoints are declared for several numbers."""
    study = findings.study
    declared = (*reversed(study.endpoints), study.primary)  # of one number, the first counts
    by_labels = {findings.labels_at(one): one for one in declared}
    places = sorted(count for count in by_labels if count)
    if len(places) < 2:
        return ""
    ends = [(count, by_labels[count]) for count in places]
    compared = {n: findings.declared_at(end.data, end.protocol) for n, end in ends}
    figure, plot = canvas()
    for number, name in enumerate((*findings.arms, *study.controls)):
        points = [(n, one.arms[name]) for n, one in compared.items() if one and name in one.arms]
        _band(plot, number, findings.title(name), points)
    plot.set_xscale("log")
    plot.minorticks_off()
    plot.set_xticks(places, [f"{count}\n{end.protocol}" for count, end in ends])
    plot.set_xlabel("labels a class, and the endpoint declared there")
    return _finish(figure, plot, folder / "labels.svg", "declared endpoints")


def _cost(findings: Findings, folder: Path) -> str:
    """Draw accuracy against total training FLOPs."""
    data = findings.study.primary.data
    figure, plot = canvas()
    points = [None, *(("budget", v) for v in findings.study.axes.get("budget", []))]
    for number, arm in enumerate(findings.arms):
        costs = []
        for point in points:
            scores = findings.results.of(arm, data, FINETUNE, point)
            compared = findings.comparison(data, FINETUNE, point)
            if scores and compared and arm in compared.arms:
                costs.append((scores[0].total_flops, compared.arms[arm]))
        _band(plot, number, findings.titles[arm], sorted(costs, key=lambda pair: pair[0]))
    plot.set_xscale("log")
    plot.set_xlabel("total training FLOPs: pre-training, fine-tuning, tuning")
    return _finish(figure, plot, folder / "cost.svg", f"{data}, {FINETUNE}")


def canvas() -> tuple[Figure, Axes]:
    """An empty figure and its plot."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    return figure, figure.add_subplot()


def _band(plot: Axes, number: int, title: str, points: list) -> None:
    """Draw one arm: its means joined, with a band; a bar where there is one point alone."""
    if not points:
        return
    colour = COLOURS[number % len(COLOURS)]
    values = [100 * one.value for _, one in points]
    low, high = [100 * one.low for _, one in points], [100 * one.high for _, one in points]
    if len(points) > 1:
        places = [x for x, _ in points]
        plot.plot(places, values, marker="o", color=colour, label=title, linewidth=1.5)
        plot.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
        return
    ((place, _),) = points
    around = [[values[0] - low[0]], [high[0] - values[0]]]
    plot.errorbar(
        [place * 1.015**number],  # a little aside, so that bars of equal cost stay visible
        values,
        yerr=around,
        marker="o",
        color=colour,
        label=title,
        capsize=3,
    )


def _finish(figure: Figure, plot: Axes, path: Path, title: str) -> str:
    """Label and write a plot of accuracy; return its name, empty where nothing was drawn."""
    if not plot.has_data():
        return ""
    plot.set_ylabel("test accuracy, %")
    plot.set_title(f"{title} (95 % intervals)", fontsize=10)
    plot.legend(fontsize=8)
    return save(figure, path, plot)


def save(figure: Figure, path: Path, *plots: Axes) -> str:
    """Write a picture; return its name."""
    for plot in plots:
        plot.grid(alpha=0.3)
    with rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(path, metadata={"Date": None})  # the same figures give the same file
    return path.name
