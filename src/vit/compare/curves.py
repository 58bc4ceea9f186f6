"""Pictures: accuracy along each axis, and against what it cost."""

from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from vit.compare.findings import Findings
from vit.compare.study import FINETUNE

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#000000", "#999999")


def draw(found: Findings, folder: Path) -> list[str]:
    """SVG files in a folder; their names."""
    made = [_axis(found, folder, axis) for axis in found.study.axes]
    return [name for name in [*made, _cost(found, folder)] if name]


def _axis(found: Findings, folder: Path, axis: str) -> str:
    """The primary protocol along one axis, the declared point included where it lies on it."""
    data, protocol, _ = found.primary
    places = sorted({*found.study.axes[axis], *base(found, data, axis)})
    figure, plot = canvas()
    for number, (arm, title) in enumerate(series(found)):
        points = []
        for value in places:
            at = (axis, value) if value in found.study.axes[axis] else None
            compared = found.comparison(data, protocol, at)
            if compared and arm in compared.arms:
                points.append((value, compared.arms[arm]))
        line(plot, number, title, points)
    plot.set_xscale("log")
    plot.minorticks_off()
    plot.set_xticks(places, [f"{value:g}" for value in places])  # what was measured, not powers
    plot.set_xlabel(axis.replace("_", " "))
    return save(figure, plot, folder / f"{axis}.svg", f"{data}, {protocol}")


def _cost(found: Findings, folder: Path) -> str:
    """Accuracy against total training FLOPs."""
    data = found.study.primary.data
    figure, plot = canvas()
    points = [None, *(("budget", v) for v in found.study.axes.get("budget", []))]
    for number, (arm, title) in enumerate(series(found)):
        costs = []
        for point in points:
            cells = found.results.of(arm, data, FINETUNE, point)
            compared = found.comparison(data, FINETUNE, point)
            if cells and compared and arm in compared.arms:
                costs.append((cells[0].total_flops, compared.arms[arm]))
        line(plot, number, title, sorted(costs, key=lambda pair: pair[0]))
    plot.set_xscale("log")
    plot.set_xlabel("total training FLOPs: pre-training, fine-tuning, tuning")
    return save(figure, plot, folder / "cost.svg", f"{data}, {FINETUNE}")


def series(found: Findings) -> list[tuple[str, str]]:
    """Arms and their titles, in the report's order, so that a colour means one arm everywhere."""
    return [(name, found.titles[name]) for name in found.arms]


def base(found: Findings, data: str, axis: str) -> list[float]:
    """Where the declared point lies on an axis."""
    if axis == "budget":
        return [1.0]
    value = found.study.transfer[data].set.get(axis)
    return [] if value is None else [float(value)]


def canvas() -> tuple[Figure, object]:
    """One plot."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    return figure, figure.add_subplot()


def line(plot: object, number: int, title: str, points: list) -> None:
    """One arm: means, joined, with their intervals."""
    if not points:
        return
    values = [100 * one.value for _, one in points]
    below = [100 * (one.value - one.low) for _, one in points]
    above = [100 * (one.high - one.value) for _, one in points]
    aside = 1.015**number  # a little to the right of the arm before, so that bars stay visible
    plot.errorbar(
        [x * aside for x, _ in points], values, yerr=[below, above], label=title, marker="o",
        color=COLOURS[number % len(COLOURS)], capsize=3, linewidth=1.5,
    )  # fmt: skip


def save(figure: Figure, plot: object, path: Path, title: str) -> str:
    """Empty where nothing was drawn."""
    if not plot.has_data():
        return ""
    plot.set_ylabel("test accuracy, %")
    plot.set_title(f"{title} (95 % intervals)", fontsize=10)
    plot.grid(alpha=0.3)
    plot.legend(fontsize=8)
    with rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(path, metadata={"Date": None})  # the same figures give the same file
    return path.name
