"""What is told of a study's progress: runs, and time left as runs so far suggest."""

from unittest.mock import Mock

import pytest

from vit.compare.command import Command
from vit.compare.job import Job
from vit.compare.pool import Pool
from vit.compare.progress import StudyProgress, minutes


@pytest.mark.parametrize(
    ("seconds", "words"), [(7.4, "7 s"), (90.0, "2 min"), (5400.0, "1.5 h"), (5399.0, "90 min")]
)
def test_times_are_told_in_the_unit_people_use(seconds, words):
    assert minutes(seconds) == words


def test_time_left_follows_from_what_was_done(capsys):
    """Two of four runs took twice what was expected; two at a time, two are left."""
    pool = Mock(spec=Pool, at_a_time=2, running={}, seconds={"a": 20.0, "b": 40.0})
    progress = StudyProgress(pool)
    progress.last_line = -100.0  # no line was printed lately
    seconds = {"a": 10.0, "b": 20.0, "c": 30.0, "d": 30.0}
    jobs = [Job(id_, Command("fit"), "transfer", "x", 0, seconds=s) for id_, s in seconds.items()]
    progress.begin(jobs, set())
    progress.tick()
    left = progress.bar.tasks[0].fields["left"]
    assert left.startswith("about 1 min left")
