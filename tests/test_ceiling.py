"""A study in which every arm is nearly always right says that there was nothing to gain."""

import pytest

from planted import findings, planted
from vit.compare.ceiling import ceiling_of
from vit.compare.conclusion import Conclusion

SOLVED = {"scratch": 1.0, "supervised": 1.0, "dino": 1.0}


def told(accuracy: dict[str, float], **settings) -> list[str]:
    return Conclusion(findings(planted(accuracy, **settings))).sentences()


def test_a_task_that_every_arm_solves_is_named_and_no_more_seeds_are_proposed():
    first, *rest = told(SOLVED)
    assert first.startswith("Cannot be told at this budget")
    assert "A gain above 0.0 points" in first  # not -0.0
    assert first.endswith(
        "The task is at its ceiling: scratch is right in 100.0 %, which leaves 0.0 points to gain, "
        "and below 1 nothing is aimed at; take a harder task, or fewer labels."
    )
    assert not any("To tell" in line for line in rest)


def test_none_with_a_margin_names_it_too():
    first, *_ = told(SOLVED, margin=0.02)
    assert first.startswith("None: pre-training is not worth it here")
    assert "at its ceiling: scratch is right in 100.0 %" in first
    assert "below 2 nothing is aimed at" in first


def test_room_that_few_images_cannot_show_is_named_and_more_images_are_proposed():
    """1.7 points are left, 48 images times 5 seeds see 4.5."""
    first, *rest = told({"scratch": 0.98, "supervised": 0.985, "dino": 0.98}, images=48)
    assert "near its ceiling: scratch is right in 98.3 %, which leaves 1.7 points" in first
    assert "this study sees 4.5; take more test images" in first
    assert any("test images in place of 48" in line for line in rest)


def test_starts_that_are_level_near_the_top_are_named_beside_the_answer():
    first, *_ = told({"scratch": 0.6, "dino": 0.999, "supervised": 0.998})
    assert first.startswith("Cannot be told at this budget which kind, but pre-training pays")
    assert "The task is at its ceiling: supervised is right in 99.6 %" in first


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_where_there_is_room_nothing_is_said(level):
    conclusion = Conclusion(findings(planted(dict.fromkeys(SOLVED, level))))
    assert ceiling_of(conclusion.answer, conclusion.comparison, 0.0) is None
    pays, *_ = told({"scratch": 0.6, "supervised": 0.6, "dino": 0.999})  # it won: there was room
    assert "ceiling" not in pays
