"""The published order without TensorFlow: digests of the lists that VPT published, and our own.

md5 of the keys joined by newlines, in order. cifar, eurosat, resisc45, clevr, patch_camelyon: equal
to the lists of github.com/KMnP/vpt; svhn, dsprites, smallnorb: the same rule, no list published.
"""

import hashlib
from functools import cache
from pathlib import Path

import pytest

from vit.published.order import part_of, published_order, split_of
from vit.published.sources import SOURCES
from vit.published.tasks import TASKS, means, task_called

NOWHERE = Path("nowhere")


def md5(values) -> str:
    return hashlib.md5("\n".join(map(str, values)).encode()).hexdigest()


@cache
def order(keys: range | tuple, split: str) -> list:
    """Sorted once: dSprites has 737,280."""
    return published_order(keys, split)


def part(name: str, words: str, keys=None) -> list:
    split = split_of(words)
    keys = SOURCES[name](NOWHERE).keys(split) if keys is None else keys
    return part_of(order(keys if isinstance(keys, range) else tuple(keys), split), words)


@pytest.mark.parametrize(
    ("name", "keys", "train", "val", "test"),
    [
        ("cifar", None, "e9ed174765cca06fafeb6a15e52283cd", "06f16dea0c27485176b2e07ffa5c8d85",
         None),
        ("svhn", range(73_257), "da1e5dc2fb9b71cd08c0af7638b5a56c",
         "8f919630ede6312412bc5059da56f9a7", None),
        ("smallnorb_azi", range(24_300), "b0d2ff0aa80bd6954364d65c1135f0c3",
         "bb4e99ba6ba804bf4d8f29714636b85c", "652356d108ce3e0f19f25a7ab7c6769f"),
        ("dsprites_loc", None, "9dc6e17f111c30c6ee155fd087aebef1",
         "075fd5299c441ede783a614d06234f49", "c378607c78dcb2bc5414584909fcf949"),
        ("eurosat", None, "62e6238c2193b3150cd7a8d295aee369", "6189df038fb2733352a9a81e2a182142",
         "134fbb9c6d5db3bf2ab6c891cb2b72c9"),
        ("resisc45", None, "69c1dda8eeeab886a8ddfa0335f2f21a", "661d25eab0afc57a0b77ae6e60dcddaf",
         "669ac37b41ee671034f937e8ba45ec74"),
        ("clevr_count", None, "49705f53212f00ef78b78ce4ef335b0e",
         "7644a2f434f38ca7d24e632a176fbfcf", None),
    ],
)  # fmt: skip
def test_parts_are_the_published_ones(name, keys, train, val, test):
    task = TASKS[name]
    for words, digest, count in (
        (task.train, train, 800), (task.val, val, 200), (task.test, test, task.tested)
    ):  # fmt: skip
        if digest:
            found = part(name, words, keys)
            assert len(found) == count
            assert md5(found) == digest


def test_keys_of_patch_camelyon_carry_the_names_of_its_files():
    train = part("patch_camelyon", "train[:800]", [f"train_{i}" for i in range(262_144)])
    val = part("patch_camelyon", "validation[:200]", [f"valid_{i}" for i in range(32_768)])
    assert md5(train) == "6e01ef752d10ffae04ecdf9c82941036"
    assert md5(val) == "0ce1cb3d385855dad17e1d9c42edbca7"


def test_cifar_begins_as_published():
    found = part("cifar", "train[:800]")
    assert found[:8] == [16399, 1680, 47917, 17307, 27051, 48736, 26263, 1456]
    assert part("cifar", "train[45000:45200]")[:4] == [13431, 9237, 17462, 32685]


@pytest.mark.parametrize(
    ("name", "words", "digest"),
    [
        ("eurosat", "train[:800]", "e9996ae7ad37196c18b84e8648500571"),
        ("eurosat", "train[21600:]", "aca504e8f6b77756eae4cef76f11f3bf"),
        ("resisc45", "train[25200:]", "ac288f304a525fbd2e3bf9058a69bd14"),
        ("dsprites_loc", "train[663552:]", "102812448bab74a965998d1fdf92e9ca"),
        ("dsprites_ori", "train[663552:]", "34752a30a7fc2b8df16942e9dc9d95c9"),
    ],
)
def test_labels_that_follow_from_keys_are_the_published_ones(name, words, digest):
    raw = SOURCES[name](NOWHERE)
    assert md5(raw.label("train", key) for key in part(name, words)) == digest


def test_holdouts_of_the_vit_paper_s_code():
    order = published_order(range(50_000), "train")
    assert md5(part_of(order, "train[:98%]")) == "f49d87ac8035c1382170f43ebde452d0"
    assert md5(part_of(order, "train[98%:]")) == "b70900fceb447e034502c7b20047df48"


def test_slices_are_those_that_their_words_say():
    order = list(range(10))
    assert part_of(order, "test") == order
    assert part_of(order, "train[:3]") == [0, 1, 2]
    assert part_of(order, "train[7:]") == [7, 8, 9]
    assert part_of(order, "train[20%:40%]") == [2, 3]
    with pytest.raises(ValueError, match="is not of the form"):
        part_of(order, "train[1:2:3]")


@pytest.mark.parametrize(
    ("name", "own"),
    [("cifar_100", "cifar"), ("vtab-cifar(num_classes=100)", "cifar"), ("pets", "oxford_iiit_pet"),
     ('clevr(task="count_all")', "clevr_count"), ("kitti", "kitti"),
     ("smallnorb(predicted_attribute='label_azimuth')", "smallnorb_azi")],
)  # fmt: skip
def test_all_names_in_use_are_understood(name, own):
    assert task_called(name) == own


def test_an_unknown_task_lists_the_known_ones():
    with pytest.raises(ValueError, match="no task 'mnist'; known: caltech101, cifar"):
        task_called("mnist")


def test_there_are_nineteen_tasks_in_groups_of_seven_four_and_eight():
    groups = [task.group for task in TASKS.values()]
    assert [groups.count(g) for g in ("natural", "specialized", "structured")] == [7, 4, 8]
    assert sorted(TASKS) == sorted(SOURCES)


def test_the_mean_of_tasks_is_not_the_mean_of_groups():
    scores = dict.fromkeys(TASKS, 0.5) | {"eurosat": 0.9}
    found = means(scores)
    assert found["all"] == pytest.approx(0.5 + 0.4 / 19)
    assert found["specialized"] == pytest.approx(0.6)
    assert found["groups"] == pytest.approx(0.5 + 0.1 / 3)
