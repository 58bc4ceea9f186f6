"""Copies and near copies of test images in a pre-training set are counted, and labels guarded."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pictures import folder, saved
from vit.compare import overlap as module
from vit.compare.duplicates import Duplicates, duplicates, too_many
from vit.compare.near_duplicates import looks_of, which_look_alike
from vit.compare.overlap import CHANCE, classes_in_both, known, labels_shared, overlap
from vit.data import Digits, ImageFolder
from vit.data.in_memory import InMemory
from vit.data.transforms import resize

ALL, LOW, HIGH = Digits(), Digits(classes=[0, 1, 2, 3, 4]), Digits(classes=[5, 6, 7, 8, 9])
CLUTTERED = Digits(canvas=24, clutter=4)


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


def moved(images: Tensor, down: int, right: int) -> Tensor:
    """Pictures moved by whole pixels; what comes in at the rim repeats it."""
    height, width = images.shape[-2:]
    padded = F.pad(images.float(), (2, 2, 2, 2), mode="replicate").to(torch.uint8)
    return padded[..., 2 + down :, 2 + right :][..., :height, :width]


def encoded(images: Tensor, quality: int) -> Tensor:
    """Grey pictures through a JPEG file."""
    files = [saved(Image.fromarray(image[0].numpy()), quality=quality) for image in images]
    pictures = [np.array(Image.open(io.BytesIO(file))) for file in files]
    return torch.from_numpy(np.stack(pictures))[:, None]


CHANGES = {
    "JPEG of quality 95": lambda x: encoded(x, 95),
    "JPEG of quality 50": lambda x: encoded(x, 50),
    "1 px down": lambda x: moved(x, 1, 0),
    "2 px down and left": lambda x: moved(x, 2, -2),
    "moved and re-encoded": lambda x: encoded(moved(x, 1, 1), 75),
    "three quarters of the size": lambda x: resize(x.float() / 255, (18, 18)).mul(255).byte(),
    "twice the size": lambda x: resize(x.float() / 255, (48, 48)).mul(255).byte(),
    "half as bright": lambda x: x // 2,
    "mirrored": lambda x: x.flip(-1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_changed_copy_is_known_and_no_other_picture_is(change):
    """898 cluttered digits against 899 others: nothing is taken for a copy."""
    images = torch.cat([CLUTTERED.open(split).images for split in ("train", "val", "test")])
    before, others = looks_of(images[:898]), images[898:]
    assert not which_look_alike(before, looks_of(others)).any()
    copies = looks_of(CHANGES[change](images[:100]))
    assert which_look_alike(before, copies).float().mean() >= 0.98


def test_planted_near_copies_are_counted_apart():
    """Half as bright: other bytes, the same picture; tiny digits that look alike are few."""
    plain = overlap(ALL, ALL)
    assert plain.near <= CHANCE * plain.tested
    seen_before = overlap(Planted(lambda x: x // 2, 17), ALL)
    assert seen_before.same == 0
    assert 15 <= seen_before.near - plain.near <= 17


def test_a_labelled_pre_training_on_changed_copies_is_refused():
    """Under other class names, and none of its files is one of the task's."""

    class Copies(Digits):
        def open(self, split):
            tested = super().open("test")
            return InMemory(encoded(tested.images, 75), tested.labels)

    task = Digits(canvas=24, clutter=4)
    seen = Copies(canvas=24, clutter=4)
    seen.spec = replace(seen.spec, classes=tuple("abcdefghij"))
    assert labels_shared(seen, task) == (
        "360 of 360 images of the task's test split look like images in it (re-encoded, moved, "
        "mirrored or resized)"
    )


def test_other_classes_share_no_labels():
    assert labels_shared(LOW, HIGH) == ""


def test_the_tasks_own_images_are_refused_also_those_outside_a_label_draw():
    few = Digits(classes=[5, 6, 7, 8, 9], labels_per_class=1)
    assert "images of the task's train split are in it" in labels_shared(HIGH, few)
    assert "images of the task's train split" in labels_shared(ALL, HIGH)


@pytest.mark.parametrize("few", [False, True])
def test_a_class_of_the_tasks_is_refused_even_with_other_images(few):
    class Other(Digits):
        def open(self, split):
            dataset = super().open(split)
            return InMemory(255 - dataset.images, dataset.labels)

    other = Other(classes=[0, 1, 9]) if few else Other()
    line = labels_shared(other, HIGH)
    names = "9" if few else "5, 6, 7 and 2 more"
    assert line.startswith(f"it has the task's classes {names} (where a name means other things")
    declared = ("9",) if few else tuple("56789")
    assert labels_shared(other, HIGH, declared) == ""


def test_names_are_the_same_whatever_joins_their_words():
    pairs = (
        ("Sun_flower", "lawn mower", "pick-up truck", "lily"),
        ("sunflower", "Lawn-Mower", "cat"),
    )
    assert classes_in_both(*pairs) == ("sunflower", "Lawn-Mower")


def test_a_split_is_known_by_every_pixel_of_every_image():
    seen_before = known(HIGH, "test")
    assert len(seen_before.hashes) == len(seen_before.looks.small) == HIGH.spec.counts["test"]
    assert len(set(seen_before.hashes)) == len(seen_before.hashes)


def test_copies_inside_a_task_are_counted_and_too_many_refused():
    """17 of the 360 test images stand in training, darker; then 100 of them do."""
    plain = duplicates(ALL)
    some = duplicates(Planted(lambda x: x // 2, 17))
    assert 15 <= some.in_train - plain.in_train <= 17
    assert (some.tested, some.validated) == (360, 144)
    assert too_many(some, trials=3) == ""
    many = duplicates(Planted(lambda x: x, 100))
    assert too_many(many, trials=1) == f"{many.in_train} of 360 test images are training images too"
    chosen = Duplicates(0, 40, 40, 0, 360, 144)
    line = "40 of 144 validation images are test images too"
    assert too_many(chosen, trials=1) == line
    assert too_many(chosen, trials=3) == f"{line}, and learning rates would be chosen on them"


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
