"""YAML from anybody: what safe_load says, or one line; never minutes, never a crash."""

import time

import pytest
import yaml

from vit import yaml_text
from vit.yaml_text import LARGEST, load_yaml

PLAIN = "a: [1, 2.5, x]\nb: &b {c: null}\nd: *b\ne: {<<: *b, f: true}\n"


def bomb(levels: int, width: int = 9) -> str:
    """A few hundred bytes that stand for width ** levels values."""
    lines = ["a0: &a0 [x, x]"]
    for level in range(1, levels):
        inside = ", ".join([f"*a{level - 1}"] * width)
        lines.append(f"a{level}: &a{level} [{inside}]")
    return "\n".join(lines)


@pytest.mark.parametrize("text", [PLAIN, "", "# nothing\n", "3", "- 1\n- [2]\n", "a: *b", "'x"])
def test_what_safe_load_reads_is_read_the_same(text):
    try:
        expected = yaml.safe_load(text)
    except yaml.YAMLError:
        with pytest.raises(ValueError, match="not YAML"):
            load_yaml(text, "f.yaml")
    else:
        assert load_yaml(text, "f.yaml") == expected


def test_aliases_are_counted_as_often_as_they_are_used():
    rows = ["a: &a [1, 2, 3]"] + [f"b{i}: *a" for i in range(1000)]
    text = "\n".join(rows)  # 1 map + 1001 x (a key, a list, three numbers)
    assert yaml_text.count(text, "f.yaml") == 1 + 1001 * 5
    assert len(load_yaml(text, "f.yaml")) == 1001


@pytest.mark.parametrize("levels", [7, 9, 200])
def test_a_bomb_is_refused_at_once(levels):
    started = time.perf_counter()
    with pytest.raises(ValueError, match=rf"^f.yaml: more than {LARGEST:,} values") as told:
        load_yaml(bomb(levels), "f.yaml")
    assert time.perf_counter() - started < 1
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: &a [1, *a]", "f.yaml, line 1, column 11: not YAML: alias a stands inside itself"),
        ("a: &a\n  b: *a", "f.yaml, line 2, column 6: not YAML: alias a stands inside itself"),
        ("[" * 100_000, "f.yaml, line 1, column 101: not YAML: more than 100 levels"),
        ("model: [\n  a\nb: c\n", "f.yaml, line 3, column 2: not YAML: "),
        ("a: b: c", "f.yaml, line 1, column 5: not YAML: "),
        ("a: \x00", "f.yaml, line 1: not YAML: "),
        ("a: 1\nb: \x07", "f.yaml, line 2: not YAML: "),
        ("a: !!python/object:os.system x", "f.yaml, line 1, column 4: not YAML: could not"),
        ("a: 2024-13-45", "f.yaml: not YAML: "),
        ("a: !!bool x", "f.yaml: not YAML: "),
        ("a: !!int ''", "f.yaml: not YAML: "),
        ("a: !!timestamp x", "f.yaml: not YAML: "),
        ("a: " + "9" * 5000, "f.yaml: not YAML: "),
        ("a: \ud800", "f.yaml: not YAML: "),
        ("a\n---\nb", "f.yaml, line 2, column 1: not YAML: but found another document"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_place(text, line):
    with pytest.raises(ValueError, match="not YAML") as told:
        load_yaml(text, "f.yaml")
    assert str(told.value).startswith(line)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 300
