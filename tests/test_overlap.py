"""Copies and near copies of test images in a pre-training set are counted, and labels guarded."""

import torch

from pictures import folder
from vit.compare import overlap as module
from vit.compare.overlap import fingerprints, labels_shared, overlap
from vit.data import Digits, ImageFolder
from vit.data.in_memory import InMemory

ALL, LOW, HIGH = Digits(), Digits(classes=[0, 1, 2, 3, 4]), Digits(classes=[5, 6, 7, 8, 9])


class Planted(Digits):
    """Its training split begins with changed copies of test images."""

    def __init__(self, change, count: int) -> None:
        super().__init__()
        self.change, self.count = change, count

    def open(self, split):
        dataset = super().open(split)
        if split == "train":
            copies = self.change(super().open("test").images[: self.count])
            images = torch.cat([copies, dataset.images[self.count :]])
            return InMemory(images, dataset.labels)
        return dataset


def test_the_digits_splits_share_no_image():
    """Also a finding about the data: scikit-learn's digits hold no two equal pictures."""
    seen_before = overlap(ALL, ALL)
    assert seen_before.same == 0
    assert seen_before.tested == 360
    assert seen_before.classes == tuple("0123456789")


def test_planted_copies_are_counted():
    assert overlap(Planted(lambda x: x, 17), ALL).same == 17


def test_planted_near_copies_are_counted_apart():
    """Half as bright: other bytes, the same picture."""
    plain = overlap(ALL, ALL)
    seen_before = overlap(Planted(lambda x: x // 2, 17), ALL)
    assert seen_before.same == 0
    assert 15 <= seen_before.near - plain.near <= 17


def test_other_classes_share_no_labels():
    assert labels_shared(LOW, HIGH) == ""


def test_the_tasks_own_images_are_refused_also_those_outside_a_label_draw():
    few = Digits(classes=[5, 6, 7, 8, 9], labels_per_class=1)
    assert "images of the task's train split are in it" in labels_shared(HIGH, few)
    assert "images of the task's train split" in labels_shared(ALL, HIGH)


def test_all_the_tasks_classes_are_refused_even_with_other_images():
    class Other(Digits):
        def open(self, split):
            dataset = super().open(split)
            return InMemory(255 - dataset.images, dataset.labels)

    assert labels_shared(Other(), HIGH) == "it has all the task's classes"


def test_fingerprints_are_one_an_image_and_know_every_pixel():
    seen_before = fingerprints(HIGH, "test")
    assert len(seen_before.hashes) == len(seen_before.small) == HIGH.spec.counts["test"]
    assert len(set(seen_before.hashes)) == len(seen_before.hashes)


def test_files_that_are_too_many_to_read_are_told_apart_by_name(tmp_path, monkeypatch):
    folder(tmp_path / "one", {"a": 10, "b": 10})
    seen, fold = (ImageFolder(str(tmp_path / "one"), image_size=16, fold=i) for i in (0, 1))
    monkeypatch.setattr(module, "MOST", 19)
    seen_before = overlap(seen, fold)
    assert seen_before.near is None
    both = {*seen.split_indices()["train"]} & {*fold.split_indices()["test"]}
    assert (seen_before.same, seen_before.tested) == (len(both), 4)
    assert "images of the task's train split are in it" in labels_shared(seen, fold)
    for path in (tmp_path / "one").glob("*/*"):
        path.write_bytes(b"nobody reads this")
    assert overlap(seen, fold) == seen_before
