"""Counts and surest mistakes do not depend on batches; several labels count each alone."""

import pytest
import torch
from sklearn.metrics import confusion_matrix

from vit.callbacks.confusions import Confusions
from vit.metrics import Answers

CPU = torch.device("cpu")


def answers(count: int = 60) -> tuple[Answers, torch.Tensor]:
    """Answers of three classes, many of them equally sure, and images that show their index."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(1, 4, (count, 3), generator=generator).float().softmax(1)
    labels = torch.randint(0, 3, (count,), generator=generator)
    index = torch.randperm(count, generator=generator)
    index[::7] = -1  # padding, or no label
    images = index.view(-1, 1, 1, 1).expand(-1, 1, 2, 2) / count
    return Answers(index, None, (scores, labels)), images


def confusions(size: int, most: int = 5) -> Confusions:
    (index, _, (scores, labels)), images = answers()
    seen = Confusions(3, False, most, CPU)
    for at in range(0, len(index), size):
        rows = slice(at, at + size)
        batch = Answers(index[rows], None, (scores[rows], labels[rows]))
        seen.add(batch, images[rows], lambda part: part)
    return seen


def test_the_table_is_scikit_learns_and_padding_counts_nowhere():
    (index, _, (scores, labels)), _ = answers()
    counted = index >= 0
    expected = confusion_matrix(labels[counted], scores.argmax(1)[counted])
    assert (confusions(7).table.numpy() == expected).all()
    right, images, guessed = confusions(7).counts().numpy()
    assert (right == expected.diagonal()).all()
    assert (images == expected.sum(1)).all()
    assert (guessed == expected.sum(0)).all()


def test_the_surest_mistakes_are_the_same_in_any_batches():
    (index, _, (scores, labels)), _ = answers()
    confidence, guess = scores.max(1)
    wrong = sorted(
        (-float(confidence[row]), int(index[row]), int(labels[row]), int(guess[row]))
        for row in range(60)
        if index[row] >= 0 and guess[row] != labels[row]
    )[:5]
    for size in (1, 7, 60):
        mistakes = confusions(size).mistakes()
        assert [(-m.confidence, m.index, m.label, m.guess) for m in mistakes] == wrong
        assert all(torch.allclose(m.pixels, torch.tensor(m.index / 60)) for m in mistakes)


@pytest.mark.parametrize("most", [12, 100])  # more mistakes than are kept, and fewer
def test_two_ranks_keep_what_one_keeps(monkeypatch, most):
    (index, _, (scores, labels)), images = answers()
    halves = [Confusions(3, False, most, CPU) for _ in range(2)]
    for seen, rows in zip(halves, (slice(0, 50), slice(50, 60)), strict=True):
        batch = Answers(index[rows], None, (scores[rows], labels[rows]))
        seen.add(batch, images[rows], lambda part: part)
    sent = []

    def gather_rows(rows: torch.Tensor) -> torch.Tensor:  # the second rank's rows wait in `sent`
        if sent and len(sent[0]) != len(rows):
            raise ValueError("ranks bring unequally many rows")
        return torch.cat([rows, sent.pop(0)])

    name = "vit.callbacks.confusions.gather_rows"
    monkeypatch.setattr(name, lambda rows: sent.append(rows) or rows)
    halves[1].over_ranks()
    monkeypatch.setattr(name, gather_rows)
    halves[0].over_ranks()
    both, alone = halves[0].mistakes(), confusions(60, most).mistakes()
    assert [m[:4] for m in both] == [m[:4] for m in alone]
    assert all(torch.equal(m.pixels, n.pixels) for m, n in zip(both, alone, strict=True))


def test_of_several_labels_each_counts_alone():
    scores = torch.tensor([[0.9, 0.2, 0.6], [0.4, 0.7, 0.1], [0.9, 0.9, 0.9]])
    truth = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 1, 1]])
    seen = Confusions(3, True, 5, CPU)
    index = torch.tensor([0, 1, -1])
    seen.add(Answers(index, None, (scores, truth)), torch.zeros(3, 1, 2, 2), lambda part: part)
    assert seen.counts().tolist() == [[1, 1, 0], [2, 1, 0], [1, 1, 1]]
    seen.over_ranks()
    assert seen.mistakes() == []
