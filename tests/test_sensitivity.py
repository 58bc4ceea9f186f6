"""What a study is promised to see, held against what the results of the shipped studies give."""

import csv
from math import sqrt

import numpy as np
import pytest

from launch import ROOT
from vit.compare import power
from vit.compare.sensitivity import Size

RECORDS = [  # primary endpoints: task, place on the axis, labels, classes, images, folds, drawn
    ("2026-11-21_quick", "digits", "", 50, 5, 448, 1, True),
    ("2026-11-21_digits_study", "cluttered", "", 50, 5, 448, 1, True),
    ("2026-11-21_digits_study", "cluttered", "5.0", 25, 5, 448, 1, True),
    ("2026-11-21_digits_study", "cluttered", "25.0", 125, 5, 448, 1, True),
    ("2026-11-28_digits_all", "cluttered", "", 50, 5, 448, 1, True),
    ("2026-11-21_cifar_cpu", "cifar10", "", 2500, 10, 10000, 1, True),
    ("2026-11-28_cifar_classes", "cifar10", "", 250, 5, 5000, 1, True),
    ("2026-11-22_vtab_cifar", "cifar", "", 1000, 100, 10000, 1, False),
    ("2026-11-22_flowers12", "mine", "", 345, 12, 480, 5, False),
]


def accuracies(record: str, task: str, value: str) -> np.ndarray:
    """Arms x seeds: each fine-tuned arm's accuracy."""
    arms: dict[str, dict[int, float]] = {}
    with (ROOT / "logs" / "records" / record / "results.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            place = row["data"], row["protocol"], row["value"], row["status"]
            if place == (task, "finetune", value, "done"):
                arms.setdefault(row["arm"], {})[int(row["seed"])] = float(row["accuracy"])
    return np.array([[seeds[seed] for seed in sorted(seeds)] for seeds in arms.values()])


def noise_of(table: np.ndarray, images: int) -> power.Noise:
    """Seeds' part: the interaction of arms and seeds; images' part: from the mean accuracy.

    One draw a seed: what draws add cannot be told from the seeds'.
    """
    arms, seeds = table.shape
    rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    interaction = (rest**2).sum() / ((arms - 1) * (seeds - 1))
    noise = power.expected(table.mean(), 0.0)
    return noise._replace(seed=max(2 * interaction - noise.residual / images, 0.0))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: f"{record[0][11:]} {record[2]}")
def test_a_promise_is_within_a_quarter_of_what_the_results_give(record):
    name, task, value, labels, classes, images, folds, drawn = record
    table = accuracies(name, task, value)
    arms, seeds = table.shape[0], max(table.shape[1], 3)  # below three nothing is promised
    given = power.detectable(seeds, images, arms, noise_of(table, images), folds=folds)
    promised = Size(arms, seeds, 1, images, folds, labels, classes, drawn).detectable()
    print(f"{name}: {100 * promised:.2f} points promised, {100 * given:.2f} by its results")
    assert promised == pytest.approx(given, rel=0.25)


def test_the_results_of_quick_give_what_its_report_said():
    """Its report said 8.8 points; it knew each image, which results.csv does not."""
    table = accuracies("2026-11-21_quick", "digits", "")
    assert table.shape == (4, 5)
    given = power.detectable(5, 448, 4, noise_of(table, 448))
    assert given == pytest.approx(0.088, rel=0.1)


def test_the_spread_of_seeds_by_hand():
    """Five classes: accuracy 1 / sqrt(5) = .447; 50 labels: sqrt(.447 x .553 / 50) = .0703."""
    size = Size(4, 5, 1, 448, 1, 50, 5, True)
    assert size.accuracy == pytest.approx(0.4472, abs=1e-4)
    assert size.spread == pytest.approx(0.25 * 0.0703, rel=1e-3)


def test_draws_help_only_where_labels_are_drawn():
    few, all_labels = (Size(4, 5, 1, 448, 1, 50, 5, drawn) for drawn in (True, False))
    assert few.detectable(draws=2) < few.detectable()
    assert set(few.doubled) == {"seeds", "label draws", "test images"}
    assert set(all_labels.doubled) == {"seeds", "test images"}


def test_a_promise_falls_as_the_study_grows():
    size = Size(4, 5, 5, 448, 1, 50, 5, True)
    assert max(size.doubled.values()) < size.detectable()
    more_labels = Size(4, 5, 5, 448, 1, 500, 5, True)
    assert more_labels.detectable() < size.detectable()
    assert more_labels.spread == pytest.approx(size.spread / sqrt(10))
