"""Means over a split are exact, whatever padding holds and however the split was cut."""

import numpy as np
import pytest
import torch

from ranks import in_a_group
from vit.collectives import (
    active,
    gather_rows,
    gather_with_gradient,
    mean_over_ranks,
    rank,
    sum_over_ranks,
    sum_with_gradient,
    world_size,
)
from vit.metrics import Means

NAN = float("nan")


def test_rows_of_padding_are_left_out_even_when_they_hold_nan():
    means = Means()
    means.add({"loss": torch.tensor([1.0, NAN, 4.0])}, torch.tensor([True, False, True]))
    means.add({"loss": torch.tensor([NAN, 10.0])}, torch.tensor([False, True]))
    assert means.reduce()["loss"].item() == 5.0


def test_nan_of_a_real_image_is_not_hidden():
    means = Means()
    means.add({"loss": torch.tensor([1.0, NAN])}, torch.tensor([True, True]))
    assert means.reduce()["loss"].isnan()


def test_a_batch_of_padding_alone_changes_nothing():
    means = Means()
    means.add({"loss": torch.tensor([3.0])}, torch.tensor([True]))
    means.add({"loss": torch.tensor([NAN, NAN])}, torch.tensor([False, False]))
    assert means.reduce()["loss"].item() == 3.0


@pytest.mark.parametrize("cut", [1, 7, 256, 1000])
def test_the_mean_does_not_depend_on_the_batches(cut):
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 100
    means = Means()
    for rows in values.split(cut):
        means.add({"loss": rows}, torch.ones(len(rows), dtype=torch.bool))
    expected = values.numpy().astype(np.float64).mean()
    assert means.reduce()["loss"].item() == pytest.approx(expected, rel=1e-12)


def test_sums_do_not_lose_what_float32_would():
    means = Means()
    for value in (2.0**24, 1.0):  # in float32 their sum is 2**24 again
        means.add({"loss": torch.tensor([value])}, torch.tensor([True]))
    assert means.reduce()["loss"].item() == (2**24 + 1) / 2


def test_a_vector_an_image_gives_a_vector_of_means():
    means = Means()
    values = {"histogram": torch.tensor([[1.0, 0.0], [0.0, 4.0]]), "loss": torch.tensor([1.0, 3.0])}
    means.add(values, torch.tensor([True, True]))
    reduced = means.reduce()
    assert reduced["histogram"].tolist() == [0.5, 2.0]
    assert reduced["loss"].item() == 2.0


def test_nothing_counted_gives_no_means():
    assert Means().reduce() == {}


def test_gradients_do_not_stay_alive_in_the_sums():
    means = Means()
    means.add({"loss": torch.ones(2, requires_grad=True) * 2}, torch.ones(2, dtype=torch.bool))
    assert not means.reduce()["loss"].requires_grad


def test_without_a_process_group_every_sum_is_the_identity():
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert (active(), rank(), world_size()) == (False, 0, 1)
    every = (sum_over_ranks, mean_over_ranks, sum_with_gradient, gather_rows, gather_with_gradient)
    for same in every:
        assert torch.equal(same(rows), rows)


ROWS = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0], [0.0, 1.0]])


def _gathered(rank: int) -> list[torch.Tensor]:
    """A loss of all pairs of rows, and this rank's gradient."""
    mine = ROWS[2 * rank : 2 * rank + 2].clone().requires_grad_()
    every = gather_with_gradient(mine)
    loss = (every @ every.T).square().sum()
    loss.backward()
    return [every.detach(), loss.detach(), mine.grad]


def test_a_loss_of_gathered_rows_has_the_gradient_of_one_process_after_averaging(tmp_path):
    whole = ROWS.clone().requires_grad_()
    expected = (whole @ whole.T).square().sum()
    expected.backward()
    (every, loss, first), (_, _, second) = in_a_group(_gathered, tmp_path)
    assert torch.equal(every, ROWS)
    assert loss == expected
    torch.testing.assert_close(torch.cat([first, second]) / 2, whole.grad)


def _summed(rank: int) -> list[torch.Tensor]:
    """Each rank uses the sum of both in another way."""
    mine = torch.tensor([float(rank + 1)], requires_grad=True)
    total = sum_with_gradient(mine)
    (total * (10 if rank else 1)).sum().backward()
    return [total.detach(), mine.grad]


def test_the_gradients_of_all_users_of_a_sum_come_back(tmp_path):
    for total, gradient in in_a_group(_summed, tmp_path):
        assert total.tolist() == [3.0]
        assert gradient.tolist() == [11.0]
