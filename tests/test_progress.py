"""What is told of a study's progress: runs, and time left as runs so far suggest."""

import io
import time
from unittest.mock import Mock

import pytest
from rich.console import Console

from vit.compare.command import Command
from vit.compare.job import Job
from vit.compare.pool import Pool, Running
from vit.compare.progress import StudyProgress, minutes


@pytest.mark.parametrize(
    ("seconds", "words"), [(7.4, "7 s"), (90.0, "2 min"), (5400.0, "1.5 h"), (5399.0, "90 min")]
)
def test_times_are_told_in_the_unit_people_use(seconds, words):
    assert minutes(seconds) == words


def jobs_of(stages: dict[str, str], seconds: float = 10.0) -> list[Job]:
    """A job of each id and stage."""
    return [
        Job(id_, Command("fit"), stage, "x", 0, seconds=seconds) for id_, stage in stages.items()
    ]


def progress_of(jobs: list[Job], at_a_time: int = 2, **pool) -> StudyProgress:
    pool = {"running": {}, "seconds": {}, "failed": {}} | pool
    progress = StudyProgress(Mock(spec=Pool, at_a_time=at_a_time, **pool))
    progress.last_line = -100.0  # no line was printed lately
    progress.begin(jobs, set())
    return progress


def left(progress: StudyProgress) -> str:
    progress.tick()
    return progress.bar.tasks[0].fields["left"]


def test_time_left_follows_from_what_was_done():
    """Two of four runs took twice what was expected; two at a time, two of 30 s are left."""
    jobs = jobs_of(dict.fromkeys("ab", "transfer")) + jobs_of(dict.fromkeys("cd", "tune"), 30.0)
    assert left(progress_of(jobs, seconds={"a": 20.0, "b": 20.0})).startswith("about 1 min left")


def test_a_stage_is_corrected_by_its_own_runs():
    """Pre-trainings took thrice, tests half of what was expected: 2 x 30 s and 2 x 5 s are left."""
    stages = dict.fromkeys("abc", "pretrain") | dict.fromkeys("def", "test")
    progress = progress_of(jobs_of(stages), at_a_time=1, seconds={"a": 30.0, "d": 5.0})
    assert progress.factors() == {"pretrain": 3.0, "test": 0.5}
    assert left(progress).startswith("about 1 min left")  # 70 s


def test_features_that_took_long_say_nothing_of_the_runs_that_use_them():
    """Two encoders of 100 s and 5 s of other work each; two runs of 5 s use the first one's.

    The first took 305 s: features take thrice as long. Left are 300 + 5 s and twice 5 s.
    """
    jobs = [
        Job(id_, Command("evaluate"), "probe", "x", 0, seconds=5.0 + part, feature_seconds=part)
        for id_, part in {"a": 100.0, "b": 100.0, "c": 0.0, "d": 0.0}.items()
    ]
    progress = progress_of(jobs, at_a_time=1, seconds={"a": 305.0})
    assert left(progress).startswith("about 5 min left")  # 315 s
    assert progress.feature_factor(progress.factors()) == pytest.approx(3.0)
    more = progress_of(jobs, at_a_time=1, seconds={"a": 310.0, "c": 10.0})
    assert more.factors() == {"probe": 2.0}
    assert more.feature_factor(more.factors()) == pytest.approx(3.0)


def test_before_the_first_run_is_over_the_expected_times_are_told():
    jobs = jobs_of(dict.fromkeys("abcd", "transfer"))
    assert left(progress_of(jobs)).startswith("about 20 s left")


def test_the_last_run_is_not_divided_between_processes():
    jobs = jobs_of(dict.fromkeys("ab", "transfer"))
    assert left(progress_of(jobs, seconds={"a": 10.0})).startswith("about 10 s left")


def test_a_line_has_no_more_than_eighty_columns(capsys):
    """On a terminal of 80 columns too: the bar beside the longest count and note."""
    jobs = [
        Job(str(i), Command("fit"), "pretrain", "supervised_with_a_name", 0, seconds=9e4)
        for i in range(2000)
    ]
    running = {i: Running(jobs[i], Mock(), time.monotonic()) for i in range(4)}
    progress = progress_of(jobs, running=running)
    progress.tick()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("0 of 2,000 runs, about 25000.0 h left; supervised_with_a_name")
    assert len(line) == 80
    screen = Console(width=80, file=io.StringIO())
    screen.print(progress.bar.make_tasks_table(progress.bar.tasks))
    (drawn,) = screen.file.getvalue().splitlines()
    assert "about 25000.0 h left" in drawn
    assert drawn.rstrip().endswith("0:00:00")
