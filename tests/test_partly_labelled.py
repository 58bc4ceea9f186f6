"""Few labels among many images: what a batch holds, on any ranks, resumed, and what is refused."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from lightning.pytorch import Trainer

from pictures import folder
from vit.batch import LoaderContext
from vit.callbacks.header import label_lines
from vit.callbacks.keep_lineage import link_of
from vit.cli.dry_run import unlabelled_text
from vit.compare.dry_run import DryRun
from vit.data import Digits, ImageFolder
from vit.data.partly_labelled import PartlyLabelledBatches, every_image, partly_labelled
from vit.module import ViTModule
from vit.objectives.base import Objective

SIZE, GLOBAL, LABELLED = 110, 16, 10
LABELS = torch.full((SIZE,), -1).scatter(0, torch.arange(3, 33, 3), torch.arange(10) % 3)
CONTEXT = LoaderContext(needs_labels=True, unlabelled=0.5)


def batches(world=1, accumulate=1, rank=0, consumed=0, unlabelled=0.5):
    context = LoaderContext(
        consumed=lambda: consumed, rank=rank, world_size=world, accumulation=accumulate,
        unlabelled=unlabelled,
    )  # fmt: skip
    return PartlyLabelledBatches(LABELS, GLOBAL // (world * accumulate), context)


def steps(world: int, accumulate: int) -> list[Counter]:
    """The images of each optimiser step with their appearances, over ranks and micro-batches."""
    ranks = [list(batches(world, accumulate, rank)) for rank in range(world)]
    return [
        Counter(
            pair
            for rank in ranks
            for draw in rank[at : at + accumulate]
            for pair in zip(draw.index, draw.repeat, strict=True)
        )
        for at in range(0, 6 * accumulate, accumulate)
    ]


@pytest.mark.parametrize(("unlabelled", "rows"), [(0.5, 8), (0.75, 4), (0.25, 12)])
def test_the_first_rows_have_a_label_and_the_others_are_of_all_images(unlabelled, rows):
    drawn = list(batches(unlabelled=unlabelled))
    assert len(drawn) == SIZE // GLOBAL
    for draw in drawn:
        assert (LABELS[draw.index[:rows]] >= 0).all()
    rest = [i for draw in drawn for i in draw.index[rows:]]
    assert len(set(rest)) == len(rest)  # none twice before all were shown
    assert any(LABELS[rest] >= 0)
    assert any(LABELS[rest] < 0)
    first = Counter(i for draw in drawn for i in draw.index[:rows])
    assert max(first.values()) - min(first.values()) <= 1
    assert len(first) == min(LABELLED, len(drawn) * rows)


@pytest.mark.parametrize(("world", "accumulate"), [(2, 1), (1, 2), (2, 2), (4, 1)])
def test_a_step_sees_the_same_images_alike_on_any_ranks(world, accumulate):
    assert steps(world, accumulate) == steps(1, 1)


def test_an_image_that_comes_again_is_drawn_anew():
    pairs = [p for d in batches() for p in zip(d.index, d.repeat, strict=True)]
    assert len(set(pairs)) == len(pairs)
    assert len({index for index, _ in pairs}) < len(pairs)


def test_a_resumed_epoch_brings_exactly_the_batches_that_were_left():
    whole = list(batches())
    for consumed in range(6):
        assert list(batches(consumed=consumed)) == whole[consumed:]
    assert list(batches(consumed=6)) != whole


def test_labels_that_are_not_drawn_are_not_there():
    data, whole = Digits(labels_per_class=2, batch_size=20), Digits()
    dataset = partly_labelled(data)
    assert len(dataset) == whole.spec.counts["train"]
    seen = {whole.split_indices()["train"][i] for i in (dataset.labels >= 0).nonzero()[:, 0]}
    assert seen == set(data.split_indices()["train"])
    truth = whole.open("train").labels
    assert torch.equal(dataset.labels, torch.where(dataset.labels < 0, -1, truth))
    assert data.spec.counts["train"] == 20  # the data itself is what it was
    assert data.split_hash("train") != whole.split_hash("train")


def test_a_loader_of_few_labels_shows_all_images():
    data = Digits(labels_per_class=2, batch_size=20)
    loader = data.loader("train", CONTEXT)
    batch = next(iter(loader))
    assert (batch.labels[:10] >= 0).all()
    shown = {i for batch in loader for i in batch.index.tolist()}
    assert len(shown) > 500
    assert len(data.loader("train", replace(CONTEXT, unlabelled=0.0))) == 1


def test_validation_is_what_it_was():
    data = Digits(labels_per_class=2, batch_size=20)
    labels = torch.cat([batch.labels for batch in data.loader("val", CONTEXT)])
    assert torch.equal(labels, Digits().open("val").labels)


def test_pictures_of_no_class_are_seen_whatever_the_setting(tmp_path):
    folder(tmp_path, {"a": 20, "b": 20, "unlabelled": 7})
    data = ImageFolder(str(tmp_path), batch_size=4, workers=0)
    dataset = partly_labelled(data)
    assert int((dataset.labels < 0).sum()) == 7
    assert int((dataset.labels >= 0).sum()) == data.spec.counts["train"]
    assert not data.unlabelled
    assert not any("unlabelled" in name for name in data.names("train"))
    assert sum("unlabelled" in name for name in every_image(data).names("train")) == 7


def test_a_study_knows_which_images_stand_beside_those_with_a_label():
    few = {"labels_per_class": 2, "batch_size": 20}
    run = DryRun({}, Digits(**few), 1.0, True, 1, "", None, unlabelled=0.5)
    other = run._replace(data=Digits(**few, val_fraction=0.2))
    assert run.learned_from["every image"] == Digits().split_hash("train")
    assert run.learned_from["train"] == Digits(**few).split_hash("train")
    assert other.learned_from["every image"] != run.learned_from["every image"]
    assert run._replace(unlabelled=0.0).learned_from.keys() == {"train", "val"}


def test_a_run_and_a_report_say_what_stands_beside_the_labels():
    loader = Digits(labels_per_class=2, batch_size=20).loader("train", CONTEXT)
    objective = Mock(spec=Objective, unlabelled=0.5)
    module = Mock(spec=ViTModule, objective=objective)
    (line,) = label_lines(Mock(spec=Trainer, train_dataloader=loader), module)
    assert "50% of each batch without labels, from all 1,293 training images" in line
    assert line.endswith("the rest from the 20 that have one")
    assert "50% of a batch from all training images, no label read" in unlabelled_text(objective)
    objective.unlabelled = 0.0
    assert not label_lines(Mock(spec=Trainer), module)
    assert not unlabelled_text(objective)


def test_a_checkpoint_says_all_images_that_were_seen():
    data, spec = Digits(labels_per_class=2), Digits().spec
    for unlabelled, count in ((0.5, spec.counts["train"]), (0.0, 20)):
        objective = SimpleNamespace(unlabelled=unlabelled, uses_labels=True)
        module = Mock(spec=ViTModule, config="", objective=objective)
        link = link_of(Mock(spec=Trainer, datamodule=data), module)
        assert len(link.hashes) == count


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"balanced": True}, "balanced does not go with"),
        ({"repeats": 2}, "repeats does not go with"),
        ({"batch_size": 1}, "needs 2 images on each device"),
    ],
)
def test_what_means_nothing_here_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Digits(**settings).loader("train", CONTEXT)


def test_data_without_any_label_is_refused():
    with pytest.raises(ValueError, match="no training image has a label"):
        PartlyLabelledBatches(torch.full((9,), -1), 4, CONTEXT)
