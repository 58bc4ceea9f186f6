"""What every rank has to say is said once; what one rank alone has to say is said."""

import os
import time

import pytest

from launch import launch
from vit.cli import once


@pytest.fixture
def ranks(monkeypatch, tmp_path):
    monkeypatch.setattr(once.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    return tmp_path


def test_the_same_line_of_a_launch_is_said_once(ranks, capsys):
    for line, launch_id in (("a", 1), ("a", 1), ("b", 1), ("a", 2), ("a", 1)):
        once.complain(line, launch_id)
    assert capsys.readouterr().err.split() == ["a", "b", "a"]


def test_a_minute_later_it_is_another_event(ranks):
    assert once.first("a", 1)
    assert not once.first("a", 1)
    (mark,) = ranks.iterdir()
    long_ago = time.time() - 2 * once.RECENT
    os.utime(mark, (long_ago, long_ago))
    assert once.first("a", 1)
    assert not once.first("a", 1)


def test_one_process_says_everything_and_leaves_no_mark(monkeypatch, tmp_path):
    monkeypatch.setattr(once.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert once.first("a", 1)
    assert once.first("a", 1)
    assert not list(tmp_path.iterdir())


def test_where_no_mark_can_be_left_it_is_said(ranks, monkeypatch):
    monkeypatch.setattr(once.tempfile, "gettempdir", lambda: str(ranks / "nowhere"))
    assert once.first("a", 1)
    assert once.first("a", 1)


@pytest.mark.parametrize(
    "words",
    [
        ("--trainer.max_stepz", "3"),  # the parser
        ("--trainer.limit_train_batches", "0"),  # ours
        ("--data.batch_size", "33"),  # after the ranks have met
    ],
    ids=["parser", "usage", "later"],
)
def test_two_ranks_say_a_mistake_once(tmp_path, words):
    ended = launch(
        "fit", "--config", "configs/quickstart.yaml", "--trainer.strategy", "ddp",
        "--trainer.devices", "2", *words, cwd=tmp_path, ranks=2,
    )  # fmt: skip
    assert ended.code == 2, ended.everything
    errors = [line for line in ended.everything.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
