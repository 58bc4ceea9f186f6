"""Do the files of a run folder agree with each other? Damaged or edited results enter no report.

A summary says the accuracies and the hash of each table, a table says each image, metrics.csv says
what a fit measured on the way. Whichever was torn, edited or exchanged, they no longer agree.
"""

import csv
import hashlib
import math
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vit.callbacks.run_folder import read_json

NUMBERS = ("seconds", "effective_rank")  # and every key with a slash, which is a metric
GROUPS = ("splits", "content", "labels", "protocol_ids", "chosen")
LARGEST = 1e300  # larger values count as damage
CONTROLS = ("_random", "_pixels")  # ends of the columns and metrics of controls
CLOSE = 1e-3  # a GPU that repeats a validation may differ in the last digits


class Table(NamedTuple):
    """Correctness image by image.

    Args:
        columns: M each, in [0, 1], by name.
        sha256: of the file.
        problem: why it is no such table; empty where it is one.
        index: M, the images' numbers in their split.
    """

    columns: dict[str, np.ndarray]
    sha256: str
    problem: str = ""
    index: np.ndarray | None = None


def read_summary(path: Path) -> dict[str, Any]:
    """What a summary says; a damaged one is a failed run's, whose next attempt names it."""
    try:
        return read_json(path)
    except (ValueError, RecursionError):
        return {"status": "failed"}


def problem_in_summary(path: Path) -> str:
    """Which value of a summary cannot be one; empty: all can."""
    for key, value in read_summary(path).items():
        if "/" in key or key in NUMBERS:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (number and abs(value) <= LARGEST):
                return f"{path}: {key} is {value!r}, no number"
        elif key in GROUPS and not isinstance(value, dict):
            return f"{path}: {key} is {value!r}, no group of values"
    return ""


def read_correctness(path: Path) -> Table:
    """A table of correctness; read once, as long as the file stays the same."""
    status = path.stat()
    return _parse(path, status.st_mtime_ns, status.st_size)


@cache
def _parse(path: Path, changed: int, size: int) -> Table:
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        names, *rows = csv.reader(content.decode().splitlines(), strict=True)
        values = np.array([[float(value) for value in row] for row in rows])
        index, columns = values[:, 0], values[:, 1:].T
    except (ValueError, IndexError, csv.Error):
        return Table({}, sha256, "is no whole table of numbers")
    if names[0] != "index" or len(names) != values.shape[1] or len(set(names)) != len(names):
        return Table({}, sha256, f"has the columns {', '.join(names)}")
    if not ((columns >= 0) & (columns <= 1)).all():
        return Table({}, sha256, "holds values outside 0 to 1")
    return Table(dict(zip(names[1:], columns, strict=True)), sha256, index=index)


def problem_in_table(path: Path, split: str, summary: Path, unread: tuple[int, ...] = ()) -> str:
    """How a table and the summary beside it contradict each other; empty: they do not.

    Args:
        path: of the table.
        split: whose images it is of.
        summary: beside it.
        unread: numbers of images that cannot be read: the table is without them.
    """
    if not path.is_file():
        return f"{path} is gone"
    table, figures = read_correctness(path), read_summary(summary)
    if table.problem:
        return f"{path} {table.problem}"
    numbers = np.setdiff1d(range(len(table.index) + len(unread)), unread)
    if not np.array_equal(numbers, table.index):
        return f"{path} does not hold each image once, in order"
    metrics = metrics_of(split, figures)
    if set(metrics) != set(table.columns):
        return f"{path} has the columns {', '.join(table.columns)}, {summary.name} {[*metrics]}"
    for column, metric in metrics.items():
        values, value = table.columns[column], figures[metric]
        if value is None or abs(values.mean() - value) * len(values) >= 0.5:  # half an image
            other = "nothing" if value is None else f"{100 * value:.1f} %"
            return f"{path} says {100 * values.mean():.1f} % for {metric}, {summary.name} {other}"
    hashes = figures.get("correct_sha256") or table.sha256  # none was kept before December 2026
    expected = hashes.get(split, table.sha256) if isinstance(hashes, dict) else hashes
    if expected != table.sha256:
        return f"{path} has sha256 {table.sha256[:12]}, {summary.name} {str(expected)[:12]}"
    return ""


def metrics_of(split: str, summary: dict[str, Any]) -> dict[str, str]:
    """The metric that is the mean of each column."""
    if f"{split}/accuracy" in summary:  # of a test
        return {"accuracy": f"{split}/accuracy"}
    metrics = {}
    for metric in summary:
        of, _, rest = metric.partition("/")
        protocol, _, measure = rest.partition("/")
        control = measure.removeprefix("accuracy")
        if of == split and measure.startswith("accuracy") and control in ("", *CONTROLS):
            metrics[protocol + control] = metric
    return metrics


def read_metrics(folder: Path) -> list[tuple[int, str, float]]:
    """The step, name and value of each whole row of metrics.csv."""
    path, rows = folder / "metrics.csv", []
    text = path.read_text(errors="replace") if path.is_file() else ""
    for line in text.splitlines()[1:]:
        try:
            step, _, name, value = line.split(",")
            rows.append((int(step), name, float(value)))
        except ValueError:
            continue  # torn
    return rows


def problem_in_metrics(folder: Path, summary: Path) -> str:
    """Which figure of a fit's summary differs from the last row of metrics.csv; empty: none."""
    last = {name: value for _, name, value in read_metrics(folder)}
    for name, value in read_summary(summary).items():
        other = last.get(name)
        if not name.startswith("val/") or value is None or other is None:
            continue
        if not math.isclose(value, other, rel_tol=CLOSE, abs_tol=CLOSE) and math.isfinite(other):
            return f"{summary} says {name} {value}, metrics.csv {other}"
    return ""
