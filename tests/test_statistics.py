"""The comparison of arms by hand, and its false alarms where the truth is known."""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from scipy import stats

from simulation import (
    ADVISED,
    EQUAL,
    HARD,
    NOISY,
    SEEDS,
    SHAPES,
    Design,
    broken,
    excess,
    odd,
    promises,
    rehearse,
    study,
)
from vit.compare import statistics
from vit.compare.intervals import half_width, holm
from vit.compare.mean_squares import MeanSquares, components, mean_products, of_differences
from vit.compare.odd_seeds import OddSeed, odd_seeds
from vit.compare.power import detectable, expected, power
from vit.compare.statistics import Advice, Noise, compare_arms

# ---- where the truth is known -------------------------------------------------------------------


@pytest.mark.parametrize("design", EQUAL, ids=lambda x: x.label)
def test_equal_arms_are_rarely_separated_and_intervals_hold_the_truth(design):
    assert not excess(rehearse(design, 400)["recipe"], 400)


@pytest.mark.parametrize("design", SHAPES, ids=lambda x: x.label)
def test_so_they_are_with_draws_folds_groups_and_up_to_ten_arms(design):
    record = rehearse(design, 100)["recipe"]
    assert not excess(record, 100)
    assert record.flagged <= 0.01 * design.arms + 2 * sqrt(0.01 * design.arms / 100)


def test_a_noisy_arm_among_eight_is_covered_and_separates_nobody():
    for design in NOISY[2::3]:
        record = rehearse(design, 200)["recipe"]
        assert not excess(record, 200, coverage=0.92)
        assert record.first >= 0.92


def test_the_wrong_methods_fail_where_the_recipe_passes():
    records = rehearse(HARD, 600, wrong=True)
    faults = {name: len(excess(record, 600)) for name, record in records.items()}
    assert faults == {"recipe": 0, "paired t over seeds": 2, "images only": 2}


def test_an_arm_that_is_twenty_points_better_is_named_and_its_equals_are_not_separated():
    record = rehearse(Design(360, 5, 4, 0.6, gain=0.2), 300)["recipe"]
    assert record.named > 0.97
    assert not excess(record, 300)


@pytest.mark.parametrize("design", [ADVISED[i] for i in (6, 8, 9)], ids=lambda x: x.label)
def test_doubling_delivers_what_was_promised_within_a_fifth(design):
    rows, seeds = promises(design, 20, 80)
    assert not broken(rows)
    assert seeds <= 0.1 or design.seed_sd > 0


def test_a_lost_seed_is_named_and_a_sound_one_is_not():
    for design in (SEEDS[10], SEEDS[21]):
        assert odd(design, 300)[0] <= 0.01 + 2 * sqrt(0.01 / 300)
        assert odd(design, 100, lost=0.3)[1] >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize(
    "design", [*EQUAL, HARD, *SHAPES, Design(10000, 3, 4, seed_sd=0.01)], ids=lambda x: x.label
)
def test_many_rehearsals_at_other_correlations_agree(design):
    repetitions = 300 if design.images > 2000 or design.arms > 4 else 1500
    for correlation in (0.3, 0.6):
        record = rehearse(design._replace(correlation=correlation), repetitions, seed=1)["recipe"]
        assert not excess(record, repetitions)


@pytest.mark.slow
@pytest.mark.parametrize("design", ADVISED, ids=lambda x: x.label)
def test_every_promise_is_kept(design):
    assert not broken(promises(design, 100, 300)[0])


# ---- by hand and by least squares ---------------------------------------------------------------


def table(seed: int, arms: int, seeds: int, images: int) -> dict[str, np.ndarray]:
    draws = np.random.default_rng(seed).integers(0, 5, (arms, seeds, images)) / 4
    draws[0, 0] *= 0.2 * seed  # an arm with one odd seed
    return dict(zip("abcde", draws, strict=False))


def left(values: np.ndarray, *terms: np.ndarray) -> float:
    """The sum of squares that a least-squares fit of these columns leaves."""
    columns = np.hstack(terms)
    fit = columns @ np.linalg.lstsq(columns, values.ravel(), rcond=None)[0]
    return ((values.ravel() - fit) ** 2).sum()


def interval_by_fits(values: np.ndarray, pool: float, freedom: int) -> tuple[float, float]:
    """Sums of squares are what least squares leaves with and without seeds or images."""
    (n, m), cells = values.shape, [axis.ravel() for axis in np.indices(values.shape)]
    by_seed, by_image = np.eye(n)[cells[0]], np.eye(m)[cells[1]]
    rest = left(values, by_seed, by_image)
    error = rest / ((n - 1) * (m - 1))
    seeds = (left(values, by_image) - rest) / (n - 1)
    image = ((left(values, by_seed) - rest) / (m - 1) - error) / (n * m)
    variance, pool = max(seeds, error), max(pool, error)
    freedom = (n - 1) + (freedom - (n - 1)) * min(pool / variance, 1)
    t = stats.t.ppf(0.975, freedom)
    half = sqrt(t**2 * max(variance, pool) / (n * m) + 1.959964**2 * max(image, 0))
    return values.mean() - half, values.mean() + half


def noisy_by_scipy(accuracy: np.ndarray) -> list[int]:
    """Arms whose difference to the mean of the others varies too much, by a plain F test once."""
    K, n = accuracy.shape
    noisy = []
    for one in range(K):
        others = np.delete(accuracy, one, 0)
        against = (accuracy[one] - others.mean(0)).var(ddof=1) / (1 + 1 / (K - 1))
        inner = others - others.mean(0) - others.mean(1, keepdims=True) + others.mean()
        within = (inner**2).sum() / ((K - 2) * (n - 1))
        noisy += [one] if stats.f.sf(against / within, n - 1, (K - 2) * (n - 1)) < 0.01 else []
    return noisy


@pytest.mark.parametrize("noisy", [[], ["a"]])
def test_every_interval_is_the_one_of_the_reference_by_least_squares(noisy):
    arms = table(5, 4, 3, 60)
    for name in noisy:
        arms[name] *= np.array([[0.0], [1.0], [0.4]])
    accuracy = np.array([values.mean(1) for values in arms.values()])  # K n
    assert ["abcd"[one] for one in noisy_by_scipy(accuracy)] == noisy
    calm = accuracy[["abcd".index(name) for name in arms if name not in noisy]]
    inner = calm - calm.mean(1, keepdims=True) - calm.mean(0) + calm.mean()
    between = 2 * 60 * (inner**2).sum() / ((len(calm) - 1) * 2)
    comparison, within = compare_arms(arms), 60 * calm.var(1, ddof=1).mean()
    assert (len(comparison.pairs), comparison.noisy) == (6, tuple(noisy))
    for pair in comparison.pairs:
        alone = {pair.first, pair.second} & set(noisy)
        freedom = 2 if alone else 2 * (len(calm) - 1)
        wanted = interval_by_fits(arms[pair.first] - arms[pair.second], between, freedom)
        assert (pair.low, pair.high) == pytest.approx(wanted)
        parts = pair.seed_variance, pair.image_variance, pair.freedom
        assert half_width(pair.p, *parts) == pytest.approx(abs(pair.value))  # touches 0
        assert pair.p_at(0.0) == pytest.approx(pair.p)
        assert pair.p_at(pair.low) == pytest.approx(0.05)
    for name, arm in comparison.arms.items():
        pool, freedom = (0, 2) if name in noisy else (within, 2 * len(calm))
        wanted = np.clip(interval_by_fits(arms[name], pool, freedom), 0, 1)
        assert (arm.low, arm.high) == pytest.approx(tuple(wanted))


@pytest.mark.parametrize("seeds", [[0.0, 1.0, 0.3, 0.9, 0.5], [0.6, 0.6, 0.1, 0.6, 0.6]])
def test_other_pairs_do_not_notice_a_noisy_arm_or_a_collapsed_seed(seeds):
    arms = table(5, 4, 5, 60)
    loud = {**arms, "e": np.repeat(np.array(seeds)[:, None], 60, 1)}
    comparison, alone = compare_arms(loud), compare_arms(arms)
    assert (alone.noisy, comparison.noisy) == ((), ("e",))
    same = [replace(x, holm=None) for x in comparison.pairs if "e" not in (x.first, x.second)]
    assert same == [replace(x, holm=None) for x in alone.pairs]
    assert comparison.noise == alone.noise


def test_nested_mean_squares_are_those_of_least_squares():
    x = np.random.default_rng(0).random((1, 3, 2, 5))
    seed, draw, image = (axis.ravel() for axis in np.indices((3, 2, 5)))
    by_seed, by_image, by_draw = np.eye(3)[seed], np.eye(5)[image], np.eye(6)[2 * seed + draw]
    by_cell = np.eye(15)[5 * seed + image]
    main, cells, full = (
        left(x, by_seed, by_image), left(x, by_cell), left(x, by_cell, by_draw)
    )  # fmt: skip
    wanted = [
        (left(x, by_image) - main) / 2, (cells - full) / 3, (left(x, by_seed) - main) / 4,
        (main - cells) / 8, full / 12,
    ]  # fmt: skip
    assert [y.item() for y in mean_products(x)] == pytest.approx(wanted)


def test_the_mean_square_of_a_difference_follows_from_products():
    x = np.random.default_rng(1).random((3, 4, 2, 6))
    gap = mean_products((x[0] - x[2])[None])
    assert [of_differences(y)[0, 2] for y in mean_products(x)] == pytest.approx(
        [y.item() for y in gap]
    )


def variances(x: np.ndarray) -> Noise:
    squares = (y.item() for y in mean_products(x[None]))
    return components(MeanSquares(*squares), *x.shape)


def test_variances_come_back_out_of_tables_that_were_made_of_them():
    rng, (n, d, m) = np.random.default_rng(0), (6, 4, 80)
    made = Noise(seed=4.0, draw=3.0, image=2.0, residual=5.0, seed_image=1.0)
    sizes = (n, 1, 1), (n, d, 1), (1, 1, m), (n, d, m), (n, 1, m)
    tables = [
        sum(sqrt(part) * rng.standard_normal(size) for part, size in zip(made, sizes, strict=True))
        for _ in range(400)
    ]
    squares = [variances(x) for x in tables]
    assert np.mean(squares, 0) == pytest.approx(np.array(made), rel=0.12)
    single = [variances(x[:, :1]) for x in tables]
    wanted = Noise(seed=7.0, draw=0.0, image=2.0, residual=6.0)  # a draw is part of its seed
    assert np.mean(single, 0) == pytest.approx(np.array(wanted), rel=0.12)


def test_folds_widen_the_seed_component_and_nothing_else():
    arms = table(5, 3, 3, 60)
    whole, folded = compare_arms(arms), compare_arms(arms, folds=5)
    for one, two in zip(whole.pairs, folded.pairs, strict=True):
        error = mean_products((arms[one.first] - arms[one.second])[None, :, None]).cell.item() / 180
        more = 1 + 3 * 5 / 4  # (1 / n + k / (k - 1)) / (1 / n)
        assert two.seed_variance == pytest.approx(error + more * (one.seed_variance - error))
        assert two.image_variance == one.image_variance


def test_two_seeds_on_four_images_by_hand():
    """Seed means .5 and .75, so MS_S = MS_I = 1/8 under MS_E = 11/24: only the floor is left."""
    first, second = [[1, 1, 1, 0], [1, 1, 0, 1]], [[1, 0, 0, 0], [0, 0, 0, 0]]
    found = compare_arms({"a": np.array(first), "b": np.array(second)})
    pair = found.pairs[0]
    squares = mean_products((np.array(first) - np.array(second))[None, :, None])
    assert (squares.seed, squares.image, squares.cell) == (1 / 8, 1 / 8, pytest.approx(11 / 24))
    assert (pair.value, pair.image_variance, pair.freedom) == (0.625, 0.0, 1)
    assert pair.seed_variance == pytest.approx(11 / 24 / 8)
    assert pair.high - pair.value == pytest.approx(12.7062 * 0.239357, rel=1e-5)  # t table
    assert pair.p == pytest.approx(1 - 2 / np.pi * np.arctan(0.625 / 0.239357), rel=1e-5)
    assert (pair.holm, found.winner) == (pair.p, None)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_identical_arms_differ_by_exactly_nothing():
    one = table(1, 1, 3, 20)["a"]
    found = compare_arms({"a": one, "b": one.copy(), "c": one.copy()})
    assert {(x.value, x.low, x.high, x.p, x.holm) for x in found.pairs} == {(0, 0, 0, 1, 1)}
    assert found.winner is None
    perfect = compare_arms({"a": np.ones((2, 5)), "b": np.zeros((2, 5))})
    assert (perfect.winner, perfect.pairs[0].low, perfect.pairs[0].p) == ("a", 1.0, 0.0)


def test_one_arm_has_an_interval_and_no_pair():
    arms = table(3, 1, 3, 90)
    found, wanted = compare_arms(arms), interval_by_fits(arms["a"], 0.0, 2)
    assert (found.arms["a"].low, found.arms["a"].high) == pytest.approx(wanted)
    assert (found.pairs, found.winner) == ([], None)


def test_images_of_a_group_are_one_unit():
    arms = table(1, 3, 3, 20)
    twice = {name: np.repeat(values, 2, 1) for name, values in arms.items()}
    single, grouped = compare_arms(arms), compare_arms(twice, groups=np.repeat(np.arange(20), 2))
    assert (grouped.pairs, grouped.arms) == (single.pairs, single.arms)
    parts = [x.noise.residual / x.arms["a"].images for x in (compare_arms(twice), single)]
    assert parts[0] < 0.6 * parts[1]  # without groups a copy counts as news
    uneven = compare_arms(arms, groups=np.array(["x"] * 5 + ["y"] * 15)).arms["b"]
    halves = arms["b"][:, :5].mean(), arms["b"][:, 5:].mean()
    assert (uneven.value, uneven.images) == pytest.approx((sum(halves) / 2, 2))


def test_controls_stay_outside_the_pool_and_the_family():
    arms = table(5, 4, 3, 30)
    noisy = {**arms, "e": np.repeat([[0.0], [0.5], [1.0]], 30, 1)}
    found, alone = compare_arms(noisy, controls=("e",)), compare_arms(arms)
    assert found.family == alone.pairs
    assert {name: found.arms[name] for name in arms} == alone.arms
    assert [(x.second, x.holm) for x in found.pairs[6:]] == [("e", None)] * 4
    assert found.arms["e"].seed_variance == pytest.approx(0.25 / 3)
    single = compare_arms({name: arms[name] for name in "ab"}, controls=("b",))
    assert (single.winner, single.family, single.pairs[0].freedom) == (None, [], 2)


REFUSED = [
    ({"a": np.ones((3, 4)), "mae": np.ones((2, 4))}, {}, r"mae has \(2, 4\), seeds"),
    ({"a": np.ones((3, 4)), "mae": np.full((3, 4), np.nan)}, {}, "mae .* none missing"),
    ({"a": np.ones((1, 4))}, {}, "one seed gives no interval"),
    ({"a": np.ones((3, 4))}, {"groups": np.zeros(3)}, "3 groups, 4 images"),
    ({"a": np.ones((3, 4))}, {"controls": ("pixels",)}, "controls .*pixels"),
]


@pytest.mark.parametrize(("arms", "settings", "message"), REFUSED)
def test_what_cannot_be_compared_is_refused_by_name(arms, settings, message):
    with pytest.raises(ValueError, match=f"^statistics: .*{message}"):
        compare_arms(arms, **settings)


TABLE = {  # per cent seen at these seeds, from a program with other freedom; known to about 7
    Design(180, 0, 3, 0.9): {3: 3, 5: 16, 10: 28}, Design(360, 0, 4): {3: 3, 5: 13.5},
    Design(850, 0, 3, 0.9): {3: 29, 5: 67, 10: 91}, Design(2000, 0, 3): {3: 38, 5: 81, 10: 96},
    Design(10000, 0, 4, seed_sd=0.002): {3: 98}, Design(10000, 0, 4, seed_sd=0.005): {3: 82},
    Design(10000, 0, 4, seed_sd=0.01): {3: 44, 5: 84},
}  # fmt: skip


def planned(design: Design) -> float:
    noise = expected(design.accuracy + design.gain / 2, design.seed_sd, design.correlation)
    return power(design.gain, design.seeds, design.images, design.arms, noise)


@pytest.mark.parametrize("design", TABLE, ids=str)
def test_power_for_three_points_is_the_tables(design):
    found = {n: 100 * planned(design._replace(gain=0.03, seeds=n)) for n in TABLE[design]}
    assert found == pytest.approx(TABLE[design], abs=10)


def test_power_is_the_simulated_fraction_of_separated_pairs():
    for design in (Design(360, 5, 4, gain=0.06), Design(850, 3, 5, 0.9, gain=0.04)):
        record = rehearse(design, 300)["recipe"]
        assert planned(design) == pytest.approx(record.power, abs=0.06)


def test_the_detectable_difference_is_seen_four_times_in_five():
    assert power(detectable(3, 360, 4, expected()), 3, 360, 4, expected()) == pytest.approx(0.8)
    assert detectable(2, 4, 5, Noise(1, 0, 1, 1)) == 1.0
    assert detectable(3, 360, 2, Noise(0, 0, 0, 0)) == pytest.approx(0, abs=1e-5)
    with pytest.raises(ValueError, match="statistics: 1 seeds"):
        detectable(1, 360, 4, expected())


def test_draws_and_folds_count_in_what_can_be_seen():
    drawn = Noise(0.0, 1e-2, 1e-6, 0.0)
    one, four = (detectable(5, 360, 4, drawn, draws=d) for d in (1, 4))
    assert one / four == pytest.approx(2, rel=0.01)  # only draws: their variance is a quarter
    seeds = Noise(1e-3, 0.0, 0.0, 0.0)
    whole, folds = (detectable(5, 360, 4, seeds, folds=k) for k in (1, 5))
    assert folds / whole == pytest.approx(sqrt(1 + 5 * 5 / 4), rel=0.01)


def test_advice_names_what_is_noisy():
    rng = np.random.default_rng(3)
    for design, best in {
        Design(200, 5, 4, seed_sd=0.0, correlation=0.1): "test images",
        Design(5000, 5, 4, seed_sd=0.05): "seeds",
        Design(5000, 5, 4, seed_sd=0.0, draws=4, draw_sd=0.08): ("label draws", "seeds"),
    }.items():
        comparison = compare_arms(dict(zip("abcd", study(rng, design), strict=True)))
        told = statistics.advice(comparison)
        assert told.best in best
        assert set(told.doubled) == {"seeds", "test images", *["label draws"] * (design.draws > 1)}


def test_two_seeds_are_too_few_for_advice():
    assert statistics.advice(compare_arms(table(1, 4, 2, 30))) == Advice(None, {})
    assert statistics.advice(compare_arms(table(1, 1, 4, 30))) == Advice(None, {})


def test_noise_is_named_apart():
    rng = np.random.default_rng(0)
    design = Design(2000, 6, 4, seed_sd=0.0, draws=5, draw_sd=0.05)
    tables = dict(zip("abcd", study(rng, design), strict=True))
    fractions = compare_arms(tables).noise_fractions
    assert list(fractions) == ["test images", "seeds", "label draws", "residual"]
    assert fractions["label draws"] > 0.5 > 0.3 > fractions["seeds"]
    assert sum(fractions.values()) == pytest.approx(1)
    single = {name: x[:, :1] for name, x in tables.items()}
    assert "seeds and label draws" in compare_arms(single, drawn=True).noise_fractions
    assert list(compare_arms(single).noise_fractions) == ["test images", "seeds", "residual"]


def test_a_table_with_one_draw_is_a_table_without():
    arms = table(5, 3, 3, 30)
    assert compare_arms({name: x[:, None] for name, x in arms.items()}) == compare_arms(arms)


def test_draws_are_averaged_in_their_seed():
    x = np.random.default_rng(2).integers(0, 2, (3, 4, 5, 40)).astype(float)
    drawn = compare_arms(dict(zip("abc", x, strict=True)))
    averaged = compare_arms(dict(zip("abc", x.mean(2), strict=True)))
    for one, two in zip(drawn.pairs, averaged.pairs, strict=True):
        assert (one.low, one.high, one.p) == pytest.approx((two.low, two.high, two.p))


def test_measured_noise_is_the_expected_one():
    rng, design = np.random.default_rng(0), Design(4000, 30, 3, seed_sd=0.02)
    studies = [dict(zip("abc", study(rng, design), strict=True)) for _ in range(8)]
    noise = np.mean([compare_arms(arms).noise for arms in studies], 0)
    assert noise == pytest.approx(tuple(expected(seed_sd=0.02)), rel=0.12)


# ---- odd seeds ----------------------------------------------------------------------------------


def accuracies(*rows: list[float]) -> dict[str, np.ndarray]:
    return {
        name: np.repeat(np.array(row)[:, None], 50, 1)
        for name, row in zip("abcdefg", rows, strict=False)
    }


def test_a_collapsed_seed_is_named_with_its_arms_others():
    arms = accuracies([0.8, 0.79, 0.3, 0.81], [0.7, 0.71, 0.72, 0.7], [0.75, 0.75, 0.77, 0.76])
    assert odd_seeds(arms) == [OddSeed("a", 2, pytest.approx(0.3), pytest.approx(0.8))]


def test_two_collapsed_seeds_of_one_arm_do_not_cover_for_each_other():
    arms = accuracies([0.8, 0.3, 0.79, 0.31, 0.81], [0.7, 0.71, 0.72, 0.7, 0.71])
    assert [(x.arm, x.seed) for x in odd_seeds(arms)] == [("a", 1), ("a", 3)]


def test_an_arm_whose_every_seed_varies_has_no_odd_one():
    calm = [[0.7, 0.71, 0.72, 0.7, 0.71], [0.71, 0.7, 0.7, 0.72, 0.7]] * 3
    assert odd_seeds(accuracies([0.5, 0.8, 0.6, 0.9, 0.7], *calm)) == []


def test_label_draws_that_all_arms_share_neither_are_odd_nor_cover_what_is():
    shared = [
        [0.60, 0.30, 0.71, 0.20, 0.65],
        [0.50, 0.21, 0.60, 0.10, 0.54],
        [0.55, 0.25, 0.65, 0.16, 0.60],
    ]
    assert odd_seeds(accuracies(*shared)) == []
    shared[2][2] = 0.3  # as low as other seeds, and far from what this draw gives the others
    assert [(x.arm, x.seed) for x in odd_seeds(accuracies(*shared))] == [("c", 2)]


def test_two_seeds_cannot_say_which_is_odd():
    assert odd_seeds(accuracies([0.8, 0.1], [0.7, 0.7])) == []


def test_one_image_more_or_less_is_not_odd():
    assert odd_seeds(accuracies([1.0, 1.0, 0.98, 1.0], [1.0] * 4, [1.0] * 4)) == []
