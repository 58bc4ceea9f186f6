"""Shuffled labels: every class keeps its size, no image moves, and only training is changed."""

import pytest
import torch

from launch import ROOT
from pictures import folder
from vit.batch import LoaderContext
from vit.cli.compare import read_study
from vit.compare.identity import data_identity
from vit.compare.withheld import check_withheld
from vit.data import Digits, ImageFolder
from vit.data.in_memory import InMemory
from vit.data.shuffled_labels import permutation, shuffle_labels

TRUE, SHUFFLED = Digits(), Digits(shuffled_labels=True)


def learned(data, consumed=0):
    """Image numbers and labels of the batches that a training reads from `consumed` on."""
    context = LoaderContext(consumed=lambda: consumed, needs_labels=True)
    batches = [(batch.index, batch.labels) for batch in data.loader("train", context)]
    return [torch.cat(parts) for parts in zip(*batches, strict=True)]


def test_classes_keep_their_sizes_and_images_their_places():
    before, after = TRUE.samples("train"), SHUFFLED.samples("train")
    assert torch.equal(before.images, after.images)
    assert torch.equal(before.labels.bincount(), after.labels.bincount())


def test_labels_agree_with_the_truth_as_often_as_chance_has_it():
    before, after = TRUE.samples("train").labels, SHUFFLED.samples("train").labels
    chance = float((before.bincount() / len(before)).square().sum())  # 0.1 for ten equal classes
    deviation = (chance * (1 - chance) / len(before)) ** 0.5
    assert abs(float((before == after).float().mean()) - chance) < 4 * deviation


@pytest.mark.parametrize("split", ["val", "test"])
def test_what_is_evaluated_keeps_its_labels(split):
    assert torch.equal(TRUE.samples(split).labels, SHUFFLED.samples(split).labels)


def test_a_training_reads_them_and_so_does_one_that_is_resumed():
    given, truth = SHUFFLED.samples("train").labels, TRUE.samples("train").labels
    for consumed in (0, 3):  # from the start, and as after a kill
        places, labels = learned(Digits(shuffled_labels=True), consumed)
        assert torch.equal(labels, given[places])
        assert not torch.equal(labels, truth[places])


def test_every_number_comes_once_whatever_the_count():
    for count in (1, 2, 100):
        assert permutation(count).sort().values.tolist() == list(range(count))


def test_several_labels_an_image_move_together():
    dataset = InMemory(torch.zeros(50, 1, 1, 1), torch.arange(50))
    dataset.accepted = torch.eye(50, dtype=torch.bool)
    shuffle_labels(dataset)
    assert torch.equal(dataset.accepted.long().argmax(1), dataset.labels)


def test_images_without_labels_are_refused(tmp_path):
    folder(tmp_path, {"cat": 20, "dog": 20, "unlabelled": 6})
    heap = ImageFolder(str(tmp_path), image_size=8, unlabelled=True, shuffled_labels=True)
    with pytest.raises(ValueError, match="shuffled_labels needs a label of every training image"):
        heap.samples("train")


def test_a_training_with_few_labels_among_many_images_is_refused():
    with pytest.raises(ValueError, match="shuffled_labels does not go with"):
        Digits(labels_per_class=5, shuffled_labels=True).loader(
            "train", LoaderContext(needs_labels=True, unlabelled=0.5)
        )


def test_runs_and_checkpoints_know_it():
    about = {"class_path": "vit.data.Digits", "init_args": {}}
    other = {"class_path": "vit.data.Digits", "init_args": {"shuffled_labels": True}}
    assert data_identity(about) != data_identity(other)
    assert TRUE.content("train") != SHUFFLED.content("train")
    assert TRUE.content("val") == SHUFFLED.content("val")


def test_an_arm_may_shuffle_its_pretraining_and_no_task(monkeypatch):
    monkeypatch.chdir(ROOT)
    words = ["--config", "configs/compare/quick.yaml", "--arms", "scratch,supervised,shuffled"]
    study, arms, _ = read_study(words)
    check_withheld(study, arms)  # the arm's file is accepted
    assert arms["shuffled"].set == {"data.shuffled_labels": True}
    arms["supervised"].finetune["data.shuffled_labels"] = True
    with pytest.raises(ValueError, match=r"finetune: data\.shuffled_labels: the plan"):
        check_withheld(study, arms)
