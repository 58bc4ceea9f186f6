"""A bar comes where somebody waits at a terminal, and only there."""

import io
import itertools

import pytest
from rich.console import Console

from vit.data.reading_progress import AFTER, ReadingProgress


def console(terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100)


def gone_through(count: int, seconds: float, terminal: bool = True, **how) -> tuple[list, str]:
    """What comes out of so many items that take so long each, and what is drawn."""
    screen, now = console(terminal), [0.0]
    told = ReadingProgress("reading names", step=1, console=screen, clock=lambda: now[0], **how)
    found = []
    for item in told.over(range(count)):
        found.append(item)
        now[0] += seconds
    return found, screen.file.getvalue()


def test_nothing_is_drawn_before_two_seconds_are_over():
    assert gone_through(10, AFTER / 11) == (list(range(10)), "")


def test_after_two_seconds_the_count_is_drawn_and_taken_away_at_the_end():
    found, drawn = gone_through(1_234, AFTER / 100)
    assert found == list(range(1_234))
    assert "reading names" in drawn
    assert "1,234" in drawn
    assert drawn.endswith("\x1b[2K")  # the line is empty again


def test_where_a_total_is_known_the_bar_fills():
    assert "12 of 12" in gone_through(12, AFTER, total=12)[1]


def test_no_terminal_and_no_other_rank_draws(monkeypatch):
    assert gone_through(5, AFTER, terminal=False) == (list(range(5)), "")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert gone_through(5, AFTER) == (list(range(5)), "")


def test_what_goes_wrong_takes_the_bar_away_too():
    def broken():
        yield from range(3)
        raise ValueError("torn")

    screen, clock = console(terminal=True), itertools.count(0.0, AFTER).__next__
    told = ReadingProgress("names", step=1, console=screen, clock=clock).over(broken())
    with pytest.raises(ValueError, match="torn"):
        list(told)
    assert "3" in screen.file.getvalue()
    assert screen.file.getvalue().endswith("\x1b[2K")


def test_words_are_shown_as_they_are_written():
    screen, clock = console(terminal=True), itertools.count(0.0, AFTER).__next__
    list(ReadingProgress("a[/b]c", step=1, console=screen, clock=clock).over("xyz"))
    assert "a[/b]c: 3" in screen.file.getvalue()
