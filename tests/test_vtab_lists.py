"""Lists of a VTAB task that cannot be are one line with the list and the line."""

import pytest

from vit.data import vtab
from vit.published.tasks import TASKS


@pytest.fixture
def task(tmp_path):
    """A task's folder with lists of the right length, and the cache forgotten."""
    vtab.read_lists.cache_clear()
    folder = tmp_path / "dtd"
    folder.mkdir()
    for part, count in (("train800", 800), ("val200", 200), ("test", TASKS["dtd"].tested)):
        (folder / f"{part}.txt").write_text("".join(f"images/{i}.jpg 3\n" for i in range(count)))
    return folder


def test_lists_of_the_right_length_are_read(task):
    source, labels, ends = vtab.read_lists(task)
    assert ends == (800, 1000, 1000 + TASKS["dtd"].tested)
    assert set(labels) == {3}
    assert source.name(799) == "images/799.jpg"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("../../x.jpg 3", "../../x.jpg leads out of its folder; name files below it"),
        ("/etc/passwd 3", "/etc/passwd leads out of its folder"),
        ("images/../../x.jpg 3", "leads out of its folder"),
        ("x.jpg three", "'x.jpg three' is no name and number; get it again"),
        ("x.jpg", "'x.jpg' is no name and number"),
        ("3", "'3' is no name and number"),
        (" 3", "' 3' is no name and number"),
        ("x.jpg -1", "is no name and number"),
        ("x.jpg 1_0", "is no name and number"),
        ("x.jpg ٣", "is no name and number"),
        ("x.jpg " + "1" * 5000, "is no name and number"),
        ("x.jpg 1.0", "is no name and number"),
    ],
)
def test_a_line_that_cannot_be_is_named(task, line, told):
    lines = (task / "val200.txt").read_text().splitlines()
    lines[6] = line
    (task / "val200.txt").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"val200\.txt, line 7: ") as caught:
        vtab.read_lists(task)
    assert told in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_list_of_another_kind_is_named(task):
    (task / "test.txt").write_bytes(b"caf\xe9.jpg 3\n")
    with pytest.raises(ValueError, match=r"test\.txt is not UTF-8"):
        vtab.read_lists(task)
    (task / "test.txt").write_text("")
    with pytest.raises(ValueError, match=r"test\.txt needs 1,880 lines .* has 0 with labels to 0;"):
        vtab.read_lists(task)
    (task / "test.txt").write_text("x.jpg 47\n" * 1880)
    with pytest.raises(ValueError, match="labels below 47, has 1,880 with labels to 47; get"):
        vtab.read_lists(task)
