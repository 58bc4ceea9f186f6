"""Masks hide exactly as many patches as they should, at random, and say True for hidden."""

import pytest
import torch

from vit.objectives.parts.masking import (
    block_mask,
    from_neighbours,
    hidden_count,
    kept_patches,
    random_mask,
    random_order,
)
from vit.randomness import keys


def some_keys(count: int = 8, epoch: int = 0) -> torch.Tensor:
    return keys(0, epoch, torch.arange(count), "mask")


@pytest.mark.parametrize(
    ("patches", "share", "hidden"),
    [(16, 0.75, 12), (196, 0.75, 147), (9, 0.6, 5), (10, 0.01, 1), (10, 0.99, 9), (2, 0.5, 1)],
)
def test_a_share_hides_its_rounded_count_and_never_none_or_all(patches, share, hidden):
    assert hidden_count(patches, share) == hidden
    assert random_mask(some_keys(), patches, share).sum(1).tolist() == [hidden] * 8


def test_true_means_hidden():
    mask = random_mask(some_keys(4), 16, 0.75)
    kept = kept_patches(mask, 4)
    assert not mask.gather(1, kept).any()
    assert mask.float().mean() == 0.75


def test_images_hide_different_patches():
    mask = random_mask(some_keys(8), 64, 0.75)
    assert len({tuple(row) for row in mask.tolist()}) == 8


def test_an_image_hides_other_patches_in_the_next_epoch():
    first, second = random_mask(some_keys(4, 0), 64, 0.5), random_mask(some_keys(4, 1), 64, 0.5)
    assert (first != second).any(1).all()


def test_a_mask_depends_on_its_key_alone():
    key = some_keys(8)
    mask = random_mask(key, 64, 0.75)
    torch.manual_seed(1)
    assert torch.equal(random_mask(key.flip(0), 64, 0.75), mask.flip(0))
    assert torch.equal(random_mask(key[3:4], 64, 0.75), mask[3:4])


def test_every_patch_is_hidden_equally_often():
    often = random_mask(some_keys(8192), 16, 0.75).float().mean(0)
    assert (often - 0.75).abs().max() < 0.025  # five deviations of a share of 8192 draws


def test_two_patches_are_hidden_together_as_often_as_chance_has_it():
    mask = random_mask(some_keys(8192), 16, 0.75).float()
    together = (mask.T @ mask / 8192)[~torch.eye(16, dtype=torch.bool)]
    assert (together - 12 / 16 * 11 / 15).abs().max() < 0.03


def test_a_random_order_holds_every_patch_once():
    order = random_order(some_keys(8), 16)
    assert order.sort(1).values.tolist() == [list(range(16))] * 8


def test_kept_patches_are_the_visible_ones_in_raster_order():
    mask = torch.tensor([[True, False, True, False, False], [False, False, True, True, False]])
    assert kept_patches(mask, 3).tolist() == [[1, 3, 4], [0, 1, 4]]
    assert kept_patches(~mask, 3).tolist() == [[0, 2, 1], [2, 3, 0]]  # two, filled up


def test_kept_patches_keep_raster_order_among_hundreds():
    mask = random_mask(some_keys(2), 400, 0.5)
    expected = [row.logical_not().nonzero()[:, 0].tolist() for row in mask]
    assert kept_patches(mask, 200).tolist() == expected


def test_blocks_hide_exactly_what_they_should_and_nothing_where_nothing_is_asked():
    count = torch.tensor([0, 1, 5, 60, 98, 195, 30, 30])
    mask = block_mask(some_keys(8), (14, 14), count)
    assert mask.sum(1).tolist() == count.tolist()
    assert not torch.equal(mask[6], mask[7])


def test_blocks_hang_together_where_single_patches_do_not():
    def neighbours(mask: torch.Tensor) -> float:
        """Share of hidden patches whose right neighbour is hidden too."""
        rows = mask.view(-1, 14, 14).float()
        return float((rows[:, :, :-1] * rows[:, :, 1:]).sum() / rows[:, :, :-1].sum())

    count = torch.full((2000,), 59)
    blocks = block_mask(some_keys(2000), (14, 14), count)
    assert neighbours(random_mask(some_keys(2000), 196, 0.3)) == pytest.approx(0.3, abs=0.02)
    assert neighbours(blocks) > 0.7
    often = blocks.float().mean(0).view(14, 14)
    assert often.min() > 0.01, "no corner is always seen"
    torch.testing.assert_close(often, often.flip(0), atol=0.06, rtol=0)
    torch.testing.assert_close(often, often.flip(1), atol=0.06, rtol=0)


def test_blocks_leave_no_specks():
    """Hidden patches without a hidden neighbour: iBOT's loader makes 0.02 a mask of 14x14.

    (4,000 masks of its algorithm, 10 to 50 %.) Random patches of the last rectangle made 1.2.
    """
    count = torch.linspace(20, 98, 1000).long()
    mask = block_mask(some_keys(1000), (14, 14), count).view(-1, 1, 14, 14).float()
    cross = torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]]).view(1, 1, 3, 3)
    near = torch.nn.functional.conv2d(mask, cross, padding=1)
    assert float(((mask == 1) & (near == 0)).sum() / 1000) < 0.05


def test_a_rectangle_has_a_ninth_of_the_grid_at_least():
    """16 of 14x14 as in iBOT's code: what is hidden then lies within one rectangle."""
    rows = block_mask(some_keys(500), (14, 14), torch.full((500,), 16)).view(-1, 14, 14)
    tall, wide = (
        rows.any(axis).sum(1).float() for axis in (2, 1)
    )  # without gaps, the sides of the box around it
    assert (tall * wide).median() <= 20


def test_blocks_depend_on_the_key_alone():
    key, count = some_keys(6), torch.full((6,), 20)
    whole = block_mask(key, (8, 8), count)
    assert torch.equal(block_mask(key[2:4], (8, 8), count[2:4]), whole[2:4])
    assert block_mask(key, (2, 3), count.clamp(max=5)).sum(1).tolist() == [5] * 6


def test_neighbours_that_are_seen_tell_their_mean_and_hidden_ones_nothing():
    values = torch.arange(12.0).view(1, 12, 1)  # a grid of 3 x 4
    hidden = torch.zeros(1, 12, dtype=torch.bool)
    hidden[0, [5, 6]] = True
    told = from_neighbours(values, hidden, (3, 4))[0, :, 0]
    assert told[5].item() == pytest.approx(sum([0, 1, 2, 4, 8, 9, 10]) / 7)  # 6 is hidden too
    assert told[0].item() == pytest.approx(sum([1, 4]) / 2)
    hidden[:] = True
    hidden[0, 11] = False
    assert from_neighbours(values, hidden, (3, 4))[0, 0, 0].item() == 11  # nobody near
