"""A folder is looked through once, in time that grows as its files do, and nothing is mistaken."""

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from pictures import folder
from vit.data import ImageFolder, image_folder, listing
from vit.data.listing import Listing


@pytest.fixture(autouse=True)
def _fresh():
    for known in (
        listing.survey,
        image_folder.chosen_listing,
        image_folder.open_folder,
        image_folder.draw_splits,
    ):
        known.cache_clear()


class Counted(list):
    """Counts how often it is gone through from its start."""

    starts = 0

    def __iter__(self):
        self.starts += 1
        return super().__iter__()


def gone_through(count: int, monkeypatch) -> int:
    """How often the splits of so many pictures go through all labels."""
    labels = Counted([i % 4 for i in range(count)])
    names = [f"{i:05d}.jpg" for i in range(count)]
    known = Listing(names, labels, tuple("abcd"), [""] * count)
    monkeypatch.setattr(image_folder, "chosen_listing", lambda *_: known)
    image_folder.draw_splits.__wrapped__(Path(), None, None, True, 5, 0, 0.1)
    return labels.starts


def test_twice_as_many_pictures_go_through_all_labels_no_more_often(monkeypatch):
    assert gone_through(100, monkeypatch) == gone_through(200, monkeypatch)


def test_the_labels_of_pictures_are_listed_once():
    one = Listing(["a", "b"], [0, -1], ("x",), ["", ""])
    assert one.sets == [(0,), ()]
    assert one.sets is one.sets


def test_folds_that_nobody_asked_for_are_not_kept(monkeypatch):
    from sklearn.model_selection import StratifiedKFold

    made, split = [], StratifiedKFold.split

    def counted(self, *what):
        for fold in split(self, *what):
            made.append(len(made))
            yield fold

    monkeypatch.setattr(StratifiedKFold, "split", counted)
    known = Listing([str(i) for i in range(400)], [0, 1] * 200, ("a", "b"), [""] * 400)
    monkeypatch.setattr(image_folder, "chosen_listing", lambda *_: known)
    image_folder.draw_splits.__wrapped__(Path(), None, None, True, 5, 2, 0.01)
    assert len(made) == 3 + 1  # of 5 the third, of 100 the first


def test_files_are_told_from_folders_without_asking_the_disk_for_each(tmp_path, monkeypatch):
    folder(tmp_path, {"a": 20, "b/c": 20})
    asked, stat = [], os.stat
    monkeypatch.setattr(os, "stat", lambda *how, **more: asked.append(how) or stat(*how, **more))
    assert len(listing.survey(tmp_path).names) == 40
    assert len(asked) < 5


def grown(root: Path, seed: int) -> Path:
    """Folders in folders, with whatever people have in them."""
    generator = random.Random(seed)
    root.mkdir()
    places = [root]
    for _ in range(12):
        places.append(
            generator.choice(places) / generator.choice(["a", "b.jpg", "C", "ü ß", ".hid", "z.b"])
        )
        places[-1].mkdir(exist_ok=True)
    for number in range(60):
        suffix = generator.choice(
            [".jpg", ".JPEG", ".png", "", ".", ".txt", ".heic", ".HEIC", "jpg"]
        )
        name = f"{generator.choice(['', '', '', '.'])}{generator.choice('xYä')}{number}{suffix}"
        (generator.choice(places) / name).write_bytes(b"x")
    (root.parent / f"beside {seed}").mkdir()
    (root.parent / f"beside {seed}/linked.jpg").write_bytes(b"x")
    (places[3] / "link").symlink_to(root.parent / f"beside {seed}")
    (places[4] / "link.jpg").symlink_to(root.parent / f"beside {seed}/linked.jpg")
    (places[5] / "lost.jpg").symlink_to(root / "nowhere")
    (places[6] / "file.jpg").symlink_to(root / "x/y.txt/z")
    return root


@pytest.mark.parametrize("seed", range(5))
def test_the_names_are_those_that_python_s_own_walk_finds_in_their_order(tmp_path, seed):
    root = grown(tmp_path / "root", seed)
    names, other = [], Counter()
    for place, folders, files in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in files:
            path = Path(place, file)
            if not file.startswith(".") and path.suffix.lower() in listing.SUFFIXES:
                names += [path.relative_to(root).as_posix()] if path.is_file() else []
            elif not file.startswith("."):
                other[path.suffix.lower()] += path.suffix.lower() == ".heic"
    found = Counter()
    assert sorted(listing.find_pictures(root, found)) == sorted(names)
    assert found == +other
    assert listing.survey(root).names == sorted(names)


def test_a_link_to_itself_or_through_a_file_is_no_picture(tmp_path):
    folder(tmp_path, {"a": 3})
    (tmp_path / "a/self.jpg").symlink_to(tmp_path / "a/self.jpg")
    (tmp_path / "a/through.jpg").symlink_to(tmp_path / "a/0000.jpg/more")
    assert len(listing.survey(tmp_path).names) == 3


def test_links_that_lead_to_each_other_are_found(tmp_path):
    folder(tmp_path / "root", {"a": 3, "b/deep": 3})
    (tmp_path / "root/a/there").symlink_to(tmp_path / "root/b")
    (tmp_path / "root/b/deep/back").symlink_to(tmp_path / "root/a")
    with pytest.raises(ValueError, match=r"the link .* leads back to .*; remove it"):
        listing.survey(tmp_path / "root")


def test_a_folder_linked_twice_is_no_loop(tmp_path):
    folder(tmp_path / "beside", {"": 3})
    folder(tmp_path / "root", {"a": 1, "b": 1})
    for place in "ab":
        (tmp_path / "root" / place / "more").symlink_to(tmp_path / "beside")
    assert len(listing.survey(tmp_path / "root").names) == 8


def test_a_folder_that_may_not_be_read_is_one_line(tmp_path, monkeypatch):
    folder(tmp_path, {"a": 3, "b": 3})
    scan = os.scandir

    def refuse(place):
        if str(place).endswith("/b"):
            raise PermissionError(13, "Permission denied", str(place))
        return scan(place)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ValueError, match=r"^data.root: .*/b cannot be read .Permission denied.; "):
        listing.survey(tmp_path)


def test_folders_may_be_deeper_than_python_calls_itself(tmp_path):
    top, deep = os.open(tmp_path, os.O_RDONLY), 1_100
    try:
        for _ in range(deep):
            os.mkdir("d", dir_fd=top)
            below = os.open("d", os.O_RDONLY, dir_fd=top)
            os.close(top)
            top = below
        os.close(os.open("x.jpg", os.O_CREAT | os.O_WRONLY, dir_fd=top))
        assert listing.survey(tmp_path).names == ["d/" * deep + "x.jpg"]
    finally:
        os.unlink("x.jpg", dir_fd=top)
        for _ in range(deep):  # pytest's own way to remove it calls itself too
            above = os.open("..", os.O_RDONLY, dir_fd=top)
            os.close(top)
            os.rmdir("d", dir_fd=above)
            top = above
        os.close(top)


@pytest.mark.parametrize("what", ["a folder", "a link that leads nowhere"])
def test_a_table_that_is_no_file_is_not_passed_over(tmp_path, what):
    folder(tmp_path, {"a": 10, "b": 10})
    if what == "a folder":
        (tmp_path / "labels.csv").mkdir()
    else:
        (tmp_path / "labels.csv").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"data.labels: .*labels.csv is no file; give"):
        ImageFolder(str(tmp_path))


def test_pictures_that_are_all_unlabelled_are_split_all_the_same(tmp_path):
    folder(tmp_path, {"unlabelled": 20})
    data = ImageFolder(str(tmp_path))
    assert data.spec.classes == ()
    assert sum(data.spec.counts.values()) == 20


@pytest.mark.parametrize(
    ("counts", "settings", "told"),
    [
        ({"train/a": 1, "test/a": 5}, {}, "1 pictures of .* do not make 2 parts; add some"),
        ({"train/unlabelled": 1, "test": 5}, {}, "1 pictures of .* do not make 2 parts"),
        ({"": 1}, {}, "1 pictures of .* do not make 5 parts"),
        ({"": 2}, {"folds": 2}, "1 pictures of .* do not make 2 parts"),
        ({"a": 6, "b": 6}, {"classes": []}, "0 pictures of .* do not make 5 parts"),
        ({"a": 6, "b": 6}, {"folds": 10**9}, "12 pictures of .* do not make 1000000000 parts"),
    ],
)
def test_too_few_pictures_are_one_line(tmp_path, counts, settings, told):
    folder(tmp_path, counts)
    with pytest.raises(ValueError, match=f"^data.root: {told}"):
        ImageFolder(str(tmp_path), **settings)


def test_a_tiny_share_is_one_picture_of_the_largest_class(tmp_path):
    folder(tmp_path, {"a": 12, "b": 12})
    assert ImageFolder(str(tmp_path), val_fraction=5e-324).spec.counts["val"] == 2


def test_folders_of_splits_are_no_classes_where_nothing_is_trained_on(tmp_path):
    folder(tmp_path, {"train": 0, "val/a": 9, "test/a": 9})
    with pytest.raises(ValueError, match=r"holds test, val and no training picture; put some into"):
        listing.survey(tmp_path)
