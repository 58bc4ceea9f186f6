"""Nearest neighbours against scikit-learn's, and votes by hand."""

from math import exp

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from vit.data import Digits
from vit.evaluate import knn as module
from vit.evaluate.base import FrozenFeatures, Result, Task
from vit.evaluate.knn import knn


def pixels(split: str) -> FrozenFeatures:
    data = Digits().open(split)
    return FrozenFeatures({"pixels": data.images.flatten(1).float()}, data.labels)


def ask(bank: FrozenFeatures, queries: FrozenFeatures, **settings) -> Result:
    """Nothing is chosen, so there is nothing to choose on."""
    return knn(Task(bank, queries[:0], queries, 10), **settings)


def scaled(frozen: FrozenFeatures, factor: object) -> FrozenFeatures:
    return FrozenFeatures({"pixels": frozen.features * factor}, frozen.labels)


def ours(k: int, temperature: float) -> list[int]:
    """Predicted classes: a query is right about the class it predicts and no other."""
    bank, queries = pixels("train"), pixels("test").pooled
    every = [
        ask(bank, FrozenFeatures(queries, torch.full((360,), label)), k=k, temperature=temperature)
        for label in range(10)
    ]
    return torch.stack([result.per_image["correct"] for result in every]).int().argmax(0).tolist()


def theirs(k: int, temperature: float) -> list[int]:
    """scikit-learn in float64; votes relative to the nearest, which no exponent can overflow."""
    bank = pixels("train")

    def weights(distance: np.ndarray) -> np.ndarray:
        return np.exp((distance.min(1, keepdims=True) - distance) / temperature)

    judge = KNeighborsClassifier(k, metric="cosine", weights=weights)
    judge.fit(bank.features.double().numpy(), bank.labels.numpy())
    return judge.predict(pixels("test").features.double().numpy()).tolist()


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (20, 0.07), (200, 0.07), (20, 1.0)])
def test_every_prediction_is_the_one_of_scikit_learn(k, temperature):
    assert ours(k, temperature) == theirs(k, temperature)


def test_a_sharp_temperature_does_not_overflow():
    assert ours(20, 0.01) == theirs(20, 0.01)


def test_accuracy_is_the_share_of_correct_images():
    queries = pixels("test")
    result = ask(pixels("train"), queries)
    correct = torch.tensor(theirs(20, 0.07)) == queries.labels
    assert torch.equal(result.per_image["correct"], correct)
    assert result.metrics["accuracy"] == correct.double().mean().item()


@pytest.mark.parametrize(("temperature", "winner"), [(0.07, 1), (1.0, 0)])
def test_the_temperature_decides_whether_one_close_or_two_far_neighbours_win(temperature, winner):
    rows = torch.tensor([[1.0, 0.0], [0.5, 0.75**0.5], [0.5, -(0.75**0.5)]])
    votes = [2 * exp(0.5 / temperature), exp(1 / temperature)]  # similarities 1/2, 1/2 and 1
    assert votes.index(max(votes)) == winner
    bank = FrozenFeatures({"": rows}, torch.tensor([1, 0, 0]))
    query = FrozenFeatures({"": torch.tensor([[2.0, 0.0]])}, torch.tensor([winner]))
    result = knn(Task(bank, query, query, 2), 3, temperature)
    assert result.metrics["accuracy"] == 1.0


def test_the_length_of_a_feature_does_not_count():
    bank, queries = pixels("train"), pixels("val")
    lengths = torch.rand(1293, 1) * 100 + 0.01
    first, second = ask(bank, queries), ask(scaled(bank, lengths), scaled(queries, 7))
    assert torch.equal(first.per_image["correct"], second.per_image["correct"])


@pytest.mark.parametrize("rows", [1, 7, 143])
def test_the_size_of_a_block_does_not_matter(monkeypatch, rows):
    whole = ask(pixels("train"), pixels("val"))
    monkeypatch.setattr(module, "ROWS", rows)
    cut = ask(pixels("train"), pixels("val"))
    assert torch.equal(cut.per_image["correct"], whole.per_image["correct"])


def test_a_bank_smaller_than_k_votes_as_a_whole():
    bank, queries = pixels("train")[:5], pixels("val")
    small, again = ask(bank, queries, k=20), ask(bank, queries, k=5)
    assert small.protocol["k"] == 5
    assert torch.equal(small.per_image["correct"], again.per_image["correct"])


def test_every_setting_changes_the_id_and_nothing_else_does():
    bank, queries = pixels("train"), pixels("val")

    def name(rows: int = 1293, shown: int = 144, **settings) -> str:
        return ask(bank[:rows], queries[:shown], **settings).id

    different = [name(), name(k=10), name(temperature=0.1), name(rows=1000)]
    assert len(set(different)) == 4
    assert name() == name(shown=10) == name(k=20, temperature=0.07)
    assert name().startswith("knn-")


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"k": 0}, "knn: k .* got 0"), ({"temperature": 0.0}, "knn: .*temperature .* 0.0")],
)
def test_a_wrong_setting_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        ask(pixels("train"), pixels("val"), **settings)
