"""The pictures: made, named, the same each time, and holding every arm."""

from planted import findings, planted
from vit.compare.curves import draw

ARMS = {"scratch": 0.6, "dino": 0.8}


def test_the_same_figures_give_the_same_file_with_every_arm_in_it(tmp_path):
    shown = findings(planted(ARMS, controls={"pixels": 0.3}), {"dino": "cannot tell"}, chance=0.2)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        assert draw(shown, tmp_path / name) == ["forest.svg", "cost.svg"]
    for picture in ("forest.svg", "cost.svg"):
        first, second = ((tmp_path / name / picture).read_text() for name in ("one", "two"))
        assert first == second
        assert "<!-- scratch -->" in first  # words stand in comments
        assert "<!-- DINO -->" in first
    forest = (tmp_path / "one" / "forest.svg").read_text()
    for text in ("raw pixels with a classical classifier", "chance", "points against scratch"):
        assert f"<!-- {text} -->" in forest
    assert "total training FLOPs" in (tmp_path / "one" / "cost.svg").read_text()


def test_a_forest_without_controls_or_baseline_is_drawn_too(tmp_path):
    assert "forest.svg" in draw(findings(planted({"supervised": 0.6, "dino": 0.8})), tmp_path)


def test_an_axis_that_nothing_was_measured_on_gives_no_picture(tmp_path):
    shown = findings(planted(ARMS, axes={"labels_per_class": [5.0]}))
    assert draw(shown, tmp_path) == ["forest.svg", "cost.svg"]
    assert not (tmp_path / "labels_per_class.svg").exists()


def test_one_seed_gives_no_forest(tmp_path):
    assert "forest.svg" not in draw(findings(planted(ARMS, seeds=1)), tmp_path)
