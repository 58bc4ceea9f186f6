"""The pictures: made, named, the same each time, and holding every arm."""

from planted import findings, planted
from vit.compare.curves import draw


def test_the_same_figures_give_the_same_file_with_every_arm_in_it(tmp_path):
    found = findings(planted({"a": 0.6, "b": 0.8}))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        assert draw(found, tmp_path / name) == ["cost.svg"]
    first, second = ((tmp_path / name / "cost.svg").read_text() for name in ("one", "two"))
    assert first == second
    assert first.count("<!-- arm ") == 2  # the legend's words stand in comments
    assert "total training FLOPs" in first


def test_an_axis_that_nothing_was_measured_on_gives_no_picture(tmp_path):
    found = findings(planted({"a": 0.6, "b": 0.8}, axes={"labels_per_class": [5.0]}))
    assert draw(found, tmp_path) == ["cost.svg"]
    assert not (tmp_path / "labels_per_class.svg").exists()
