"""Raw pixels: known figures, and which classifier is asked."""

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from vit.batch import LoaderContext
from vit.data import Digits
from vit.evaluate.base import FrozenFeatures, Result, Task
from vit.evaluate.features import raw_pixels
from vit.evaluate.pixels import pixels


def halves() -> tuple[FrozenFeatures, FrozenFeatures]:
    """Digits 5 to 9, 448 and 448, normalised by the data's mean and deviation of 0.5."""
    digits = load_digits()
    rows = digits.target >= 5
    images, labels = torch.tensor(digits.data[rows]), torch.tensor(digits.target[rows] - 5)
    every = FrozenFeatures({"pixels": (images.float() / 16 - 0.5) / 0.5}, labels)
    train, test = train_test_split(range(896), test_size=448, stratify=labels, random_state=0)
    return every[train], every[test]


def judged(train: FrozenFeatures, queries: FrozenFeatures, **settings) -> Result:
    return pixels(Task(train, queries[:0], queries, 5), **settings)


@pytest.mark.parametrize(
    ("shots", "percent", "spread"),
    [(1, 72.8, 8.2), (5, 92.0, 2.7), (10, 94.8, 1.4), (25, 97.4, 1.3), (100, 98.8, 0.5)],
)
def test_figures_of_the_pilot_study_come_out(shots, percent, spread):
    """Its spread is over draws of the labels; here is the mean of 20."""
    train, queries = halves()
    found = []
    for draw in range(20):
        order = torch.randperm(448, generator=torch.Generator().manual_seed(draw))
        labels = train.labels[order]
        rows = torch.cat([order[labels == label][:shots] for label in range(5)])
        found.append(100 * judged(train[rows], queries).metrics["accuracy"])
    assert sum(found) / 20 == pytest.approx(percent, abs=max(spread / 2, 0.5))


@pytest.mark.parametrize(
    ("settings", "judge", "classifier"),
    [
        ({"limit": 448, "svm_c": 0.1}, SVC(C=0.1), "svm"),
        ({"limit": 447, "logistic_c": 0.001}, LogisticRegression(C=0.001), "logistic"),
    ],
)
def test_the_number_of_images_decides_which_classifier_is_asked(settings, judge, classifier):
    train, queries = halves()
    result = judged(train, queries, **settings)
    judge.fit(train.features.numpy(), train.labels.numpy())
    answers = torch.from_numpy(judge.predict(queries.features.numpy()))
    assert torch.equal(result.per_image["correct"], answers == queries.labels)
    assert result.protocol["classifier"] == classifier


def test_an_unfinished_regression_is_noted_and_no_warning():
    train, queries = halves()
    assert judged(train, queries, limit=0, iterations=3).notes == {"iterations": 3}


def test_every_setting_that_moves_the_figure_changes_the_id():
    train, queries = halves()
    few = {"limit": 0}
    changes = [{}, {"svm_c": 2.0}, few, few | {"logistic_c": 1.0}, few | {"iterations": 2}]
    names = [judged(train, queries, **change).id for change in changes]
    assert len({*names, judged(train[:99], queries).id}) == 6


@pytest.mark.parametrize(
    "settings", [{"svm_c": 0.0}, {"logistic_c": -1.0}, {"limit": -1}, {"iterations": 0}]
)
def test_a_wrong_setting_is_named(settings):
    with pytest.raises(ValueError, match=r"pixels: svm_c .* got"):
        judged(*halves(), **settings)


def test_pixels_of_large_images_are_shrunk_and_small_ones_are_not():
    for canvas, side in ((24, 24), (40, 32)):
        data = Digits(canvas=canvas)
        rows = raw_pixels(data, "val", LoaderContext())
        assert rows.pooled["pixels"].shape == (144, side * side)
