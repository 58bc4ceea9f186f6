"""Validation images are drawn by number: other ones each time, and the test split stays."""

from collections import Counter
from pathlib import Path

import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from pictures import folder
from test_shard_images import shard
from vit.data import CIFAR10, VTAB, Digits, ImageFolder, ImageNet, ImageNet21k, ShardImages
from vit.data.base import Images
from vit.data.splits import carve, hold_out

LABELS = load_digits().target.tolist()


def parts(data: Images) -> dict[str, set[int]]:
    return {split: set(places) for split, places in data.split_indices().items()}


def redrawn_well(make, draws: int = 4) -> list[dict[str, set[int]]]:
    """The splits by draw: all differ in validation, none in the test or in what there is."""
    splits = [parts(make(val_draw=draw)) for draw in range(draws)]
    assert parts(make()) == splits[0]
    for one in splits:
        assert not one["val"] & one["train"]
        assert one["test"] == splits[0]["test"]
        assert one["train"] | one["val"] == splits[0]["train"] | splits[0]["val"]
    assert len({frozenset(one["val"]) for one in splits}) == draws
    assert len({make(val_draw=draw).split_hash("val") for draw in range(draws)}) == draws
    assert len({make(val_draw=draw).split_hash("test") for draw in range(draws)}) == 1
    return splits


def test_draws_of_digits_are_scikit_learn_s_by_their_number():
    redrawn_well(Digits)
    rest, _ = train_test_split(range(1797), test_size=0.2, stratify=LABELS, random_state=0)
    for draw in (0, 3):
        labels = [LABELS[i] for i in rest]
        train, val = train_test_split(rest, test_size=0.1, stratify=labels, random_state=draw)
        splits = Digits(val_draw=draw).split_indices()
        assert (splits["train"], splits["val"]) == (train, val)


def test_few_labels_are_drawn_from_what_is_not_validated_on():
    for draw in range(5):
        data = Digits(labels_per_class=10, label_draw=draw, val_draw=draw)
        splits = parts(data)
        assert not splits["train"] & splits["val"]
        assert data.spec.counts == {"train": 100, "val": 144, "test": 360}


def test_carved_splits_are_stratified_in_every_draw():
    labels = [0] * 60 + [1] * 30 + [2] * 10
    draws = [carve(labels, 20, draw)[1] for draw in range(5)]
    assert draws[0] == carve(labels, 20)[1]
    assert len(set(map(tuple, draws))) == 5
    assert all(Counter(labels[i] for i in val) == {0: 12, 1: 6, 2: 2} for val in draws)


def test_parts_of_a_folder_are_disjoint_until_all_were_validated_on(tmp_path):
    folder(tmp_path, {"cat": 20, "dog": 30})
    splits = redrawn_well(lambda **draw: ImageFolder(str(tmp_path), **draw), draws=12)
    assert [len(one["val"]) for one in splits[:10]] == [4] * 10
    assert set.union(*(one["val"] for one in splits[:10])) == set(range(50)) - splits[0]["test"]


def test_animals_of_a_folder_stay_whole_in_every_draw(tmp_path):
    folder(tmp_path, {"": 60})
    files = sorted(path.name for path in tmp_path.glob("*.jpg"))
    rows = [f"{name},{'xy'[i // 4 % 2]},animal {i // 4}" for i, name in enumerate(files)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label,group", *rows]))
    for draw in range(6):
        data = ImageFolder(str(tmp_path), val_draw=draw, val_fraction=0.2)
        animals = {split: set(data.groups(split)) for split in ("train", "val", "test")}
        assert animals["val"]
        assert not animals["val"] & (animals["train"] | animals["test"])


def test_validation_that_a_person_gave_is_not_drawn(tmp_path):
    folder(tmp_path, {f"{split}/{name}": 4 for split in ("train", "val", "test") for name in "ab"})
    assert not ImageFolder(str(tmp_path)).redraws
    line = "^ImageFolder: val_draw must be 0, as validation is given, got 2"
    with pytest.raises(ValueError, match=line):
        ImageFolder(str(tmp_path), val_draw=2)
    with pytest.raises(ValueError, match=line):
        ImageFolder(str(tmp_path)).redrawn(2)
    assert ImageFolder(str(tmp_path), keep_splits=False, val_draw=2).redraws


def test_shards_are_redrawn_where_none_are_for_validation(tmp_path):
    for split, count in (("train", 40), ("val", 4), ("test", 4)):
        shard(tmp_path / f"{split}-000000.tar", 0, [i % 2 for i in range(count)])
    redrawn_well(
        lambda **draw: ShardImages(str(tmp_path), val=None, val_fraction=0.2, workers=0, **draw)
    )
    with pytest.raises(ValueError, match="ShardImages: val_draw must be 0"):
        ShardImages(str(tmp_path), val_draw=1)


@pytest.fixture
def cifar_task(tmp_path) -> Path:
    """The lists of one task of VTAB-1k, without its pictures."""
    (tmp_path / "cifar").mkdir()
    for name, count in (("train800", 800), ("val200", 200), ("test", 10_000)):
        lines = [f"images/{name}/{i}.png {i % 100}" for i in range(count)]
        (tmp_path / "cifar" / f"{name}.txt").write_text("\n".join(lines))
    return tmp_path


def test_two_hundred_others_of_a_vtab_task_s_thousand_are_validated_on(cifar_task):
    splits = redrawn_well(lambda **draw: VTAB("cifar", str(cifar_task), **draw))
    assert splits[0]["val"] == set(range(800, 1000))
    for one in splits[1:]:
        assert len(one["val"]) == 200
        assert set(Counter(i % 100 for i in one["val"]).values()) == {2}
    whole = [VTAB("cifar", str(cifar_task), train="train800val200", val_draw=d) for d in (0, 1)]
    assert [one.split_indices()["train"] for one in whole] == [list(range(1000))] * 2


def test_classes_too_small_to_be_in_both_parts_are_drawn_all_the_same():
    train, val = hold_out((0,) * 9 + (1,), 5, 1)
    assert sorted([*train, *val]) == list(range(10))
    assert (len(val), train, val) == (5, sorted(train), sorted(val))


@pytest.mark.parametrize("kind", [Digits, CIFAR10])
def test_a_negative_draw_is_refused(kind):
    with pytest.raises(ValueError, match=rf"^{kind.__name__}: val_draw must be from 0 to .*got -1"):
        kind(val_draw=-1)


@pytest.mark.parametrize("kind", [ImageNet, ImageNet21k])
def test_a_published_hold_out_is_not_drawn(kind):
    with pytest.raises(ValueError, match=f"^{kind.__name__}: val_draw must be 0"):
        kind(val_draw=1)


def test_a_redrawn_copy_leaves_the_first_alone_and_counts_anew():
    data = Digits(classes=[5, 6, 7, 8, 9])
    others = [data.redrawn(draw) for draw in range(1, 20)]
    assert data.spec.counts == Digits(classes=[5, 6, 7, 8, 9]).spec.counts
    for other in others:
        assert other.spec.counts == {s: len(p) for s, p in other.split_indices().items()}
        assert (
            other.split_indices()
            == Digits(classes=[5, 6, 7, 8, 9], val_draw=other.val_draw).split_indices()
        )
