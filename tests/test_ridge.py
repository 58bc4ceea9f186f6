"""Ridge regression against scikit-learn's and least squares on stacked rows."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from vit.data import Digits
from vit.evaluate import ridge as module
from vit.evaluate.base import FrozenFeatures, Result, Task
from vit.evaluate.ridge import ridge


def features(count: int, width: int, seed: int) -> Tensor:
    """Correlated columns of unequal mean and spread."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(width, width, generator=torch.Generator().manual_seed(9), dtype=torch.double)
    rows = torch.randn(count, width, generator=generator, dtype=torch.double)
    return rows @ mix * torch.linspace(0.1, 10, width, dtype=torch.double) + 3


def problem(count: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    labels = torch.randint(0, 4, (count,), generator=torch.Generator().manual_seed(2))
    return features(count, width, 0), labels, features(50, width, 1)


def in_numpy(known: Tensor, labels: Tensor, queries: Tensor) -> tuple[np.ndarray, ...]:
    """The paper's steps by their definition: standardised, a constant of 100, targets +-1."""
    mean = known.numpy().sum(0) / len(known)
    deviation = np.sqrt(((known.numpy() - mean) ** 2).sum(0) / len(known)) + 1e-5
    rows = [np.c_[(part.numpy() - mean) / deviation, np.full(len(part), 100.0)]
            for part in (known, queries)]  # fmt: skip
    return *rows, np.where(labels.numpy()[:, None] == np.arange(4), 1.0, -1.0)


def by_scikit_learn(known: Tensor, labels: Tensor, queries: Tensor) -> np.ndarray:
    z, asked, targets = in_numpy(known, labels, queries)
    return Ridge(alpha=1024, fit_intercept=False, solver="svd").fit(z, targets).predict(asked)


def by_least_squares(known: Tensor, labels: Tensor, queries: Tensor) -> np.ndarray:
    """A penalty is D more rows: 32 times each unit vector, with target 0."""
    z, asked, targets = in_numpy(known, labels, queries)
    width = z.shape[1]
    rows = np.r_[z, 32 * np.eye(width)], np.r_[targets, np.zeros((width, 4))]
    return asked @ np.linalg.lstsq(*rows, rcond=None)[0]


def furthest(count: int, width: int) -> float:
    """Difference between ours and theirs, in scores that are about 1."""
    known, labels, queries = problem(count, width)
    scores = module._scores(known, labels, queries, 4, 1024.0).numpy()
    return max(
        np.abs(scores - other(known, labels, queries)).max()
        for other in (by_scikit_learn, by_least_squares)
    )


SHAPES = [(200, 12), (13, 12), (12, 12), (20, 300), (4, 50)]  # primal, primal, then dual


@pytest.mark.parametrize(("count", "width"), SHAPES)
def test_scores_are_those_of_scikit_learn_and_of_least_squares(count, width):
    assert furthest(count, width) < 1e-9


def test_another_deviation_or_bias_would_be_noticed(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(module, "BIAS", 1.0)
        assert furthest(200, 12) > 1e-3
    honest = Tensor.std
    monkeypatch.setattr(Tensor, "std", lambda rows, dim, correction: honest(rows, dim))
    assert furthest(200, 12) > 1e-4


def digits(split: str) -> FrozenFeatures:
    data = Digits().open(split)
    return FrozenFeatures({"pixels": data.images.flatten(1).float()}, data.labels)


def judged(train: FrozenFeatures, seed: int = 0, **settings) -> Result:
    queries = digits("test")
    return ridge(Task(train, queries[:0], queries, 10, seed), **settings)


def test_all_labels_come_first_and_shots_follow():
    result = judged(digits("train"), shots=(1, 5), draws=2)
    assert list(result.metrics) == ["accuracy", "accuracy_1shot", "accuracy_5shot"]
    assert list(result.per_image) == ["correct", "correct_1shot", "correct_5shot"]
    for name, value in result.metrics.items():
        correct = result.per_image[name.replace("accuracy", "correct")]
        assert len(correct) == 360
        assert value == correct.mean().item()
    assert result.metrics["accuracy"] > result.metrics["accuracy_5shot"] + 0.1
    assert result.metrics["accuracy_5shot"] > result.metrics["accuracy_1shot"] + 0.05


def test_a_draw_takes_so_many_of_each_class_and_contains_the_smaller_draws():
    train = digits("train")
    task, before = Task(train, train, train, 10), set()
    for shots in (1, 5, 10, 25):
        drawn = module._draw(task, 0, shots)
        assert torch.bincount(train.labels[drawn]).tolist() == [shots] * 10
        assert before < set(drawn.tolist())
        before = set(drawn.tolist())
    assert before != set(module._draw(task, 1, 25).tolist())
    assert before != set(module._draw(task._replace(seed=1), 0, 25).tolist())


def test_a_count_that_a_class_does_not_have_gives_no_figure():
    train = digits("train")
    nines = torch.where(train.labels == 9)[0]
    rows = torch.ones(1293, dtype=torch.bool)
    rows[nines[5:]] = False
    result = judged(train[rows], shots=(1, 5, 6), draws=1)
    assert list(result.metrics) == ["accuracy", "accuracy_1shot", "accuracy_5shot"]
    without = judged(train[train.labels != 9], draws=1)
    assert list(without.metrics) == ["accuracy"]


def test_drawing_every_label_is_using_every_label():
    train = digits("train")
    few = torch.cat([torch.where(train.labels == label)[0][:7] for label in range(10)])
    result = judged(train[few], shots=(7,))
    assert torch.equal(result.per_image["correct_7shot"], result.per_image["correct"])


def test_few_shots_are_the_mean_over_the_draws():
    train, queries = digits("train"), digits("test")
    task = Task(train, queries[:0], queries, 10)
    expected = torch.zeros(360, dtype=torch.double)
    for draw in range(3):
        few = train[module._draw(task, draw, 5)]
        expected += ridge(task._replace(train=few), shots=()).per_image["correct"] / 3
    result = ridge(task, shots=(5,), draws=3).per_image["correct_5shot"]
    torch.testing.assert_close(result, expected)


def test_every_setting_changes_the_id_and_the_seed_does_not():
    train = digits("train")
    names = [
        judged(train).id,
        judged(train, shots=(1,)).id,
        judged(train, draws=2).id,
        judged(train, l2=1.0).id,
        judged(train[:1000]).id,
    ]
    assert len(set(names)) == 5
    assert judged(train, seed=1).id == names[0]


@pytest.mark.parametrize("settings", [{"shots": (0,)}, {"draws": 0}, {"l2": 0.0}])
def test_a_wrong_setting_is_named(settings):
    with pytest.raises(ValueError, match=r"ridge: shots and draws .* got .*0"):
        judged(digits("train"), **settings)


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    judged(digits("train"), draws=1)
    assert torch.equal(torch.get_rng_state(), before)
