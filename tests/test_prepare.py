"""The verb prepare: what is wrong with data is listed, and one can look at it."""

import multiprocessing
import re
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from launch import launch
from pictures import folder
from vit.data import Digits, ImageFolder
from vit.prepare import check, contact_sheet
from vit.prepare.check import check_data
from vit.prepare.contact_sheet import ALONE, displayable, view

MINE = ("--data", "configs/data/image_folder.yaml", "--data.root", "mine")


def silent(done: int, of: int) -> None:
    assert 0 < done <= of


def test_a_clean_folder_has_nothing_wrong(tmp_path):
    folder(tmp_path / "mine", {"a": 6, "b": 6}, kind="PNG")
    for number, path in enumerate(sorted((tmp_path / "mine").glob("*/*"))):
        Image.new("RGB", (9, 9), (number, 0, 0)).save(path)
    ended = launch("prepare", "--check", *MINE, cwd=tmp_path)
    assert ended.code == 0, ended.everything
    assert "read 12 images: 7 train, 2 val, 3 test" in ended.out
    assert "nothing wrong" in ended.out


def test_a_class_without_a_training_image_is_listed(monkeypatch):
    monkeypatch.setattr(check, "train_counts", lambda data: Counter({0: 5, 2: 1}))
    report = check_data(Digits(classes=[3, 4, 5]), silent)
    assert report.empty == ["4"]
    assert report.sizes == {"3": 5, "5": 1}
    assert "no training image: class 4" in report.lines()


def test_whatever_is_wrong_is_listed(tmp_path):
    for split in ("train", "val", "test"):
        for name in "ab":
            folder(tmp_path / "mine", {f"{split}/{name}": 0})
    numbers = iter(range(99))

    def image(path: str) -> None:
        Image.new("RGB", (9, 9), (next(numbers), 0, 0)).save(tmp_path / "mine" / path)

    for path in ("train/a/1.png", "train/a/2.png", "train/b/1.png", "val/a/1.png", "test/b/1.png"):
        image(path)
    shutil.copy(tmp_path / "mine/train/a/1.png", tmp_path / "mine/test/b/again.png")
    Image.open(tmp_path / "mine/train/a/2.png").save(tmp_path / "mine/train/a/2.bmp")
    (tmp_path / "mine/train/b/torn.jpg").write_bytes(b"\xff\xd8\xff")
    ended = launch("prepare", "--check", *MINE, cwd=tmp_path)
    assert ended.code == 1
    lines = ended.out.splitlines()
    assert lines[0] == "read 8 images: 5 train, 1 val, 2 test"
    assert lines[1] == "2 classes, 2 (b) to 3 (a) training images"
    assert lines[2].startswith("unreadable: train/b/torn.jpg: cannot be read as an image")
    assert lines[3] == (
        "in several splits or classes: train/a/1.png (train) = test/b/again.png (test)"
    )
    assert lines[4] == "twice: train/a/2.bmp (train) = train/a/2.png (train)"


def test_threads_read_what_one_alone_reads(tmp_path):
    folder(tmp_path, {"a": 30, "b": 30})
    (tmp_path / "a" / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    data = ImageFolder(str(tmp_path), image_size=16, workers=0)
    source, _ = data.files()
    places = data.split_indices()["train"]
    alone = check.check_images(source, True, places)
    assert list(check.check_in_threads(source, True, places)) == alone
    assert len(check_data(data, silent).unreadable) == 1


def test_reading_hundreds_of_pictures_starts_no_process(tmp_path, monkeypatch):
    """Further processes took 30 s to start on a busy machine, for a second's worth of pictures."""
    folder(tmp_path, {"a": 200, "b": 200}, width=9, height=9)
    monkeypatch.setattr(multiprocessing.Process, "start", None)
    assert sum(check_data(ImageFolder(str(tmp_path), workers=0), silent).counts.values()) == 400


def test_data_in_memory_is_checked_too():
    report = check_data(Digits(), silent)
    assert report.clean
    assert report.counts == {"train": 1293, "val": 144, "test": 360}


def test_the_sheet_shows_evaluation_s_view_and_five_of_training(tmp_path):
    folder(tmp_path / "mine", {"a": 10, "b": 10})
    ended = launch("prepare", "--show", *MINE, cwd=tmp_path)
    assert ended.code == 0, ended.everything
    path = tmp_path / re.search(r"picture: (\S+)", ended.out)[1]
    image = np.array(Image.open(path).convert("RGB"))
    assert image.shape[0] > 1000
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 1000


def test_the_sheet_leaves_out_what_cannot_be_read_and_names_it(tmp_path, monkeypatch):
    """Else its row shows another picture's crops: training puts that one in its place."""
    folder(tmp_path, {"a": 12, "b": 12}, kind="PNG", width=16, height=16)
    data = ImageFolder(str(tmp_path), image_size=16, workers=0, on_error="skip")
    places, (source, _) = data.split_indices()["train"], data.files()
    torn = source.name(places[0])
    (tmp_path / torn).write_bytes(b"\x89PNG")
    columns = []
    honest = contact_sheet.view

    def noted(data, chosen, epoch):
        columns.append(honest(data, chosen, epoch).index.tolist())
        return honest(data, chosen, epoch)

    monkeypatch.setattr(contact_sheet, "view", noted)
    unread = contact_sheet.write_contact_sheet(data, tmp_path / "out" / "sheet.png")
    assert len(columns) == 6
    assert all(column == columns[0] for column in columns)  # a row is one picture throughout
    assert len(columns[0]) == 7
    assert min(columns[0]) > 0
    assert [name for name, _ in unread] == [torn]


def test_one_unreadable_picture_spoils_no_sheet(tmp_path):
    folder(tmp_path / "mine", {"a": 5, "b": 5})
    for path in sorted((tmp_path / "mine").rglob("*.jpg"))[::3]:
        path.write_bytes(b"\xff\xd8\xff")
    ended = launch("prepare", "--show", *MINE, cwd=tmp_path)
    assert ended.code == 0, ended.everything
    assert ended.out.startswith("unreadable: ")
    assert "picture: logs/prepare/image_folder.png" in ended.out


def test_what_is_shown_is_undone_to_the_pixels_of_the_file(tmp_path):
    folder(tmp_path / "mine", {"a": 10, "b": 10}, kind="PNG", width=16, height=16)
    data = ImageFolder(str(tmp_path / "mine"), image_size=16, workers=0)
    batch = view(data, [0], None)
    source, _ = data.files()
    file = tmp_path / "mine" / source.name(data.split_indices()["train"][0])
    shown = displayable(batch.images[0], data) * 255
    assert torch.equal(shown.round().byte(), torch.from_numpy(np.array(Image.open(file))))
    first, second = (view(data, [0], epoch).images for epoch in (0, 1))
    assert not torch.equal(first, second) or ALONE.views[0].area is None


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ((), "say which data: --data configs/data/"),
        (("--data", "configs/data/image_foldr.yaml"), "no such file; did you mean"),
        (("--check", "--show", *MINE), "one thing at a time"),
        ((*MINE[:2], "--data.rot", "x"), "rot"),
        ((*MINE,), "mine is no folder"),
        (("--vtab", "mnist"), "no task 'mnist'"),
        (("--vtab", "cifar", "--check"), "one thing at a time"),
        (("--vtab", "cifar", "--data", "x"), "it takes --raw and --out"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, words, error):
    ended = launch("prepare", *words, cwd=tmp_path)
    assert ended.code == 2
    assert error in ended.everything
    assert ended.everything.count("\n") == 1, ended.everything


def test_what_must_be_fetched_by_hand_is_named_with_its_place(tmp_path):
    ended = launch("prepare", "--vtab", "resisc45,dmlab", "--raw", "raw", cwd=tmp_path)
    assert ended.code == 1
    assert "missing: resisc45: raw/NWPU-RESISC45 is not there; get NWPU-RESISC45.rar" in (
        ended.everything
    )
    assert "missing: dmlab: raw/dmlab-train.tfrecord is not there" in ended.everything


def test_a_data_set_is_got_and_counted(tmp_path):
    ended = launch("prepare", "--data", "configs/data/digits.yaml", cwd=tmp_path)
    assert ended.code == 0
    assert ended.out.splitlines() == [
        "train: 1,293 images",
        "val: 144 images",
        "test: 360 images",
        "next: python train.py fit --config configs/pretrain/supervised.yaml "
        "--data configs/data/digits.yaml",
    ]


def test_options_of_shards_without_shards_are_refused(tmp_path):
    words = ("prepare", "--data", "configs/data/digits.yaml")
    for extra in (("--out", "x"), ("--form", "raw")):
        ended = launch(*words, *extra, cwd=tmp_path)
        assert ended.code == 2
        assert "belong to --to shards" in ended.out
