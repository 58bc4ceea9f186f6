"""The tables of predict --images, by hand-worked rows."""

import csv
import io
import json

from vit.cli.answers import PictureAnswer, as_csv, as_json, as_line

ANSWERS = [
    PictureAnswer("a.jpg", (0.1, 0.7, 0.2), ""),
    PictureAnswer("torn, old.jpg", (), "cannot be read"),
    PictureAnswer("odd\udcff.jpg", (0.5, 0.25, 0.25), ""),
]
CLASSES = ("cat", "dog, big", "fox")


def test_a_row_has_the_best_classes_first_or_the_error():
    rows = list(csv.reader(io.StringIO(as_csv(ANSWERS, CLASSES, 2))))
    assert rows == [
        ["file", "class_1", "probability_1", "class_2", "probability_2", "error"],
        ["a.jpg", "dog, big", "0.700000", "fox", "0.200000", ""],
        ["torn, old.jpg", "", "", "", "", "cannot be read"],
        ["odd\\udcff.jpg", "cat", "0.500000", "dog, big", "0.250000", ""],
    ]


def test_several_labels_have_a_column_each_in_the_classes_order():
    rows = list(csv.reader(io.StringIO(as_csv(ANSWERS[:2], CLASSES, None))))
    assert rows == [
        ["file", "p_cat", "p_dog, big", "p_fox", "error"],
        ["a.jpg", "0.100000", "0.700000", "0.200000", ""],
        ["torn, old.jpg", "", "", "", "cannot be read"],
    ]


def test_json_says_the_same():
    first, second, third = json.loads(as_json(ANSWERS, CLASSES, 1))
    assert first == {
        "file": "a.jpg", "predictions": [{"class": "dog, big", "probability": 0.7}]}  # fmt: skip
    assert second == {"file": "torn, old.jpg", "error": "cannot be read"}
    assert third["predictions"] == [{"class": "cat", "probability": 0.5}]


def test_people_read_percentages():
    assert as_line(ANSWERS[0], CLASSES, 2) == "a.jpg: dog, big 70.0 %, fox 20.0 %"
    assert as_line(ANSWERS[1], CLASSES, 2) == "torn, old.jpg: cannot be read"
