"""Few labels: nested draws that no seed moves, of data that keep their validation and test."""

from collections import Counter

import pytest

from vit.data import Digits
from vit.data.splits import few

LABELS = [0, 1, 2] * 20
TRAIN = list(range(5, 60))


@pytest.mark.parametrize("per_class", [1, 5, 10])
def test_every_class_has_its_number(per_class):
    chosen = few(TRAIN, LABELS, per_class, draw=0)
    assert Counter(LABELS[i] for i in chosen) == dict.fromkeys(range(3), per_class)
    assert set(chosen) <= set(TRAIN)
    assert chosen == sorted(chosen)


def test_a_smaller_choice_is_part_of_every_larger_one():
    sizes = [set(few(TRAIN, LABELS, count, draw=3)) for count in (1, 4, 9)]
    assert sizes[0] < sizes[1] < sizes[2]


def test_draws_differ_and_repeat():
    draws = [tuple(few(TRAIN, LABELS, 5, draw)) for draw in range(20)]
    assert len(set(draws)) == 20
    assert draws[7] == tuple(few(TRAIN, LABELS, 5, 7))


def test_every_image_is_drawn_about_equally_often():
    counts = Counter(i for draw in range(400) for i in few(TRAIN, LABELS, 6, draw))
    expected = 400 * 18 / 55
    assert set(counts) == set(TRAIN)
    assert max(abs(count - expected) for count in counts.values()) < 5 * expected**0.5


@pytest.mark.parametrize(
    ("per_class", "draw", "words"),
    [
        (19, 0, "labels_per_class is 19, class 0 has 18"),
        (0, 0, "at least 1"),
        (5, -1, "label_draw"),
    ],
)
def test_what_cannot_be_drawn_is_refused(per_class, draw, words):
    with pytest.raises(ValueError, match=words):
        few(TRAIN, LABELS, per_class, draw)


def test_a_draw_leaves_validation_and_test_alone():
    whole, part = Digits(), Digits(labels_per_class=10, label_draw=1)
    for split in ("val", "test"):
        assert part.split_indices()[split] == whole.split_indices()[split]
    assert part.spec.counts["train"] == len(part.open("train")) == 100
    assert set(part.split_indices()["train"]) < set(whole.split_indices()["train"])


def test_the_split_hash_knows_the_draw():
    hashes = {Digits(labels_per_class=10, label_draw=d).split_hash("train") for d in range(5)}
    assert len(hashes) == 5


def test_choosing_classes_moves_no_image_between_splits():
    whole = Digits(test_fraction=0.5).split_indices()
    high = Digits(test_fraction=0.5, classes=[5, 6, 7, 8, 9])
    for split, indices in high.split_indices().items():
        assert set(indices) < set(whole[split])
    assert high.spec.classes == ("5", "6", "7", "8", "9")
    assert set(high.open("test").labels.tolist()) == set(range(5))
    assert len(high.split_indices()["test"]) == 448


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"classes": [5]}, "rising numbers"),
        ({"classes": [6, 5]}, "rising numbers"),
        ({"classes": [5, 10]}, "rising numbers"),
        ({"test_fraction": 0.9}, "test_fraction must be in"),
        ({"labels_per_class": 500}, "class 0 has"),
    ],
)
def test_impossible_digits_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Digits(**settings)
