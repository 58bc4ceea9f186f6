"""Batches as functions of a counter: resumed, split over ranks or loaded by workers, the same."""

from itertools import pairwise

import pytest
import torch

from vit.batch import Batch, LoaderContext
from vit.data import Digits
from vit.data.in_memory import InMemory
from vit.data.sampling import (
    BatchIndices,
    EvaluationBatches,
    ResumableLoader,
    TrainingBatches,
    limited,
)
from vit.data.transforms import Augmentation
from vit.objectives.parts.mixing import Mixing

SIZE, GLOBAL = 103, 16  # six steps an epoch, seven images left over


def batches(consumed=0, world=1, accumulate=1, rank=0, seed=0, size=SIZE, limit=1.0):
    context = LoaderContext(
        seed=seed, consumed=lambda: consumed, rank=rank, world_size=world,
        accumulation=accumulate, limit=limit,
    )  # fmt: skip
    return TrainingBatches(size, GLOBAL // (world * accumulate), context)


def evaluation(size: int, per_device: int, rank: int = 0, world: int = 1) -> EvaluationBatches:
    return EvaluationBatches(size, per_device, LoaderContext(rank=rank, world_size=world))


def steps(world: int, accumulate: int, epoch: int = 0) -> list[set[int]]:
    """The images of each optimiser step, over all ranks and micro-batches."""
    done = epoch * 6 * accumulate
    ranks = [list(batches(done, world, accumulate, rank)) for rank in range(world)]
    return [
        {i for rank in ranks for draw in rank[at : at + accumulate] for i in draw.index}
        for at in range(0, 6 * accumulate, accumulate)
    ]


# ---- training -------------------------------------------------------------------------------


def test_a_resumed_epoch_brings_exactly_the_batches_that_were_left():
    whole = list(batches(accumulate=2))
    for consumed in range(12):
        assert list(batches(consumed, accumulate=2)) == whole[consumed:]


def test_after_an_epoch_comes_the_next_and_resumes_as_well():
    second = list(batches(6))
    assert [draw.epoch for draw in second] == [1] * 6
    assert list(batches(6 + 4)) == second[4:]
    assert [draw.epoch for draw in batches(5 * 6 + 2)] == [5] * 4


def test_the_counter_is_read_when_an_epoch_begins_and_not_before():
    now = 0
    sampler = TrainingBatches(SIZE, GLOBAL, LoaderContext(consumed=lambda: now))
    first = list(sampler)
    now = 6
    assert [draw.epoch for draw in sampler] == [1] * 6
    assert list(sampler) != first


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_a_step_sees_the_same_images_on_any_ranks_and_accumulation(world, accumulate):
    spread = steps(world, accumulate, epoch=1)
    assert spread == steps(1, 1, epoch=1)
    assert [len(images) for images in spread] == [GLOBAL] * 6


def test_an_epoch_shows_no_image_twice_and_leaves_out_what_fills_no_step():
    shown = [i for draw in batches() for i in draw.index]
    assert len(shown) == len(set(shown)) == 96
    assert set(shown) <= set(range(SIZE))


def test_epochs_leave_out_different_images_so_that_all_are_seen():
    seen = {i for epoch in range(5) for draw in batches(6 * epoch) for i in draw.index}
    assert seen == set(range(SIZE))


def test_epochs_and_seeds_shuffle_differently():
    orders = [list(batches(epoch * 6, seed=seed)) for seed in (0, 1) for epoch in (0, 1, 2)]
    flat = [tuple(i for draw in order for i in draw.index) for order in orders]
    assert len(set(flat)) == 6
    for one, other in pairwise(flat):  # a shift or a swap would agree in many places
        assert sum(a == b for a, b in zip(one, other, strict=True)) < 10


@pytest.mark.parametrize(
    ("limit", "length"), [(4, 4), (100, 12), (0.5, 6), (1.0, 12), (1, 1), (0.3, 3)]
)
def test_a_limit_is_read_as_lightning_reads_it(limit, length):
    assert limited(12, limit) == length
    assert len(list(batches(accumulate=2, limit=limit))) == length


def test_a_limited_epoch_ends_at_the_limit_and_the_next_begins():
    first, second = list(batches(limit=4)), list(batches(4, limit=4))
    assert (first[0].epoch, second[0].epoch) == (0, 1)
    assert list(batches(6, limit=4)) == second[2:]
    assert first == list(batches())[:4]


def test_the_length_is_what_lightning_applies_its_limit_to():
    assert len(batches(consumed=5, accumulate=2, limit=3)) == 12


# ---- evaluation -----------------------------------------------------------------------------


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [1, 3, 40, 103])
def test_evaluation_shows_every_sample_once_in_equally_many_batches(world, size):
    samplers = [evaluation(size, 8, rank, world) for rank in range(world)]
    ranks = [list(sampler) for sampler in samplers]
    shown = [i for rank in ranks for draw in rank for i in draw.index if i >= 0]
    assert sorted(shown) == list(range(size))
    assert {len(rank) for rank in ranks} == {len(sampler) for sampler in samplers}
    for column in zip(*ranks, strict=True):
        assert len({len(draw.index) for draw in column}) == 1  # gathering needs equal rows


def test_evaluation_has_no_epoch():
    assert {draw.epoch for draw in evaluation(20, 8)} == {None}


# ---- loading --------------------------------------------------------------------------------


def load(sampler, workers: int) -> list[Batch]:
    pixels = torch.arange(SIZE).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    data = InMemory(pixels, torch.arange(SIZE) % 10, seed=9)
    return list(ResumableLoader(data, sampler=sampler, batch_size=None, num_workers=workers))


def plain(loaded: list[Batch]) -> list[tuple]:
    return [
        (b.index.tolist(), b.labels.tolist(), b.images[:, 0, 0, 0].tolist(), b.seed, b.epoch)
        for b in loaded
    ]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine with one core
@pytest.mark.parametrize("sampler", [batches(consumed=2), evaluation(SIZE, 10, 1, 2)])
def test_workers_bring_the_same_batches_in_the_same_order(sampler):
    alone, together = plain(load(sampler, 0)), plain(load(sampler, 2))
    assert alone == together
    assert [row[0] for row in alone] == [draw.index for draw in sampler]


def test_a_loaded_batch_holds_the_samples_it_was_asked_for():
    for batch in load(evaluation(SIZE, 10, 1, 2), 0):
        there = batch.valid
        assert torch.equal(batch.images[there, 0, 0, 0].long(), batch.index[there])
        assert torch.equal(batch.labels[there], batch.index[there] % 10)
        assert (batch.labels[~there] == -1).all()


def test_the_loader_keeps_no_position_of_its_own():
    loader = ResumableLoader(InMemory(torch.zeros(4, 1, 2, 2).byte(), torch.zeros(4).long()))
    assert loader.state_dict() == {}
    assert loader.load_state_dict({"anything": 1}) is None


def epoch_of_draws(**settings) -> list[BatchIndices]:
    return list(TrainingBatches(120, 10, LoaderContext(), **settings))


def test_repeated_images_stand_in_a_row_and_are_numbered():
    draws = epoch_of_draws(repeats=3)
    order = [i for draw in draws for i in draw.index]
    repeats = [t for draw in draws for t in draw.repeat]
    assert len(order) == 120
    assert order[::3] == order[1::3] == order[2::3]
    assert len(set(order)) == 40
    assert repeats == [0, 1, 2] * 40
    assert epoch_of_draws()[0].repeat is None


def test_mixing_meets_other_images_though_images_are_repeated():
    draws = epoch_of_draws(repeats=3)
    rows = Mixing(mixup=0.8)(torch.rand(10, 1, 2, 2), torch.arange(10)).partner
    for draw in draws:
        own = torch.tensor(draw.index)
        assert (own != own[rows]).all()


def test_balanced_draws_show_every_class_equally_often():
    labels = torch.tensor([0] * 110 + [1] * 10)
    draws = list(TrainingBatches(120, 10, LoaderContext(), labels))
    order = torch.tensor([i for draw in draws for i in draw.index])
    rare = (labels[order] == 1).float().mean().item()
    assert rare == pytest.approx(0.5, abs=0.14)  # three deviations of 120 draws
    repeats = torch.tensor([t for draw in draws for t in draw.repeat])
    seen: dict[int, int] = {}
    for index, repeat in zip(order.tolist(), repeats.tolist(), strict=True):
        assert seen.setdefault(index, 0) == repeat
        seen[index] += 1
    again = list(TrainingBatches(120, 10, LoaderContext(consumed=lambda: 7), labels))
    assert again == draws[7:], "a resumed run draws what was left"


def test_an_image_that_comes_again_is_augmented_anew():
    data = Digits(augmentation=Augmentation(degrees=30.0, shift=0.2))
    dataset = data.open("train")
    batch = dataset[BatchIndices(0, [5, 5, 5], [0, 1, 0])]
    shown = data.show(batch, LoaderContext(), training=True).images
    assert torch.equal(shown[0], shown[2])
    assert not torch.equal(shown[0], shown[1])
    first = data.show(dataset[BatchIndices(0, [5])], LoaderContext(), training=True).images
    assert torch.equal(shown[0], first[0])
