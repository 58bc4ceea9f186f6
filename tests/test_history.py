"""What was reported before, under whatever name: told, and read before hours are spent."""

import json
from dataclasses import replace

import pytest

from planted import planted
from vit.compare.history import FILE, EarlierReports, History
from vit.compare.study import Arm

FIRST = {
    "date": "2026-01-01", "name": "one", "seeds": 2, "draws": 1, "settings": "a", "task": "t",
    "primary": "t, finetune", "margin": None,
}  # fmt: skip


def test_more_of_the_same_settings_is_an_extension_and_others_are_told(tmp_path):
    assert History(tmp_path).add(FIRST) == EarlierReports([], [])
    again = History(tmp_path).add(FIRST | {"date": "2026-01-02"})
    assert again == EarlierReports([], [])
    assert len(json.loads((tmp_path / FILE).read_text())["reports"]) == 1
    assert History(tmp_path).add(FIRST | {"seeds": 5}).extended == [(2, 1)]
    assert History(tmp_path).add(FIRST | {"seeds": 5, "draws": 5}).extended == [(2, 1), (5, 1)]
    other = History(tmp_path).add(FIRST | {"settings": "b"})
    assert other.extended == []
    assert other.others[0] == "2026-01-01, one: 2 seeds x 1 label draws, primary t, finetune"
    assert History(tmp_path).add(FIRST | {"task": "u", "settings": "c"}) == EarlierReports([], [])


def test_another_name_or_margin_makes_no_look_undone(tmp_path):
    study = planted({"a": 0.5, "b": 0.5}).study
    arms = {name: Arm(name) for name in "ab"}
    History(tmp_path).add_study("one", replace(study, seeds=3), arms)
    later = History(tmp_path).add_study("two", study, arms)
    assert later == EarlierReports([(3, 1)], [])
    moved = History(tmp_path).add_study("two", replace(study, margin=0.02), arms)
    assert moved.extended == [(3, 1)]
    assert len(moved.others) == 2


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '{"reports": 5}', '{"reports": [5]}', '{"reports": [{}]}', "\x00",
     json.dumps({"reports": [FIRST | {"seeds": "many"}]}),
     json.dumps({"reports": [FIRST | {"settings": None}]}),
     json.dumps({"reports": [{"date": "2026-01-01"}]})],
)  # fmt: skip
def test_a_torn_or_foreign_record_is_named_before_a_run_begins(tmp_path, text):
    path = tmp_path / FILE
    path.write_text(text)
    with pytest.raises(ValueError, match="damaged") as told:
        History(tmp_path)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)
    assert path.read_text() == text
