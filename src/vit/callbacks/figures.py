"""Figures of what a classifier confuses: its matrix, and its surest mistakes.

matplotlib is imported only when one is drawn. Nothing is cut off: the canvas grows to what stands
on it, and long names are wrapped.

L classes.
"""

import io
import math
import re
import textwrap
import warnings
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from vit.callbacks.confusions import Mistake

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NUMBERS = 30  # classes whose counts can be read in the cells
MOST_NAMES = 100  # classes whose names can be read beside the matrix
PAIRS = 15  # most confused pairs in words, where no cell has a number
COLUMNS = 5  # mistakes in a row
SIDE, GAP, LINE = 2.0, 0.25, 0.14  # inches: an image, the space beside it, a line of text
DPI = 100


def matrix_figure(table: Tensor, classes: tuple[str, ...], title: str) -> bytes:
    """A PNG of the confusion matrix: rows are labels, columns guesses, colours fractions of a row.

    Counts stand in the cells (none: 0), or, of many classes, the most confused pairs beside them.

    Args:
        table: L L counts, rows are labels.
        classes: their names.
        title: what and how many.
    """
    size = len(classes)
    numbers = size <= MOST_NUMBERS
    side = min(max((0.5 if numbers else 0.15) * size, 2.5), 18)  # inches
    figure = new_figure(side, side)
    axes = figure.add_axes((0, 0, 1, 1))
    fraction = (table / table.sum(1, keepdim=True).clamp(min=1)).numpy()
    # the square root: one image in fifty shall be seen
    axes.imshow(fraction**0.5, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(wrapped(title, max(int(10 * side), 40)), fontsize=11, parse_math=False)
    axes.set_xlabel("guessed")
    axes.set_ylabel("label")
    if size <= MOST_NAMES:
        names = [wrapped(name, 40 if numbers else 80) for name in classes]
        font = {"fontsize": 9 if numbers else 7, "parse_math": False}
        axes.set_xticks(range(size), names, rotation=90, **font)
        axes.set_yticks(range(size), names, **font)
    if numbers:
        number_cells(axes, table, fraction)
    else:
        style = {"va": "top", "fontsize": 11, "parse_math": False, "transform": axes.transAxes}
        axes.text(1.03, 1, pairs_text(table, classes), **style)
    return as_png(figure)


def number_cells(axes: "Axes", table: Tensor, fraction: np.ndarray) -> None:
    """The count of each cell that is not 0."""
    for row, column in table.nonzero().tolist():
        colour = "white" if fraction[row, column] > 0.3 else "black"
        text = str(int(table[row, column]))
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)


def pairs_text(table: Tensor, classes: tuple[str, ...]) -> str:
    """The pairs that are confused most often, a line each."""
    wrong = table.clone().fill_diagonal_(0)
    counts, cells = wrong.flatten().sort(descending=True, stable=True)
    images = table.sum(1)
    lines = ["most confused, label → guess:"]
    for count, cell in zip(counts[:PAIRS].tolist(), cells[:PAIRS].tolist(), strict=True):
        if count:
            label, guess = divmod(cell, len(classes))
            names = f"{wrapped(classes[label], 80)} → {wrapped(classes[guess], 80)}"
            lines.append(f"{names}: {int(count)} of {int(images[label])}")
    return "\n".join(lines if len(lines) > 1 else ["no image was taken for another class"])


def mistakes_figure(
    mistakes: list[Mistake], classes: tuple[str, ...], names: list[str], title: str
) -> bytes:
    """A PNG of images, and under each: label → guess, confidence, file.

    Args:
        mistakes: at least one, the surest first.
        classes: names of labels and guesses.
        names: of the images, one a mistake.
        title: what and how many.
    """
    columns = min(COLUMNS, len(mistakes))
    rows = -(-len(mistakes) // columns)
    captions = [caption(m, classes, name) for m, name in zip(mistakes, names, strict=True)]
    below = LINE * (max(text.count("\n") for text in captions) + 3)
    width, height = columns * (SIDE + GAP), rows * (SIDE + below)  # inches
    figure = new_figure(width, height)
    for number, (mistake, text) in enumerate(zip(mistakes, captions, strict=True)):
        left, top = number % columns * (SIDE + GAP), number // columns * (SIDE + below)
        place = left / width, 1 - (top + SIDE) / height, SIDE / width, SIDE / height
        axes = figure.add_axes(place)
        axes.set_axis_off()
        pixels = mistake.pixels.numpy()
        image = pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels.mean(0)
        axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        style = {"fontsize": 8, "parse_math": False, "transform": axes.transAxes}
        axes.text(0.5, -0.04, text, ha="center", va="top", **style)
    head = wrapped(title, 30 * columns)
    figure.text(0, 1 + LINE / height, head, va="bottom", fontsize=10, parse_math=False)
    return as_png(figure)


def caption(mistake: Mistake, classes: tuple[str, ...], name: str) -> str:
    """What stands under an image."""
    sure = f"{100 * mistake.confidence:.0f} %"
    said = f"{classes[mistake.label]} → {classes[mistake.guess]}, {sure}"
    return f"{wrapped(said, 28)}\n{wrapped_path(name, 28)}"


def wrapped(text: str, width: int) -> str:
    """Lines of at most so many characters; nothing is left out."""
    return textwrap.fill(text, width, break_long_words=True) or "''"


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure, in inches, that no window belongs to."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to load
    from matplotlib.figure import Figure

    figure = Figure((width, height), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def as_png(figure: "Figure") -> bytes:
    """The picture of everything that stands on a figure."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the font lacks
        figure.savefig(stream, format="png", bbox_inches="tight", pad_inches=0.15)
    return stream.getvalue()


def wrapped_path(path: str, width: int) -> str:
    """Lines of at most so many characters, broken behind a separator where there is one.

    A name without any is cut into lines of about equal length, so that its ending stays whole.
    """
    lines = [""]
    for piece in re.findall(r"[^/_ -]*[/_ -]|[^/_ -]+", path):
        if len(lines[-1]) + len(piece) <= width:
            lines[-1] += piece
            continue
        size = math.ceil(len(piece) / math.ceil(len(piece) / width))
        lines += [piece[start : start + size] for start in range(0, len(piece), size)]
    return "\n".join(line for line in lines if line)
