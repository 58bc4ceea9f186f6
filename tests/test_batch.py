"""What data and training know of each other survives files, devices and other batches."""

import io
import json
from dataclasses import replace

import pytest
import torch

from builders import RGB, batch_of
from vit.batch import Batch, DataSpec

FULL = replace(RGB, multi_label=True, counts={"train": 5, "val": 0})


def test_a_spec_survives_a_file_that_holds_plain_values_only():
    file = io.BytesIO()
    torch.save(FULL.to_dict(), file)
    file.seek(0)
    assert DataSpec.from_dict(torch.load(file, weights_only=True)) == FULL


def test_the_plain_form_is_what_json_and_yaml_would_give_back():
    assert json.loads(json.dumps(FULL.to_dict())) == FULL.to_dict()  # lists, no tuples


def test_the_plain_form_shares_nothing_with_the_spec():
    FULL.to_dict()["counts"]["train"] = 99
    assert FULL.counts["train"] == 5


@pytest.mark.parametrize("field", ["mean", "std"])
def test_three_channels_with_one_value_are_an_error(field):
    with pytest.raises(ValueError, match=r"3 channels need as many means and deviations, got"):
        replace(RGB, **{field: (0.5,)})


def test_seed_epoch_image_and_purpose_each_change_the_keys():
    batch = batch_of(count=3)
    first = batch.keys("mask")
    others = [replace(batch, seed=1), replace(batch, epoch=1), replace(batch, epoch=None)]
    others.append(replace(batch, index=batch.index + 3))
    for other in [*(changed.keys("mask") for changed in others), batch.keys("crop")]:
        assert not set(first.tolist()) & set(other.tolist())


def test_a_key_does_not_depend_on_the_place_in_the_batch():
    batch = batch_of(count=4)
    order = torch.tensor([2, 0, 3])
    moved = Batch([batch.images[order]], batch.labels[order], order, epoch=0)
    assert torch.equal(moved.keys("mask"), batch.keys("mask")[order])


def test_another_device_takes_all_tensors_and_keeps_seed_and_epoch():
    ids = torch.tensor([1, 2])
    moved = Batch([torch.rand(2, 3, 4, 4)] * 2, ids, ids, seed=7, epoch=3).to("meta")
    assert {t.device.type for t in (*moved.views, moved.labels, moved.index)} == {"meta"}
    assert (moved.seed, moved.epoch) == (7, 3)


@pytest.mark.parametrize("epoch", [None, 2])
def test_the_same_device_keeps_every_value(epoch):
    batch = replace(batch_of(count=3, epoch=epoch, seed=5), index=torch.tensor([4, 1, -1]))
    kept = batch.to("cpu")
    assert torch.equal(kept.images, batch.images)
    assert torch.equal(kept.labels, batch.labels)
    assert torch.equal(kept.keys("mask"), batch.keys("mask"))


def test_large_and_small_views_stand_in_one_batch():
    ids = torch.tensor([1, 2])
    for _ in range(40):  # a checker of types looks at one view of the list, a random one
        batch = Batch([torch.rand(2, 3, 8, 8), torch.rand(2, 3, 4, 4)], ids, ids)
        assert [view.shape[-1] for view in batch.to("cpu").views] == [8, 4]


def test_padding_is_not_valid():
    batch = replace(batch_of(count=3), index=torch.tensor([0, -1, 7]))
    assert batch.valid.tolist() == [True, False, True]
    assert len(batch) == 3
