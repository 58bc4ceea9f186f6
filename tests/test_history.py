"""What was reported before under a study's name: told, and read before hours are spent."""

import json

import pytest

from vit.compare.history import History

FIRST = {"date": "2026-01-01", "seeds": 2, "settings": "a", "primary": "t, finetune"}


def test_more_seeds_of_the_same_settings_are_an_extension_and_others_are_told(tmp_path):
    path = tmp_path / "study.json"
    assert History(path).add(**FIRST) == ([], [])
    assert History(path).add(**FIRST | {"date": "2026-01-02"}) == ([], [])  # the same again
    assert len(json.loads(path.read_text())["reports"]) == 1
    assert History(path).add(**FIRST | {"seeds": 5}) == ([2], [])
    seeds, others = History(path).add(**FIRST | {"settings": "b"})
    assert seeds == []
    assert others == [
        "2026-01-01: 2 seeds, primary t, finetune",
        "2026-01-01: 5 seeds, primary t, finetune",
    ]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '{"reports": 5}', '{"reports": [5]}', '{"reports": [{}]}', "\x00",
     json.dumps({"reports": [FIRST | {"seeds": "many"}]}),
     json.dumps({"reports": [FIRST | {"settings": None}]}),
     json.dumps({"reports": [{"date": "2026-01-01"}]})],
)  # fmt: skip
def test_a_torn_or_foreign_record_is_named_before_a_run_begins(tmp_path, text):
    path = tmp_path / "study.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="damaged") as told:
        History(path)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)
    assert path.read_text() == text
