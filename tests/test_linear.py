"""The linear probe against scikit-learn's LogisticRegression, and what it chooses."""

from functools import cache

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F

from builders import small_vit
from vit.data import Digits
from vit.evaluate import linear as module
from vit.evaluate.base import FrozenFeatures, Task
from vit.evaluate.grid import batches, choose
from vit.evaluate.linear import linear


@cache
def digits(kind: str = "pixels") -> Task:
    """Pixels, or what a random ViT makes of them."""
    splits = []
    for split in ("train", "val", "test"):
        data = Digits().open(split)
        images = data.images / 127.5 - 1
        with torch.no_grad():
            seen = {"pixels": images.flatten(1)} if kind == "pixels" else {
                "cls": (features := small_vit(width=64, depth=4)(images)).cls,
                "mean": features.tokens.mean(1),
            }  # fmt: skip
        splits.append(FrozenFeatures(seen, data.labels))
    return Task(*splits, 10)


def only(task: Task, pooling: str) -> Task:
    splits = (FrozenFeatures({pooling: split.pooled[pooling]}, split.labels) for split in task[:3])
    return Task(*splits, *task[3:])


def standardised(task: Task) -> list:
    """By BatchNorm in training mode on all training images, then frozen."""
    norm = nn.BatchNorm1d(task.train.features.shape[1], eps=1e-6, momentum=1.0, affine=False)
    known = norm(task.train.features)
    norm.running_var *= (len(known) - 1) / len(known)  # its running variance is the sample's
    return [known.double().numpy(), norm.eval()(task.queries.features).double().numpy()]


def points(task: Task, **settings) -> tuple[float, float]:
    """Accuracy in percent: ours, scikit-learn's."""
    known, asked = standardised(task)
    theirs = LogisticRegression(max_iter=5000, tol=1e-6).fit(known, task.train.labels.numpy())
    accuracy = linear(task, **settings).metrics["accuracy"]
    return 100 * accuracy, 100 * theirs.score(asked, task.queries.labels.numpy())


KINDS = pytest.mark.parametrize("kind", ["pixels", "cls", "mean"])


def of_kind(kind: str, count: int) -> Task:
    task = only(digits("pixels" if kind == "pixels" else "vit"), kind)
    return task._replace(train=task.train[:count])


@KINDS
def test_the_result_is_within_half_a_point_of_scikit_learn(kind):
    ours, theirs = points(of_kind(kind, 1293))
    assert ours == pytest.approx(theirs, abs=0.5)


@KINDS
def test_one_rate_on_fifty_labels_is_scikit_learn_and_the_grid_stays_near(kind):
    ours, theirs = points(of_kind(kind, 50), lrs=(0.1,))
    assert ours == pytest.approx(theirs, abs=0.01)
    assert points(of_kind(kind, 50))[0] == pytest.approx(theirs, abs=2)


def test_batches_cost_less_than_a_point():
    ours, theirs = points(of_kind("pixels", 1293), batch=200)
    assert ours == pytest.approx(theirs, abs=1)


@pytest.mark.parametrize("penalty", [0.3, 10.0])
def test_long_training_ends_at_the_weights_of_scikit_learn(penalty):
    task = of_kind("pixels", 300)
    known = module._standardise([task.train.features[:, 20:30]])[0]
    train = FrozenFeatures({"few": known}, task.train.labels)
    task = Task(train, train, train, 10)
    rows = batches(300, 2048, 2000, 0, "")
    weight, bias = module._train_linear(known, task, [0.03, 0.1], 2000, rows, penalty)
    judge = LogisticRegression(C=1 / penalty, max_iter=5000, tol=1e-9)
    judge.fit(known.double().numpy(), train.labels.numpy())
    for head in range(2):
        centred = bias[head] - bias[head].mean()  # a constant in every class changes nothing
        expected = torch.tensor(judge.intercept_ - judge.intercept_.mean()).float()
        torch.testing.assert_close(weight[head].T, torch.tensor(judge.coef_).float(),
                                   atol=2e-3, rtol=1e-2)  # fmt: skip
        torch.testing.assert_close(centred, expected, atol=2e-3, rtol=1e-2)


def test_features_are_those_of_batchnorm_on_the_whole_training_set():
    task = digits()
    known, asked = module._standardise([task.train.features, task.queries.features])
    for ours, theirs in zip((known, asked), standardised(task), strict=True):
        torch.testing.assert_close(ours, torch.from_numpy(theirs).float(), atol=1e-4, rtol=1e-4)


def test_a_head_learns_as_if_it_were_alone():
    task = of_kind("cls", 1293)
    known = module._standardise([task.train.features])[0]

    def train(lrs: list[float]) -> Tensor:
        return module._train_linear(known, task, lrs, 50, batches(1293, 256, 50, 0, ""), 1.0)[0]

    for head, lr in enumerate((0.003, 0.3)):
        torch.testing.assert_close(train([0.003, 0.03, 0.3])[2 * head], train([lr])[0])


def logits(*rows: tuple[float, float]) -> Tensor:
    """Two images of two classes, the truth being 0 and 1: how sure of the truth each head is."""
    sure = torch.tensor(rows, dtype=torch.float)  # H M
    return torch.stack([sure * torch.tensor([1, -1]), sure * torch.tensor([-1, 1])], -1)[None]


@pytest.mark.parametrize(
    ("heads", "chosen"),
    [
        ([(1, -1), (1, 1), (9, -1)], (0, 1, False)),  # most accurate
        ([(1, 1), (2, 2), (-1, 1)], (0, 1, False)),  # of equals the lower loss
        ([(2, 2), (1, 1), (-1, 1)], (0, 0, False)),  # the edge, but one inside is as accurate
        ([(2, 2), (-1, 1), (-1, 1)], (0, 0, True)),
        ([(-1, 1), (-1, 1), (2, 2)], (0, 2, True)),
        ([(2, 2), (2, 2), (2, 2)], (0, 0, False)),  # of equals in both the first
        ([(2, 2)], (0, 0, True)),  # a grid of one is all edge
    ],
)
def test_accuracy_chooses_then_loss_and_an_edge_is_told(heads, chosen):
    assert choose(logits(*heads), torch.tensor([0, 1])) == chosen


def test_the_pooling_is_chosen_on_the_choice_and_never_on_the_queries():
    task = digits("vit")
    blank = [F.one_hot(split.labels, 10).float() for split in task[:3]]
    splits = [
        FrozenFeatures(split.pooled | {"label": hint}, split.labels)
        for split, hint in zip(task[:3], blank, strict=True)
    ]
    assert linear(Task(*splits, 10), steps=50).notes["pooling"] == "label"
    splits[1] = FrozenFeatures(splits[1].pooled | {"label": blank[1].roll(1, 1)}, splits[1].labels)
    result = linear(Task(*splits, 10), steps=50)  # the hint is wrong there, right in the queries
    assert result.notes["pooling"] != "label"
    assert result.metrics["accuracy"] < 0.9


def test_the_same_seed_gives_the_same_and_the_global_generator_is_left_alone():
    task, before = of_kind("cls", 1293), torch.get_rng_state()
    first, second, other = (
        linear(task._replace(seed=seed), batch=100, steps=20) for seed in (0, 0, 1)
    )
    assert torch.equal(first.per_image["correct"], second.per_image["correct"])
    assert not torch.equal(first.per_image["correct"], other.per_image["correct"])
    assert first.id == other.id
    assert torch.equal(torch.get_rng_state(), before)


def test_every_setting_changes_the_id():
    changes = [{}, {"lrs": (0.1,)}, {"steps": 3}, {"batch": 9}, {"penalty": 0.5}]
    names = [linear(digits(), **({"steps": 2} | change)).id for change in changes]
    names.append(linear(digits("vit"), steps=2).id)
    assert len(set(names)) == 6


@pytest.mark.parametrize(
    "settings", [{"lrs": ()}, {"lrs": (0.0,)}, {"steps": 0}, {"batch": 0}, {"penalty": -1.0}]
)
def test_a_wrong_setting_is_named(settings):
    with pytest.raises(ValueError, match=r"linear: .* must be .* got"):
        linear(digits(), **settings)
