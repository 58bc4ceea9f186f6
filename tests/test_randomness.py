"""Draws are even, independent, and functions of counters alone."""

import torch

from vit.randomness import keys, seed_generators, step_seed, uniform


def splitmix64(state: int) -> int:
    """The published finaliser in Python's unbounded integers."""
    mask = (1 << 64) - 1
    z = state & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def test_uniform_is_splitmix64_from_the_key():
    draws = uniform(torch.tensor([1234567]), 5)[0]
    golden = 0x9E3779B97F4A7C15
    expected = [(splitmix64(1234567 + i * golden) >> 40) / 2**24 for i in range(1, 6)]
    assert draws.tolist() == expected


def test_the_first_outputs_are_the_published_ones():
    # seed 1234567: first outputs of the reference splitmix64.c, as listed on Rosetta Code
    golden = 0x9E3779B97F4A7C15
    assert splitmix64(1234567 + golden) == 6457827717110365317
    assert splitmix64(1234567 + 2 * golden) == 3203168211198807973


def test_draws_are_even_and_uncorrelated():
    draws = uniform(keys(0, 3, torch.arange(4096), "mask"), 64)
    assert abs(draws.mean() - 0.5) < 0.002
    assert abs(draws.var() * 12 - 1) < 0.01
    neighbours = torch.corrcoef(torch.stack([draws[:, 0], draws[:, 1]]))[0, 1]
    assert abs(neighbours) < 0.05


def test_a_draw_does_not_depend_on_its_place_in_the_batch():
    index = torch.tensor([5, 9, 700])
    alone = uniform(keys(1, 2, index[1:2], "crop"), 8)
    assert torch.equal(uniform(keys(1, 2, index, "crop"), 8)[1:2], alone)


def test_seed_epoch_image_and_purpose_each_change_the_draw():
    base = (0, 0, torch.arange(1000), "mask")
    others = [
        (1, 0, base[2], "mask"),
        (0, 1, base[2], "mask"),
        (0, None, base[2], "mask"),
        (0, 0, base[2] + 1000, "mask"),
        (0, 0, base[2], "crop"),
    ]
    first = uniform(keys(*base), 1)[:, 0]
    for other in others:
        second = uniform(keys(*other), 1)[:, 0]
        assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 0.1


def test_a_hundred_thousand_keys_do_not_collide():
    found = torch.cat(
        [
            keys(seed, epoch, torch.arange(12500), purpose)
            for seed in (0, 1)
            for epoch in (0, None)
            for purpose in ("a", "b")
        ]
    )
    assert len(found.unique()) == 100_000


def test_step_seeds_differ_and_repeat():
    assert step_seed(0, "dropout", 1, 0) == step_seed(0, "dropout", 1, 0)
    assert (
        len({step_seed(0, "dropout", step, rank) for step in range(50) for rank in range(4)}) == 200
    )
    assert 0 <= step_seed("x") < 2**63


def test_seeded_generators_repeat_a_step():
    seed_generators(7, torch.device("cpu"))
    first = torch.rand(3)
    seed_generators(7, torch.device("cpu"))
    assert torch.equal(first, torch.rand(3))
