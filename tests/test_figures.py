"""Figures of mistakes: what stands on them is what was counted, and nothing is cut off."""

import pytest
import torch

from vit.callbacks import figures
from vit.callbacks.confusions import Mistake
from vit.callbacks.figures import caption, matrix_figure, mistakes_figure, wrapped_path
from vit.published.decode import decode

LONG = "a folder of pictures from the garden behind the house, $\\frac$, each summer"


@pytest.fixture
def drawn(monkeypatch) -> list:
    """Figures on their way to a PNG."""
    caught, as_png = [], figures.as_png
    monkeypatch.setattr(figures, "as_png", lambda figure: caught.append(figure) or as_png(figure))
    return caught


def table_of(classes: int) -> torch.Tensor:
    """Ten right images of each class; the first is taken for the last three times."""
    table = 10 * torch.eye(classes, dtype=torch.int64)
    table[0, -1] = 3
    return table


def names_of(classes: int) -> tuple[str, ...]:
    return ("cat", LONG, *(f"class {number}" for number in range(2, classes)))


def flat(text: str) -> str:
    return text.replace("\n", " ")


def test_counts_stand_in_their_cells(drawn):
    table = torch.tensor([[7, 2, 0], [0, 12345, 1], [0, 0, 0]])  # nobody has the last label
    matrix_figure(table, ("a", "b", "c"), "val: 7 of 9")
    (axes,) = drawn[0].axes
    cells = {tuple(map(int, text.get_position())): text.get_text() for text in axes.texts}
    assert cells == {(0, 0): "7", (1, 0): "2", (1, 1): "12345", (2, 1): "1"}
    assert axes.get_title() == "val: 7 of 9"
    fraction = axes.images[0].get_array() ** 2  # the colour is the square root
    assert fraction[0].tolist() == pytest.approx([7 / 9, 2 / 9, 0])
    assert fraction[2].tolist() == [0, 0, 0]


@pytest.mark.parametrize("classes", [31, 101])
def test_of_many_classes_the_most_confused_are_told_in_words(drawn, classes):
    matrix_figure(table_of(classes), names_of(classes), "test")
    (text,) = drawn[0].axes[0].texts
    first = f"cat → class {classes - 1}: 3 of 13"
    assert text.get_text().splitlines() == ["most confused, label → guess:", first]


@pytest.mark.parametrize("classes", [2, 30, 100])
def test_no_name_and_no_title_is_cut_off(drawn, classes):
    title = f"test: {LONG}"
    png = matrix_figure(table_of(classes), names_of(classes), title)
    (axes,) = drawn[0].axes
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert tuple(flat(tick.get_text()) for tick in ticks) == names_of(classes)
    assert flat(axes.get_title()) == title
    assert white_border(png)


def white_border(png: bytes) -> bool:
    """Is there a margin around everything that stands on a picture?"""
    pixels = decode(png)
    edges = (pixels[:, :8], pixels[:, -8:], pixels[:, :, :8], pixels[:, :, -8:])
    return all((edge == 255).all() for edge in edges)


def mistake(number: int, channels: int = 3) -> Mistake:
    return Mistake(0.984, number, 0, 1, torch.full((channels, 4, 4), number / 20))


def test_under_each_mistake_stand_both_classes_the_confidence_and_the_file(drawn):
    assert caption(mistake(7), ("cat", "dog"), "a/b.png") == "cat → dog, 98 %\na/b.png"
    names = [f"folder/{'x' * 60}_{number}.jpg" for number in range(7)]
    mistakes = [mistake(number) for number in range(7)]
    assert white_border(mistakes_figure(mistakes, ("cat", LONG), names, "test: 7 of 9 mistakes"))
    assert len(drawn[0].axes) == 7
    for number, axes in enumerate(drawn[0].axes):
        (text,) = axes.texts
        shown = text.get_text().replace("\n", "")
        assert shown.endswith(f"98 %{names[number]}")
        assert axes.images[0].get_array()[0, 0].tolist() == pytest.approx([number / 20] * 3)


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        ("a/b.png", ["a/b.png"]),
        ("flowers/colts-foot/image_0042.jpg", ["flowers/colts-foot/image_", "0042.jpg"]),
        (f"{'x' * 31}.jpg", ["x" * 18, f"{'x' * 13}.jpg"]),
        (f"deep/{'x' * 28}", ["deep/", "x" * 28]),
    ],
)
def test_a_path_is_broken_behind_a_separator_and_its_ending_is_not(path, lines):
    assert wrapped_path(path, 28).split("\n") == lines


def test_captions_and_pictures_do_not_lie_on_each_other(drawn):
    mistakes = [mistake(number) for number in range(12)]
    names = [f"{'folder/' * 9}{number}.jpg" for number in range(12)]
    mistakes_figure(mistakes, ("cat", LONG), names, "test")
    renderer = drawn[0].canvas.get_renderer()
    boxes = [axes.get_window_extent(renderer) for axes in drawn[0].axes]
    boxes += [axes.texts[0].get_window_extent(renderer) for axes in drawn[0].axes]
    for at, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:at])


def test_pictures_of_one_channel_or_of_many_are_grey(drawn):
    mistakes = [mistake(5, channels=1), mistake(5, channels=7)]
    assert white_border(mistakes_figure(mistakes, ("cat", "dog"), ["image 5"] * 2, "val"))
    assert all(axes.images[0].get_array().ndim == 2 for axes in drawn[0].axes)
