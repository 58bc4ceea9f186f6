"""A loss that is not finite: which step, which images, in how many words."""

from pathlib import Path

import pytest
import torch
from torch import distributed as dist

from launch import CONTEXT
from vit.finite import RecentLosses
from vit.objectives.base import Losses

NAN, INF = float("nan"), float("inf")


def losses(*each: float) -> Losses:
    values = torch.tensor(each)
    return Losses(values.mean(), {"loss": values}, {})


def said(*kept: tuple[int, tuple[float, ...], tuple[int, ...]]) -> str:
    """The message after some micro-batches of (step, losses, sample numbers)."""
    recent = RecentLosses()
    for step, each, index in kept:
        recent.add(step, losses(*each), torch.tensor(index))
    with pytest.raises(FloatingPointError) as caught:
        recent.check()
    return str(caught.value)


@pytest.mark.parametrize("wrong", [NAN, INF, -INF])
def test_it_names_the_image_and_the_step_counted_from_one(wrong):
    told = said((6, (0.1, wrong, 0.3), (40, 7, 12)))
    assert told.startswith("train/loss is not finite from step 7 on (training image 7): ")


def test_it_names_several_images_in_order():
    assert "(training images 3, 9, 40):" in said((0, (NAN, INF, 1.0, NAN), (40, 9, 1, 3)))


def test_it_names_ten_and_counts_the_others():
    told = said((0, (NAN,) * 13 + (1.0,), tuple(range(100, 114))))
    assert f"(training images {', '.join(str(n) for n in range(100, 110))} and 3 more):" in told


def test_the_first_of_several_steps_is_named():
    fine, bad = (1.0, 1.0), (NAN, 1.0)
    told = said((4, fine, (0, 1)), (5, bad, (2, 3)), (6, bad, (4, 5)), (7, fine, (6, 7)))
    assert "from step 6 on (training image 2)" in told


def test_a_whole_batch_means_that_the_weights_were_damaged_before():
    told = said((2, (NAN, NAN, INF), (0, 1, 2)))
    assert "(every image of the batch, so the weights were damaged before)" in told
    assert "training image" not in told


def test_a_batch_of_one_names_its_image():
    assert "(training image 5)" in said((2, (NAN,), (5,)))


def test_padding_is_not_named():
    assert "(training image 8)" in said((2, (NAN, NAN, 1.0), (-1, 8, 9)))


def test_an_objective_without_losses_of_images_blames_the_batch():
    recent = RecentLosses()
    recent.add(0, Losses(torch.tensor(NAN), {}, {}), torch.tensor([4, 5]))
    with pytest.raises(FloatingPointError, match="every image of the batch"):
        recent.check()


def test_a_loss_that_overflows_only_as_a_whole_blames_no_image():
    recent = RecentLosses()
    whole = Losses(torch.tensor(INF), {"loss": torch.tensor([1.0, 2.0])}, {})
    recent.add(0, whole, torch.tensor([4, 5]))
    with pytest.raises(FloatingPointError) as caught:
        recent.check()
    assert "training image )" not in str(caught.value)


def test_finite_losses_pass_and_nothing_is_kept_after_a_look():
    recent = RecentLosses()
    recent.check()
    recent.add(0, losses(1.0, 2.0), torch.tensor([0, 1]))
    recent.check()
    assert recent.kept == []
    recent.add(1, losses(NAN, 2.0), torch.tensor([0, 1]))
    with pytest.raises(FloatingPointError):
        recent.check()
    recent.add(2, losses(1.0, 2.0), torch.tensor([0, 1]))
    recent.check()


def test_what_is_kept_holds_no_graph():
    recent, weight = RecentLosses(), torch.ones(2, requires_grad=True)
    recent.add(0, Losses((2 * weight).mean(), {"loss": 2 * weight}, {}), torch.tensor([0, 1]))
    assert not any(tensor.requires_grad for tensor in recent.kept[0][1:])


def _judge(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    recent = RecentLosses()
    recent.add(0, losses(1.0, 1.0), torch.tensor([10 * rank, 10 * rank + 1]))
    each = (1.0, INF) if rank else (1.0, 1.0)
    recent.add(1, losses(*each), torch.tensor([10 * rank + 2, 10 * rank + 3]))
    try:
        recent.check()
        told = "nothing"
    except FloatingPointError as error:
        told = str(error)
    (folder / str(rank)).write_text(told)
    dist.destroy_process_group()


def test_every_rank_hears_of_another_ranks_image(tmp_path):
    ranks = [CONTEXT.Process(target=_judge, args=(rank, tmp_path)) for rank in (0, 1)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(60)
    told = {(tmp_path / str(rank)).read_text() for rank in (0, 1)}
    assert len(told) == 1
    assert "from step 2 on (training image 13)" in told.pop()
