"""The digits are scikit-learn's own, and their splits are the same for everybody."""

from collections import Counter

import pytest
import torch
from lightning import seed_everything
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from vit.batch import DataSpec, LoaderContext, ViewSpec
from vit.data import Digits, digits
from vit.data.sampling import BatchIndices
from vit.data.transforms import Augmentation

TARGET = load_digits().target.tolist()


def test_the_test_split_is_the_one_that_scikit_learn_draws():
    _, test = train_test_split(range(1797), test_size=0.2, stratify=TARGET, random_state=0)
    assert Digits().split_indices()["test"] == test
    assert len(test) == 360


@pytest.mark.parametrize("val_fraction", [0.05, 0.1, 0.5])
def test_the_splits_are_disjoint_and_cover_everything(val_fraction):
    splits = Digits(val_fraction=val_fraction).split_indices()
    assert sorted(i for split in splits.values() for i in split) == list(range(1797))


def test_every_split_holds_each_class_in_its_share():
    for name, indices in Digits().split_indices().items():
        found = Counter(TARGET[i] for i in indices)
        for label, count in Counter(TARGET).items():
            assert abs(found[label] - count * len(indices) / 1797) <= 1, (name, label)


@pytest.mark.parametrize("val_fraction", [0.05, 0.5])
def test_validation_is_carved_from_train_and_never_moves_the_test_split(val_fraction):
    assert (
        Digits(val_fraction=val_fraction).split_indices()["test"]
        == Digits().split_indices()["test"]
    )


def test_no_seed_moves_the_splits(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # put back after the test
    before = Digits().split_indices()
    for seed in (1, 2):
        seed_everything(seed, verbose=False)
        digits._indices.cache_clear()
        assert Digits().split_indices() == before


def test_the_spec_counts_what_the_splits_hold():
    data = Digits()
    assert data.spec.counts == {"train": 1293, "val": 144, "test": 360}
    assert {name: len(data.open(name)) for name in ("train", "val", "test")} == data.spec.counts
    assert (data.spec.classes, data.spec.channels) == (tuple("0123456789"), 1)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_pixels_and_labels_are_scikit_learns(split):
    data = Digits()
    source, places = load_digits(), data.split_indices()[split]
    batch = data.open(split)[BatchIndices(0, list(range(len(places))))]
    assert batch.images.dtype == torch.uint8
    assert batch.labels.tolist() == source.target[places].tolist()
    error = batch.images[:, 0].double() / 255 - torch.from_numpy(source.images[places] / 16)
    assert error.abs().max() <= 0.5 / 255 + 1e-12


def test_padding_has_no_label():
    batch = Digits().open("val")[BatchIndices(None, [5, -1])]
    assert batch.index.tolist() == [5, -1]
    assert batch.labels[1] == -1
    assert batch.labels[0] >= 0


def test_evaluation_shows_the_image_as_it_is():
    data = Digits(augmentation=Augmentation(degrees=20.0, shift=0.2))
    batch = data.open("val")[BatchIndices(None, [0, 1, 2])]
    shown = data.show(batch, LoaderContext((ViewSpec(photometric=0.5),)), training=False)
    expected = batch.images.float() / 255 * 2 - 1  # mean and deviation are 0.5
    torch.testing.assert_close(shown.images, expected)
    assert (shown.seed, shown.epoch, len(shown.views)) == (batch.seed, None, 1)


def test_several_views_are_cut_for_evaluation_too_and_always_alike():
    data = Digits()
    batch = data.open("val")[BatchIndices(None, [0, 1, 2])]
    views = (ViewSpec(count=2, area=(0.3, 0.7)), ViewSpec(size=4))
    first, second = (data.show(batch, LoaderContext(views), training=False) for _ in range(2))
    assert [tuple(view.shape[-2:]) for view in first.views] == [(8, 8), (8, 8), (4, 4)]
    assert not torch.equal(first.views[0], first.views[1])
    assert all(torch.equal(*pair) for pair in zip(first.views, second.views, strict=True))


def test_image_size_is_what_is_shown():
    data = Digits(image_size=12)
    batch = data.open("val")[BatchIndices(None, [0])]
    assert data.spec.image_size == (12, 12)
    shown = data.show(batch, LoaderContext(), training=False)
    assert shown.images.shape[-2:] == (12, 12)


def test_the_loader_brings_the_seed_of_the_run_and_one_rank_its_share():
    context = LoaderContext(seed=3, world_size=2, accumulation=4)
    batch = next(iter(Digits(batch_size=64).loader("train", context)))
    assert (len(batch), batch.seed, batch.epoch) == (8, 3, 0)


def test_a_checkpoint_of_another_validation_split_is_refused():
    state = Digits().state_dict()
    Digits().load_state_dict(state)
    with pytest.raises(ValueError, match="data: train, val changed since the run began"):
        Digits(val_fraction=0.2).load_state_dict(state)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"val_fraction": 0.0}, r"Digits: val_fraction must be in \(0, 0.5\], got 0.0"),
        ({"val_fraction": 0.6}, r"Digits: val_fraction must be in \(0, 0.5\], got 0.6"),
        ({"batch_size": 0}, "Digits: batch_size must be from 1 to 16,777,216, got 0"),
        ({"eval_batch_size": 0}, "Digits: eval_batch_size must be from 1 to 16,777,216, got 0"),
        ({"image_size": 0}, "Digits: image_size must be from 1 to 16,384, got 0"),
        ({"image_size": -24}, "Digits: image_size must be from 1 to 16,384, got -24"),
        ({"workers": 10**9}, "Digits: workers must be from 0 to 256, got 1000000000"),
        ({"repeats": -1}, "Digits: repeats must be from 1 to 1,000, got -1"),
    ],
)
def test_a_wrong_setting_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Digits(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"world_size": 3}, "batch_size 64 does not divide into 3 ranks x 1 accumulated"),
        ({"accumulation": 5}, "batch_size 64 does not divide into 1 ranks x 5 accumulated"),
        (
            {"accumulation": 4, "limit": 42},
            "42 leaves 42 micro-batches, no multiple of .*batches 4",
        ),
        ({"accumulation": 4, "limit": 0.53}, "0.53 leaves 42 micro-batches, no multiple"),
    ],
)
def test_a_batch_that_cannot_be_made_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Digits().loader("train", LoaderContext(**settings))


def test_a_batch_larger_than_the_training_split_is_named():
    with pytest.raises(ValueError, match=r"2000 is larger than the training split \(1293 images\)"):
        Digits(batch_size=2000).loader("train")


def test_a_data_module_needs_no_trainer():
    data = Digits(batch_size=32)
    for split, images in (("train", 1280), ("val", 144), ("test", 360)):
        loader = data.loader(split)
        shown = [data.show(batch, LoaderContext(), split == "train") for batch in loader]
        assert sum(len(batch) for batch in shown) == images
        assert all(batch.images.dtype == torch.float32 for batch in shown)


def test_normalisation_is_the_datas_own_unless_the_context_brings_another():
    data = Digits()
    batch = next(iter(data.loader("val")))
    other = DataSpec(data.spec.classes, (8, 8), 1, (0.0,), (1.0,))
    shown = data.show(batch, LoaderContext(normalisation=other), training=False)
    torch.testing.assert_close(shown.images, batch.images / 255)
    assert data.show(batch, LoaderContext(), training=False).images.min() == -1
