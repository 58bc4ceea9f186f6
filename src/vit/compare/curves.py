"""Pictures: accuracy along each axis, and against what it cost."""

from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from vit.compare.findings import Findings
from vit.compare.study import FINETUNE

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#000000", "#999999")


def draw(findings: Findings, folder: Path) -> list[str]:
    """Write SVG files into a folder; return their names."""
    made = [_axis(findings, folder, axis) for axis in findings.study.axes]
    return [name for name in [*made, _cost(findings, folder)] if name]


def _axis(findings: Findings, folder: Path, axis: str) -> str:
    """Draw the primary protocol along one axis, with the declared point where it lies on it."""
    data, protocol, _ = findings.primary
    values = sorted({*findings.study.axes[axis], *declared(findings, data, axis)})
    figure, plot = canvas()
    for number, (arm, title) in enumerate(series(findings)):
        points = []
        for value in values:
            at = (axis, value) if value in findings.study.axes[axis] else None
            compared = findings.comparison(data, protocol, at)
            if compared and arm in compared.arms:
                points.append((value, compared.arms[arm]))
        draw_arm(plot, number, title, points)
    plot.set_xscale("log")
    plot.minorticks_off()
    plot.set_xticks(values, [f"{value:g}" for value in values])  # what was measured, not powers
    plot.set_xlabel(axis.replace("_", " "))
    return save(figure, plot, folder / f"{axis}.svg", f"{data}, {protocol}")


def _cost(findings: Findings, folder: Path) -> str:
    """Draw accuracy against total training FLOPs."""
    data = findings.study.primary.data
    figure, plot = canvas()
    points = [None, *(("budget", v) for v in findings.study.axes.get("budget", []))]
    for number, (arm, title) in enumerate(series(findings)):
        costs = []
        for point in points:
            scores = findings.results.of(arm, data, FINETUNE, point)
            compared = findings.comparison(data, FINETUNE, point)
            if scores and compared and arm in compared.arms:
                costs.append((scores[0].total_flops, compared.arms[arm]))
        draw_arm(plot, number, title, sorted(costs, key=lambda pair: pair[0]))
    plot.set_xscale("log")
    plot.set_xlabel("total training FLOPs: pre-training, fine-tuning, tuning")
    return save(figure, plot, folder / "cost.svg", f"{data}, {FINETUNE}")


def series(findings: Findings) -> list[tuple[str, str]]:
    """The arms and their titles in the report's order, so that a colour is one arm everywhere."""
    return [(name, findings.titles[name]) for name in findings.arms]


def declared(findings: Findings, data: str, axis: str) -> list[float]:
    """Where the declared point lies on an axis."""
    if axis == "budget":
        return [1.0]
    value = findings.study.transfer[data].set.get(axis)
    return [] if value is None else [float(value)]


def canvas() -> tuple[Figure, object]:
    """An empty figure and its plot."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    return figure, figure.add_subplot()


def draw_arm(plot: object, number: int, title: str, points: list) -> None:
    """Draw one arm: means, joined, with their intervals."""
    if not points:
        return
    values = [100 * one.value for _, one in points]
    below = [100 * (one.value - one.low) for _, one in points]
    above = [100 * (one.high - one.value) for _, one in points]
    aside = 1.015**number  # a little to the right of the arm before, so that bars stay visible
    plot.errorbar(
        [x * aside for x, _ in points],
        values,
        yerr=[below, above],
        label=title,
        marker="o",
        color=COLOURS[number % len(COLOURS)],
        capsize=3,
        linewidth=1.5,
    )


def save(figure: Figure, plot: object, path: Path, title: str) -> str:
    """Write a picture; return its name, which is empty where nothing was drawn."""
    if not plot.has_data():
        return ""
    plot.set_ylabel("test accuracy, %")
    plot.set_title(f"{title} (95 % intervals)", fontsize=10)
    plot.grid(alpha=0.3)
    plot.legend(fontsize=8)
    with rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(path, metadata={"Date": None})  # the same figures give the same file
    return path.name
