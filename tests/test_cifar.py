"""CIFAR: real files where they are at hand (VIT_TEST_DATA), a miniature in the same layout else."""

import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10 as Published

from vit.data import CIFAR10, CIFAR100
from vit.data import cifar as module
from vit.data.cifar import read_foreign
from vit.data.splits import balanced, carve
from vit.published.download import md5_of


@pytest.fixture
def miniature(tmp_path, monkeypatch) -> Path:
    """Six files of 100 random images in CIFAR-10's layout, with md5 values of their own."""
    folder = tmp_path / Published.base_folder
    folder.mkdir()
    generator = np.random.default_rng(0)
    names = [name for name, _ in Published.train_list + Published.test_list]
    for name in names:
        batch = {"data": generator.integers(0, 256, (100, 3072), dtype=np.uint8),
                 "labels": [i % 10 for i in range(100)]}  # fmt: skip
        (folder / name).write_bytes(pickle.dumps(batch))
    listed = [(name, md5_of(folder / name)) for name in names]
    source = SimpleNamespace(base_folder=Published.base_folder, train_list=listed[:5],
                             test_list=listed[5:])  # fmt: skip
    monkeypatch.setattr(CIFAR10, "published", source)
    monkeypatch.setattr(module, "carve", lambda labels, held_out, draw: carve(labels, 50, draw))
    module.read_batches.cache_clear()
    module._carved.cache_clear()
    yield tmp_path
    module.read_batches.cache_clear()
    module._carved.cache_clear()


def test_pixels_and_labels_are_those_of_torchvision_s_reader(miniature):
    data = CIFAR10(str(miniature))
    test = data.open("test")
    raw = pickle.loads((miniature / Published.base_folder / "test_batch").read_bytes())
    # torchvision: reshape(-1, 3, 32, 32) of the same rows
    assert np.array_equal(test.images.numpy(), raw["data"].reshape(-1, 3, 32, 32))
    assert test.labels.tolist() == raw["labels"]


def test_a_damaged_file_is_named_with_both_sums(miniature):
    (miniature / Published.base_folder / "data_batch_3").write_bytes(b"torn")
    with pytest.raises(
        FileNotFoundError, match=r"data_batch_3 is missing or damaged \(md5 .*, exp"
    ):
        CIFAR10(str(miniature)).open("train")


def test_validation_never_overlaps_training(miniature):
    splits = CIFAR10(str(miniature)).split_indices()
    assert not set(splits["train"]) & set(splits["val"])
    assert len(splits["train"]) + len(splits["val"]) == 500
    whole = CIFAR10(str(miniature), whole=True)
    assert sorted(whole.split_indices()["train"]) == list(range(500))
    assert (whole.spec.counts["train"], len(whole.notes)) == (50_000, 1)
    with pytest.raises(ValueError, match="whole is all training images"):
        CIFAR10(str(miniature), whole=True, train_images=20)


def test_validation_is_drawn_by_its_number_and_the_test_stays(miniature):
    draws = [CIFAR10(str(miniature), val_draw=draw).split_indices() for draw in range(3)]
    assert draws[0] == CIFAR10(str(miniature)).split_indices()
    assert len({tuple(one["val"]) for one in draws}) == 3
    for one in draws:
        assert sorted(one["train"] + one["val"]) == list(range(500))
        assert one["test"] == draws[0]["test"]
        assert [sum(i % 10 == label for i in one["val"]) for label in range(10)] == [5] * 10


def test_few_training_images_are_even_and_nested(miniature):
    small, large = (CIFAR10(str(miniature), train_images=n).split_indices()["train"]
                    for n in (20, 100))  # fmt: skip
    assert small == large[:20]
    labels = CIFAR10(str(miniature), train_images=20).open("train").labels
    assert torch.bincount(labels, minlength=10).tolist() == [2] * 10


def test_the_spec_is_known_before_any_file():
    spec = CIFAR100("nowhere").spec
    assert len(spec.classes) == 100
    assert spec.image_size == (32, 32)


def test_a_wrong_number_of_images_is_named():
    with pytest.raises(ValueError, match="train_images must be in"):
        CIFAR10("nowhere", train_images=50_000)


def test_balanced_orders_are_even_in_every_prefix():
    labels = [0] * 5 + [1] * 10
    order = balanced(list(range(15)), labels)
    assert sorted(order) == list(range(15))
    assert sorted(labels[i] for i in order[:10]) == [0] * 5 + [1] * 5


def part(folder: Path, counts: dict[int, int], **more) -> Path:
    """A .npz with some classes of CIFAR-100, as anybody may write it."""
    labels = [label for label, count in counts.items() for _ in range(count)]
    generator = np.random.default_rng(0)
    data = generator.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
    file = folder / "part.npz"
    np.savez_compressed(file, **{"data": data, "fine_labels": np.array(labels)} | more)
    return file


def test_chosen_classes_may_come_from_a_file_of_ones_own(tmp_path, monkeypatch):
    file, test = part(tmp_path, {3: 500, 7: 20, 9: 500}), tmp_path / "test"
    labels = [3] * 4 + [8] * 4 + [9] * 4
    test.write_bytes(pickle.dumps({"data": np.zeros((12, 3072), "u1"), "fine_labels": labels}))
    listed = SimpleNamespace(base_folder=".", test_list=[("test", md5_of(test))], train_list=[])
    monkeypatch.setattr(CIFAR100, "published", listed)
    data = CIFAR100(str(tmp_path), classes=[3, 9], train_file=str(file))
    train, val = data.open("train"), data.open("val")
    assert (len(train), len(val)) == (900, 100)
    assert data.spec.counts == {"train": 900, "val": 100, "test": 200}
    assert data.spec.classes == ("bear", "bottle")
    assert data.open("test").labels.tolist() == [0] * 4 + [1] * 4
    assert torch.bincount(val.labels).tolist() == [50, 50]
    raw = np.load(file)["data"].reshape(-1, 3, 32, 32)
    first = data.split_indices()["train"][0]
    assert np.array_equal(train.images[0].numpy(), raw[first])


def test_a_class_that_is_not_whole_is_named(tmp_path):
    file = part(tmp_path, {3: 500, 7: 20})
    with pytest.raises(
        ValueError, match=r"holds 20 images of class 7 \(beetle\), published are 500"
    ):
        CIFAR100(str(tmp_path), classes=[3, 7], train_file=str(file)).open("train")


SPOILED = {
    "is no .npz with arrays data and": lambda folder: (folder / "train").write_bytes(
        pickle.dumps({"data": 1})),
    "no archive named 'fine_labels.npy'|no item named": lambda folder: np.savez(
        folder / "train", data=np.zeros(3)),
    "Object arrays cannot be loaded": lambda folder: np.savez(
        folder / "train", data=np.array([Path("x")]), fine_labels=np.zeros(1, int)),
    "holds float64, no whole numbers": lambda folder: np.savez(
        folder / "train", data=np.zeros((1, 3072)), fine_labels=np.zeros(1, int)),
    "3,072 numbers an image": lambda folder: np.savez(
        folder / "train", data=np.zeros((2, 3072), "u1"), fine_labels=np.zeros(1, int)),
    "one number each": lambda folder: np.savez(
        folder / "train", data=np.zeros((1, 3072), "u1"), fine_labels=np.int64(3)),
    "it unpacks to 400,000,": lambda folder: np.savez_compressed(
        folder / "train", data=np.zeros(400_000_000, "u1"), fine_labels=np.zeros(1, int)),
}  # fmt: skip


@pytest.mark.parametrize("reason", SPOILED)
def test_a_file_of_ones_own_is_data_or_refused(tmp_path, reason):
    """A pickle runs code, and one of arrays alone crashes NumPy by a dtype's flags."""
    SPOILED[reason](tmp_path)
    (file,) = tmp_path.iterdir()
    with pytest.raises(ValueError, match=f"{file}.*({reason})"):
        read_foreign(file, "fine_labels")


def test_classes_of_the_published_files_can_be_chosen(miniature):
    data = CIFAR10(str(miniature), classes=[2, 5])
    whole = CIFAR10(str(miniature)).open("test")
    test = data.open("test")
    assert torch.equal(test.images, whole.images[(whole.labels == 2) | (whole.labels == 5)])
    assert set(test.labels.tolist()) == {0, 1}


@pytest.mark.parametrize("classes", [[3], [5, 3], [3, 100]])
def test_impossible_classes_are_refused(classes):
    with pytest.raises(ValueError, match="classes must be rising numbers from 0 to 99"):
        CIFAR100("nowhere", classes=classes)


@pytest.mark.skipif("VIT_TEST_DATA" not in os.environ, reason="VIT_TEST_DATA names no folder")
def test_the_real_files_have_the_numbers_that_the_config_names():
    data = CIFAR10(os.environ["VIT_TEST_DATA"])
    images, labels = data._published("train")
    pixels = images.double() / 255
    assert tuple(pixels.mean((0, 2, 3)).numpy().round(4)) == pytest.approx(CIFAR10.mean, abs=1e-4)
    assert tuple(pixels.std((0, 2, 3)).numpy().round(4)) == pytest.approx(CIFAR10.std, abs=1e-4)
    assert torch.bincount(labels).tolist() == [5000] * 10
    val = data.open("val")
    assert torch.bincount(val.labels).tolist() == [500] * 10
