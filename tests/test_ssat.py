"""SSAT against torch's cross-entropy and MAE with the same weights; what needs no label."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from builders import GREY, RGB, batch_of, small_vit
from vit.batch import Batch, labelled_rows
from vit.flops import training_flops
from vit.metrics import Means
from vit.objectives.ssat import SSAT
from vit.objectives.supervised import Supervised

SMALL = {"decoder_width": 32, "decoder_depth": 1, "decoder_heads": 2}


def ssat(spec=RGB, **settings) -> SSAT:
    """With a head that is not zero, so that images differ."""
    torch.manual_seed(0)
    objective = SSAT(small_vit(spec, patch_size=4), spec, **(SMALL | settings))
    torch.nn.init.normal_(objective.head.weight)
    return objective


def gradients(objective: torch.nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    objective.zero_grad()
    loss.backward()
    named = objective.named_parameters()
    return {name: p.grad.clone() for name, p in named if p.grad is not None}


@pytest.mark.parametrize("unlabelled", [0.0, 0.5, 0.25])
def test_loss_and_gradient_are_torchs_cross_entropy_plus_maes(unlabelled):
    mae = pytest.importorskip("vit.objectives.mae")
    objective, batch = ssat(weight=0.7, unlabelled=unlabelled), batch_of(RGB, count=8)
    other = mae.MAE(small_vit(RGB, patch_size=4), RGB, **SMALL)
    other.load_state_dict(objective.state_dict(), strict=False)
    rows = 8 - int(8 * unlabelled)
    logits = objective.head(objective.encoder(batch.images[:rows]).pooled)
    classes, pixels = F.cross_entropy(logits, batch.labels[:rows]), other(batch, 0.0).loss
    ours = objective(batch, 0.0)
    assert ours.loss.item() == pytest.approx((classes + 0.7 * pixels).item(), rel=1e-6)
    assert ours.monitors["label_loss"].item() == pytest.approx(classes.item(), rel=1e-6)
    assert ours.monitors["pixel_loss"].item() == pytest.approx(pixels.item(), rel=1e-6)
    of_pixels = gradients(other, pixels)
    of_classes = gradients(objective, classes)
    for name, gradient in gradients(objective, objective(batch, 0.0).loss).items():
        expected = of_classes.get(name, 0) + 0.7 * of_pixels.get(name, torch.zeros(()))
        torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=1e-5)


def test_without_pixels_and_with_all_labels_it_is_supervised():
    objective, batch = ssat(weight=0.0, label_smoothing=0.1), batch_of(RGB, count=6)
    labels = Supervised(objective.encoder, RGB, label_smoothing=0.1)
    labels.head.load_state_dict(objective.head.state_dict())
    assert objective(batch, 0.0).loss.item() == pytest.approx(labels(batch, 0.0).loss.item())
    torch.testing.assert_close(
        objective.predict(batch.images)["logits"], labels.predict(batch.images)["logits"]
    )


def test_labels_of_rows_that_need_none_change_nothing():
    objective, batch = ssat(unlabelled=0.5), batch_of(RGB, count=8)
    before = objective(batch, 0.0).loss
    hidden = replace(batch, labels=torch.cat([batch.labels[:4], -torch.ones(4, dtype=torch.long)]))
    assert torch.equal(objective(hidden, 0.0).loss, before)
    moved = replace(batch, labels=(batch.labels + 1) % 3)
    assert objective(moved, 0.0).loss != before


def test_pixels_of_rows_that_need_no_label_count():
    objective, batch = ssat(unlabelled=0.5, weight=1.0), batch_of(RGB, count=8)
    before = objective(batch, 0.0)
    other = replace(batch, views=[torch.cat([batch.images[:4], batch.images[4:].flip(-1)])])
    after = objective(other, 0.0)
    assert torch.equal(before.monitors["label_loss"], after.monitors["label_loss"])
    assert before.monitors["pixel_loss"] != after.monitors["pixel_loss"]


def test_an_image_that_lost_its_label_adds_nothing_to_the_classes():
    """An unreadable file may be replaced by one without a label."""
    objective, batch = ssat(unlabelled=0.5, weight=0.0), batch_of(RGB, count=4)
    whole = objective(batch, 0.0).per_image["loss"]
    lost = replace(batch, labels=torch.tensor([-1, *batch.labels[1:]]))
    after = objective(lost, 0.0)
    assert after.per_image["loss"].tolist() == [0, whole[1].item(), 0, 0]
    assert after.loss.item() == pytest.approx(whole[1].item() / 2)


def test_evaluation_asks_every_image_and_leaves_padding_out():
    objective, batch = ssat(unlabelled=0.5).eval(), batch_of(RGB, count=6, epoch=None)
    logits = objective.predict(batch.images)["logits"]
    padded = Batch(
        [torch.cat([batch.images, batch.images[:2]])],
        torch.cat([batch.labels, torch.tensor([-1, -1])]),
        torch.tensor([*range(6), -1, -1]),
    )
    losses, means = objective(padded, 0.0), Means()
    means.add(losses.per_image, padded.valid)
    values = objective.summary(means.reduce())
    expected = F.cross_entropy(logits, batch.labels)
    assert values["label_loss"].item() == pytest.approx(expected.item(), rel=1e-6)
    assert values["accuracy"].item() == pytest.approx(
        (logits.argmax(1) == batch.labels).float().mean().item()
    )
    parts = values["label_loss"] + 9 * values["pixel_loss"]
    assert values["loss"].item() == pytest.approx(parts.item(), rel=1e-6)
    assert values["explained"] < 0.1  # nothing is learned yet
    assert {"balanced_accuracy", "macro_f1"} <= values.keys()
    probabilities, labels = losses.predicted
    torch.testing.assert_close(probabilities[:6], logits.softmax(1))
    assert torch.equal(labels[:6], batch.labels)


@pytest.mark.parametrize(
    ("count", "unlabelled", "rows"),
    [(64, 0.0, 64), (64, 0.5, 32), (50, 0.5, 25), (8, 0.75, 2), (2, 0.9, 1), (2, 0.1, 1)],
)
def test_a_batch_holds_both_kinds_where_both_are_asked_for(count, unlabelled, rows):
    assert labelled_rows(count, unlabelled) == rows


def test_a_row_without_a_label_costs_what_mae_costs():
    """The whole pass is not made where nobody asks for its answer."""
    mae = pytest.importorskip("vit.objectives.mae")
    costs = [training_flops(ssat(unlabelled=u), RGB) for u in (0.0, 0.5, 0.75)]
    alone = training_flops(mae.MAE(small_vit(RGB, patch_size=4), RGB, **SMALL), RGB)
    labels = training_flops(Supervised(small_vit(RGB, patch_size=4), RGB), RGB)
    assert costs[0] == pytest.approx(alone + labels, rel=1e-3)
    assert costs[1] == pytest.approx(alone + labels / 2, rel=1e-3)
    assert costs[2] == pytest.approx(alone + labels / 4, rel=1e-3)


def test_it_learns_classes_and_pixels_together():
    objective, batch = ssat(GREY, weight=1.0), batch_of(count=16)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=3e-3)
    first = objective(batch, 0.0)
    for _ in range(60):
        optimizer.zero_grad()
        last = objective(batch, 0.0)
        last.loss.backward()
        optimizer.step()
    assert last.monitors["accuracy"] == 1
    assert last.monitors["pixel_loss"] < 0.9 * first.monitors["pixel_loss"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": -1.0}, r"SSAT: weight must be in \[0, inf\), got -1.0"),
        ({"unlabelled": 1.0}, r"SSAT: unlabelled must be in \[0, 1\), got 1.0"),
        ({"label_smoothing": 1.0}, r"SSAT: label_smoothing must be in \[0, 1\)"),
        ({"mask_ratio": 1.0}, r"SSAT: mask_ratio must be in \(0, 1\), got 1.0"),
        ({"decoder_depth": 0}, "SSAT: decoder_depth must be at least 1"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        ssat(**settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"classes": ("one",)}, "the data has 1 classes"), ({"multi_label": True}, "has several")],
)
def test_data_without_one_label_an_image_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ssat(replace(RGB, **changes))
