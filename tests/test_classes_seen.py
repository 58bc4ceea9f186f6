"""A folder without a folder a class: the line says what lies there and what it needs."""

import pytest
from PIL import Image

from launch import launch
from pictures import folder
from vit.data.classes_seen import classes_seen


def test_pictures_in_no_folder_are_counted_and_the_two_ways_are_named(tmp_path):
    root = folder(tmp_path, {"": 12})
    told = classes_seen(root)
    assert told.startswith(f"{root} holds 12 pictures that lie in no class's folder; it needs one ")
    assert f"one folder a class ({root}/cat, {root}/dog), or a table {root / 'labels.csv'}" in told


def test_one_class_is_named_beside_what_has_none(tmp_path):
    root = folder(tmp_path, {"roses": 3, "unlabelled": 2})
    assert classes_seen(root).startswith(
        f"{root} holds the folder roses with 3 pictures and 2 pictures that lie in no class's"
    )


def test_folders_of_splits_need_their_classes_inside(tmp_path):
    root = folder(tmp_path, {"Train": 4, "val": 2})
    assert classes_seen(root).startswith(f"{root / 'Train'} holds 4 pictures that lie in no")


def test_of_a_table_its_classes_are_named(tmp_path):
    root = folder(tmp_path, {"": 2})
    (root / "labels.csv").write_text("file,label\n0000.jpg,rose\n0001.jpg,rose\n")
    assert classes_seen(root) == (
        f"{root / 'labels.csv'} names 1 class (rose); write each picture's class into its column "
        "label"
    )


@pytest.mark.parametrize(
    ("verb", "told"),
    [
        (("fit", "--config", "configs/quickstart.yaml"), "Supervised: needs at least 2 classes, "),
        (("evaluate", "--config", "configs/quickstart.yaml"), "evaluate: this data has no labels"),
    ],
)
def test_the_command_line_says_it(tmp_path, verb, told):
    root = tmp_path / "loose"
    root.mkdir()
    for number in range(12):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(root / f"{number}.png")
    data = ("--data", "configs/data/image_folder.yaml", "--data.root", str(root))
    if verb[0] == "evaluate":
        data = (*data, "--model.objective", "configs/objective/mpp.yaml")
    ended = launch(*verb, *data, "--data.image_size", "8", cwd=tmp_path)
    assert ended.code == 2
    assert told in ended.everything
    assert f"{root} holds 12 pictures that lie in no class's folder" in ended.everything
