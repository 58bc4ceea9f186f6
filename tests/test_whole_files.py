"""A file is the old one or the new one, whatever stops the writer."""

import os
from pathlib import Path

import pytest

from vit.whole_files import replacing, write_text


def test_the_new_content_takes_the_old_one_s_place(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    write_text(tmp_path / "a.txt", "new é")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "new é"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def stopped(path: Path, error: BaseException | type) -> None:
    with replacing(path) as file:
        file.write(b"half of the ne")
        assert path.read_text() == "old"
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, OSError(28, "full")])
def test_whatever_stops_the_writer_leaves_the_old_one_alone(tmp_path, error):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(error if isinstance(error, type) else type(error)) as caught:
        stopped(path, error)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    if isinstance(caught.value, OSError):
        assert caught.value.filename == str(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / f"a.txt.{os.getpid()}.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.txt'"):
        write_text(tmp_path / "a.txt", "new")
    assert not list(tmp_path.iterdir())
