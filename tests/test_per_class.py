"""Precision, recall and F1 are scikit-learn's, also of classes that nobody has or guesses."""

import numpy as np
import pytest
import torch
from sklearn.metrics import precision_recall_fscore_support

from vit.evaluate.per_class import per_class, worst

CLASSES = ("ant", "bee", "cat", "dog", "eel")
TRUTH = [0, 0, 1, 1, 1, 2, 2, 3]
GUESS = [0, 1, 1, 1, 0, 2, 2, 2]  # nobody guesses a dog; no eel anywhere


def counts() -> torch.Tensor:
    truth, guess = torch.tensor(TRUTH), torch.tensor(GUESS)
    return torch.stack(
        [part.bincount(minlength=5) for part in (truth[truth == guess], truth, guess)]
    )


def test_the_scores_are_scikit_learns():
    expected = precision_recall_fscore_support(TRUTH, GUESS, labels=range(5), zero_division=np.nan)
    for score, *values in zip(per_class(CLASSES, counts()), *expected, strict=True):
        given = (score.precision, score.recall, score.f1, score.images)
        assert given == pytest.approx(values, nan_ok=True)


def test_several_labels_count_each_label_alone():
    generator = torch.Generator().manual_seed(0)
    truth, guess = (torch.rand(30, 4, generator=generator) > 0.5 for _ in range(2))
    table = torch.stack([truth & guess, truth, guess]).sum(1)
    expected = precision_recall_fscore_support(truth.numpy(), guess.numpy())
    for score, *values in zip(per_class(CLASSES[:4], table), *expected, strict=True):
        assert (score.precision, score.recall, score.f1, score.images) == pytest.approx(values)


def test_the_worst_have_images_and_stand_lowest_first():
    scores = per_class(CLASSES, counts())
    assert [score.name for score in worst(scores, 3)] == ["dog", "ant", "bee"]  # F1 0, 1/2, 2/3
    assert [score.name for score in worst(scores, 9)][3:] == ["cat"]  # 4/5; nobody is an eel
