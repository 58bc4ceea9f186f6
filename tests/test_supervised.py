"""The supervised loss against torch, scipy and hand-sized numbers."""

from dataclasses import replace
from math import exp, log

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from sklearn.metrics import average_precision_score, balanced_accuracy_score, f1_score

from builders import GREY, RGB, batch_of, small_vit
from vit.batch import Batch
from vit.data import Digits
from vit.data.normalisation import normalise
from vit.metrics import EvalMetrics, Means
from vit.objectives.parts.average_precision import MeanAveragePrecision
from vit.objectives.parts.mixing import Mixing
from vit.objectives.supervised import Supervised

TWO = replace(GREY, classes=("no", "yes"))
SEVEN = replace(GREY, classes=tuple("abcdefg"))
MANY = replace(RGB, multi_label=True)
ODDS = torch.tensor([[0.0, log(3)]])  # softmax 1/4 and 3/4; sigmoid 1/2 and 3/4
YES = torch.tensor([1])


def supervised(spec=GREY, **settings) -> Supervised:
    """With a head that is not zero, so that images differ."""
    objective = Supervised(small_vit(spec), spec, **settings)
    torch.nn.init.normal_(objective.head.weight)
    return objective


def judge(monkeypatch, spec, logits, labels):
    """What the objective says of given logits."""
    objective = Supervised(small_vit(spec), spec)
    monkeypatch.setattr(objective, "predict", lambda images: {"logits": logits})
    labels = torch.tensor(labels)
    batch = Batch([torch.zeros(len(labels), 1, 8, 8)], labels, torch.arange(len(labels)))
    return objective(batch, 0.0).per_image


def test_the_loss_is_the_cross_entropy_that_scipy_computes():
    objective, batch = supervised(), batch_of(count=6)
    logits = objective.predict(batch.images)["logits"].detach().double().numpy()
    expected = -log_softmax(logits, axis=1)[np.arange(6), batch.labels.numpy()]
    losses = objective(batch, 0.0)
    assert losses.per_image["loss"].detach().numpy() == pytest.approx(expected, abs=1e-5)
    assert losses.loss.item() == pytest.approx(expected.mean(), abs=1e-5)


def test_the_loss_is_the_one_of_torch():
    logits, labels = torch.randn(5, 10), torch.tensor([0, 3, 9, 3, 1])
    for smoothing in (0.0, 0.1):
        criterion = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)
        ours = supervised(label_smoothing=smoothing).loss(logits, labels).mean()
        torch.testing.assert_close(ours, criterion(logits, labels))


def test_smoothing_spreads_its_share_over_all_classes():
    loss = supervised(TWO, label_smoothing=0.2).loss(ODDS, YES)
    assert loss.item() == pytest.approx(0.1 * log(4) + 0.9 * log(4 / 3))


def test_the_sigmoid_loss_sums_over_classes():
    loss = supervised(TWO, loss="sigmoid").loss(ODDS, YES)
    assert loss.item() == pytest.approx(log(2) + log(4 / 3))


def test_the_sigmoid_loss_averages_over_images(monkeypatch):
    objective = supervised(TWO, loss="sigmoid")
    rows = torch.cat([ODDS, -ODDS])  # the second: ln 2 + ln 4
    monkeypatch.setattr(objective, "predict", lambda images: {"logits": rows})
    batch = Batch([torch.zeros(2, 1, 8, 8)], torch.tensor([1, 1]), torch.arange(2))
    expected = (log(2) + log(4 / 3) + log(2) + log(4)) / 2
    assert objective(batch, 0.0).loss.item() == pytest.approx(expected)


def test_smoothing_reaches_the_sigmoid_targets():
    loss = supervised(TWO, loss="sigmoid", label_smoothing=0.2).loss(ODDS, YES)
    assert loss.item() == pytest.approx(log(2) + 0.9 * log(4 / 3) + 0.1 * log(4))


def test_the_loss_starts_at_the_log_of_the_classes():
    loss = Supervised(small_vit(), GREY)(batch_of(), 0.0).loss
    assert loss.item() == pytest.approx(log(10))


def test_the_head_bias_sets_where_the_sigmoid_loss_starts():
    objective = Supervised(small_vit(), GREY, loss="sigmoid", head_bias=-10.0)
    expected = 9 * log(1 + exp(-10)) + log(1 + exp(10))
    assert objective(batch_of(), 0.0).loss.item() == pytest.approx(expected, rel=1e-6)


def test_accuracy_and_top_five_by_hand(monkeypatch):
    rising = torch.arange(7.0).expand(4, 7)  # class 6 first, class 0 last
    per_image = judge(monkeypatch, SEVEN, rising, [6, 2, 1, 0])
    assert per_image["accuracy"].tolist() == [1, 0, 0, 0]
    assert per_image["top5"].tolist() == [1, 1, 0, 0]


def test_five_classes_or_fewer_have_no_top_five():
    assert set(supervised(RGB)(batch_of(RGB), 0.0).per_image) == {"loss", "accuracy"}


@pytest.mark.parametrize("constant", [0.0, float("nan")])
def test_logits_that_tell_no_class_from_another_rank_five_of_ten(monkeypatch, constant):
    logits = torch.full((10, 10), constant)
    per_image = judge(monkeypatch, GREY, logits, list(range(10)))
    assert per_image["top5"].mean() <= 0.5


def test_relabelled_images_count_in_the_real_accuracy_and_the_others_do_not(monkeypatch):
    """Images: right, wrong, left out by annotators, padding, and right by another label."""
    objective = Supervised(small_vit(RGB), RGB)
    logits = torch.eye(3)[[0, 1, 2, 0, 1]]
    monkeypatch.setattr(objective, "predict", lambda images: {"logits": logits})
    accepted = torch.tensor(
        [[1, 0, 0], [1, 0, 1], [0, 0, 0], [1, 1, 1], [1, 1, 0]], dtype=torch.bool
    )
    index, labels = torch.tensor([0, 1, 2, -1, 4]), torch.tensor([0, 0, 2, -1, 0])
    batch = Batch([torch.zeros(5, 3, 16, 16)], labels, index, accepted=accepted)
    losses = objective.eval()(batch, 1.0)
    values, counted = losses.masked["real_accuracy"]
    assert counted.tolist() == [True, True, False, False, True]
    assert values[counted].tolist() == [1, 0, 1]
    eval_metrics = EvalMetrics()
    eval_metrics.add(losses.per_image, {}, None, losses.masked, index >= 0)
    results = eval_metrics.results(objective.summary)
    assert next(iter(results)) == "real_accuracy"
    assert results["real_accuracy"] == pytest.approx(2 / 3)
    assert results["accuracy"] == pytest.approx(2 / 4)


def test_padding_counts_nowhere():
    objective, batch = supervised(), batch_of(count=3)
    padded = Batch(
        [torch.cat([batch.images, batch.images[:1]])],
        torch.tensor([*batch.labels, -1]),
        torch.tensor([0, 1, 2, -1]),
        epoch=None,
    )
    whole, alone = Means(), Means()
    whole.add(objective(padded, 0.0).per_image, padded.valid)
    alone.add(objective(batch, 0.0).per_image, batch.valid)
    for name, mean in alone.reduce().items():
        assert whole.reduce()[name].item() == pytest.approx(mean.item(), rel=1e-6)


def test_thirty_steps_on_one_batch_of_digits_learn_it():
    data = Digits().open("train")
    images = normalise(data.images[:64].float() / 255, GREY)
    batch = Batch([images], data.labels[:64], torch.arange(64), epoch=0)
    objective = Supervised(small_vit(), GREY)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=3e-3)
    for _ in range(30):
        optimizer.zero_grad()
        losses = objective(batch, 0.0)
        losses.loss.backward()
        optimizer.step()
    assert losses.loss < 0.5 * log(10)
    assert losses.per_image["accuracy"].mean() > 0.9


@pytest.mark.parametrize(
    ("spec", "settings", "message"),
    [
        (GREY, {"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), got 1.0"),
        (GREY, {"label_smoothing": -0.1}, r"label_smoothing must be in \[0, 1\), got -0.1"),
        (replace(GREY, classes=("one",)), {}, "at least 2 classes, the data has 1"),
        (MANY, {}, "several labels here; set loss to sigmoid"),
    ],
)
def test_a_wrong_setting_is_named(spec, settings, message):
    with pytest.raises(ValueError, match=message):
        Supervised(small_vit(spec), spec, **settings)


def judged(objective: Supervised, logits: torch.Tensor, monkeypatch, **labels) -> dict[str, float]:
    """A whole evaluation in batches of seven, the last one padded."""
    eval_metrics = EvalMetrics(objective.metrics())
    for at in range(0, len(logits), 7):
        rows = torch.arange(at, at + 7).clamp(max=len(logits) - 1)
        index = torch.where(torch.arange(at, at + 7) < len(logits), rows, -1)
        monkeypatch.setattr(objective, "predict", lambda images, r=rows: {"logits": logits[r]})
        parts = {name: values[rows] for name, values in labels.items()}
        parts.setdefault("labels", torch.zeros(7, dtype=torch.int64))
        losses = objective(Batch([torch.zeros(7, 1, 8, 8)], index=index, **parts), 1.0)
        eval_metrics.add(
            losses.per_image, losses.monitors, losses.predicted, losses.masked, index >= 0
        )
    return eval_metrics.results(objective.summary)


def test_classes_that_are_rare_count_like_the_others_as_in_scikit_learn(monkeypatch):
    generator = torch.Generator().manual_seed(1)
    labels = torch.tensor([0] * 40 + [1] * 5 + [2] * 3)  # of ten classes three occur
    logits = torch.randn(48, 10, generator=generator)
    logits[torch.arange(48), labels] += 1.5
    found = judged(supervised(), logits, monkeypatch, labels=labels)
    guessed = logits.argmax(1)
    with pytest.warns(UserWarning, match="classes not in y_true"):
        expected = balanced_accuracy_score(labels, guessed)
    assert found["balanced_accuracy"] == pytest.approx(expected)
    assert found["macro_f1"] == pytest.approx(f1_score(labels, guessed, average="macro"))
    assert found["accuracy"] == pytest.approx((guessed == labels).float().mean())


def test_a_class_that_does_not_occur_has_no_average_precision():
    """torchmetrics counts it as 0 and warns, which tests take for an error."""
    metric = MeanAveragePrecision(3)
    truth = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 1, 0]])
    for rows in (slice(0, 2), slice(2, 3)):
        metric.update(truth[rows].float() * 0.8 + 0.1, truth[rows])
    assert metric.compute() == 1.0


def test_several_labels_are_judged_by_scikit_learns_mean_average_precision(monkeypatch):
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(50, 3, generator=generator)
    truth = torch.rand(50, 3, generator=generator) < 0.3
    objective = supervised(MANY, loss="sigmoid")
    found = judged(objective, logits, monkeypatch, accepted=truth)
    expected = average_precision_score(truth.numpy(), logits.numpy(), average="macro")
    assert found["map"] == pytest.approx(expected, abs=1e-6)
    assert found["exact"] == pytest.approx(((logits > 0) == truth).all(1).float().mean())
    assert objective.best == ("val/map", "max")
    assert Supervised.best == ("val/accuracy", "max")


def test_the_loss_of_several_labels_is_a_sum_over_classes():
    loss = supervised(replace(TWO, multi_label=True), loss="sigmoid").loss
    odds = torch.tensor([[log(3), log(3)]])  # both 3/4
    both, none = torch.tensor([[True, True]]), torch.tensor([[False, False]])
    assert loss(odds, both).item() == pytest.approx(2 * log(4 / 3))
    assert loss(odds, none).item() == pytest.approx(2 * log(4))


def test_of_a_blended_image_each_class_brings_its_own_weight():
    spec = replace(RGB, classes=("cat", "dog", "fox"))
    objective = supervised(spec, class_weights={"fox": 5.0}, mixing=Mixing())
    batch = batch_of(spec, count=8)
    mixed = objective.mixing(batch.images, batch.keys("mixing"))
    logits = objective.predict(mixed.images)["logits"]
    criterion = torch.nn.CrossEntropyLoss(torch.tensor([1.0, 1.0, 5.0]), reduction="none")
    first, second = criterion(logits, batch.labels), criterion(logits, batch.labels[mixed.partner])
    expected = (mixed.weight * first + (1 - mixed.weight) * second).mean()
    torch.testing.assert_close(objective(batch, 0.0).loss, expected)


def test_blended_images_with_several_labels_learn_both_sets():
    objective = supervised(MANY, loss="sigmoid", mixing=Mixing())
    batch = replace(batch_of(MANY), accepted=torch.eye(4, 3, dtype=torch.bool))
    losses = objective(batch, 0.0)
    mixed = objective.mixing(batch.images, batch.keys("mixing"))
    logits = objective.predict(mixed.images)["logits"]
    share = mixed.weight[:, None]
    target = share * batch.accepted.float() + (1 - share) * batch.accepted[mixed.partner].float()
    expected = torch.nn.BCEWithLogitsLoss(reduction="sum")(logits, target) / 4
    assert losses.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert set(losses.per_image) == {"loss", "exact"}


def test_class_weights_are_torchs():
    spec = replace(RGB, classes=("cat", "dog", "fox"))
    objective = supervised(spec, class_weights={"fox": 5.0, "dog": 0.5})
    batch = batch_of(spec, count=8)
    weights = torch.tensor([1.0, 0.5, 5.0])
    criterion = torch.nn.CrossEntropyLoss(weight=weights, reduction="sum")
    expected = criterion(objective.predict(batch.images)["logits"], batch.labels) / 8
    torch.testing.assert_close(objective(batch, 0.0).loss, expected)
    halves = [replace(batch, views=[batch.images[part]], labels=batch.labels[part],
                      index=batch.index[part])
              for part in (slice(4), slice(4, 8))]  # fmt: skip
    of_halves = torch.stack([objective(half, 0.0).loss for half in halves]).mean()
    torch.testing.assert_close(of_halves, expected, msg="ranks and micro-batches change nothing")
    evaluated = replace(batch, epoch=None)
    plain = torch.nn.CrossEntropyLoss()(objective.predict(batch.images)["logits"], batch.labels)
    torch.testing.assert_close(objective(evaluated, 0.0).loss, plain)
    for wrong in ({"cow": 2.0}, {"cat": 0.0}):
        with pytest.raises(ValueError, match="class_weights name classes"):
            supervised(spec, class_weights=wrong)
