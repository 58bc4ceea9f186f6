"""A person's own folder: classes, splits and groups as they meant them, or one line why not."""

import csv
import json
import os
from pathlib import Path

import pytest

from launch import launch
from pictures import folder, picture, saved
from vit.data import ImageFolder, image_folder, listing
from vit.data.sampling import BatchIndices

FAST = ("--data.image_size", "16", "--data.workers", "0", "--data.batch_size", "8")


@pytest.fixture(autouse=True)
def _fresh():
    """Each test looks at its own folder; a process looks at one once."""
    for known in (
        listing.survey,
        image_folder.chosen_listing,
        image_folder.open_folder,
        image_folder.draw_splits,
    ):
        known.cache_clear()


def names(data: ImageFolder, split: str) -> list[str]:
    source, _ = data.files()
    return [source.name(i) for i in data.split_indices()[split]]


def table(root: Path, rows: list[dict]) -> None:
    with (root / "labels.csv").open("w", newline="") as file:
        out = csv.DictWriter(file, fieldnames=list(rows[0]))
        out.writeheader()
        out.writerows(rows)


def test_folders_are_classes_and_folds_take_turns(tmp_path):
    folder(tmp_path, {"cat": 20, "Dog": 30, "unlabelled": 6})
    data = [ImageFolder(str(tmp_path), fold=fold) for fold in range(5)]
    assert data[0].spec.classes == ("Dog", "cat")
    assert data[0].spec.counts == {"train": 36, "val": 4, "test": 10}
    tested = sorted(name for one in data for name in names(one, "test"))
    assert tested == sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.glob("[cD]*/*"))
    for one in data:
        parts = [set(names(one, split)) for split in ("train", "val", "test")]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 50
        assert sum(name.startswith("cat") for name in names(one, "test")) == 4


def test_unlabelled_pictures_are_trained_on_where_asked_for(tmp_path):
    folder(tmp_path, {"cat": 20, "dog": 20, "unlabelled": 6})
    whole = ImageFolder(str(tmp_path), unlabelled=True, labels_per_class=3)
    assert whole.spec.counts["train"] == 2 * 3 + 6
    labels = whole.files()[1]
    assert [labels[i] for i in whole.split_indices()["train"]][-6:] == [-1] * 6
    assert names(whole, "test") == names(ImageFolder(str(tmp_path)), "test")


def test_folders_of_splits_are_kept_and_classes_are_those_of_train(tmp_path):
    folder(tmp_path, {"train/a": 6, "train/b": 6, "valid/b": 2, "test/a": 3})
    data = ImageFolder(str(tmp_path))
    assert data.spec.counts == {"train": 12, "val": 2, "test": 3}
    labels = data.files()[1]
    assert {labels[i] for i in data.split_indices()["val"]} == {1}
    folder(tmp_path, {"test/c": 1})
    listing.survey.cache_clear()
    image_folder.chosen_listing.cache_clear()
    with pytest.raises(ValueError, match="class c is in test only"):
        ImageFolder(str(tmp_path))


def test_train_and_val_alone_are_tested_on_val_and_choose_on_a_part_of_train(tmp_path):
    folder(tmp_path, {"train/a": 20, "train/b": 20, "val/a": 5, "val/b": 5})
    data = ImageFolder(str(tmp_path))
    assert data.spec.counts == {"train": 36, "val": 4, "test": 10}
    assert all(name.startswith("val/") for name in names(data, "test"))
    assert all(name.startswith("train/") for name in names(data, "val"))


def test_a_table_says_labels_splits_and_groups(tmp_path):
    folder(tmp_path, {"": 60})
    files = sorted(p.name for p in tmp_path.glob("*.jpg"))
    animals = [f"animal {i // 4}" for i in range(60)]
    table(tmp_path, [{"file": f, "label": ["x", "y", ""][i % 3], "group": animals[i]}
                     for i, f in enumerate(files)])  # fmt: skip
    data = ImageFolder(str(tmp_path), unlabelled=True)
    assert data.spec.classes == ("x", "y")
    where = {name: split for split in ("train", "val", "test") for name in names(data, split)}
    for split in ("val", "test"):
        seen = {animals[files.index(n)] for n in where if where[n] == split}
        rest = {animals[files.index(n)] for n in where if where[n] not in (split,)}
        labelled = {animals[files.index(n)] for n in where
                    if where[n] != split and files.index(n) % 3 < 2}  # fmt: skip
        assert seen
        assert not seen & labelled
        assert not seen & rest


def test_a_group_in_two_of_the_persons_own_splits_is_refused(tmp_path):
    folder(tmp_path, {"": 12})
    files = sorted(p.name for p in tmp_path.glob("*.jpg"))
    table(tmp_path, [{"file": f, "label": "xy"[i % 2], "split": "train" if i < 8 else "test",
                      "group": f"g{i // 5}"} for i, f in enumerate(files)])  # fmt: skip
    with pytest.raises(ValueError, match=r"group g1 .* is in train and in test"):
        ImageFolder(str(tmp_path))


def test_a_heap_without_labels_is_split_and_says_so(tmp_path):
    folder(tmp_path, {"": 40})
    data = ImageFolder(str(tmp_path))
    assert data.spec.classes == ()
    assert data.spec.counts == {"train": 28, "val": 4, "test": 8}
    assert "self-supervised" in data.notes[0]


def test_what_is_no_picture_is_passed_over_and_named_where_it_looks_like_one(tmp_path):
    folder(tmp_path, {"a": 10, "b": 10, "__MACOSX": 2, ".ipynb_checkpoints": 2})
    for name in ("a/._0001.jpg", "a/notes.txt", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "b/phone.HEIC").write_bytes(b"x")
    data = ImageFolder(str(tmp_path))
    assert data.spec.classes == ("a", "b")
    assert sum(data.spec.counts.values()) == 20
    assert data.notes == ("1 .heic files are not read; convert them to JPEG or PNG",)


def test_unequal_classes_are_told_with_what_always_one_answer_scores(tmp_path):
    folder(tmp_path, {"many": 40, "few": 10})
    (note,) = ImageFolder(str(tmp_path)).notes
    assert note == "classes differ in size: many 40, few 10; always saying many scores 80 %"


def test_chosen_classes_are_numbered_anew(tmp_path):
    folder(tmp_path, {"a": 10, "b": 10, "c": 10})
    data = ImageFolder(str(tmp_path), classes=["c", "a"])
    assert data.spec.classes == ("a", "c")
    source, labels = data.files()
    assert {(source.name(i)[0], label) for i, label in enumerate(labels)} == {("a", 0), ("c", 1)}


@pytest.mark.parametrize(
    ("counts", "settings", "error"),
    [
        ({}, {}, "no picture below"),
        ({"a": 3}, {"root": "nowhere"}, "nowhere is no folder"),
        ({"a": 10, "b": 10}, {"classes": ["q"]}, "no class 'q'.*known: a, b"),
        ({"a": 10, "b": 10}, {"folds": 1}, "folds must be at least 2"),
        ({"a": 10, "b": 10}, {"fold": 5}, "fold from 0 to folds - 1"),
        (
            {"a": 2, "b": 1},
            {},
            "3 pictures of .* do not make 5 parts; add some, say what is",
        ),
        ({"top/a": 5, "top/b": 5}, {}, "all pictures lie in one folder, top, .*give --data.root"),
        ({"a": 30, "b": 1}, {}, "class b has no training image"),
        ({"train/a": 5, "cats": 5}, {}, "holds cats beside train"),
    ],
)
def test_a_folder_that_cannot_be_used_is_one_line(tmp_path, counts, settings, error):
    folder(tmp_path, counts)
    with pytest.raises((ValueError, FileNotFoundError), match=error):
        ImageFolder(**({"root": str(tmp_path)} | settings))


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([{"name": "0000.jpg"}], "needs columns file and label .or labels., holds name"),
        ([{"file": "0000.jpg", "label": "x", "labels": "x;y"}], "label and labels; keep one"),
        ([{"file": "0009.jpg", "label": "x"}], r"line 2: .*0009.jpg is not there"),
        ([{"file": "0000.jpg", "label": "x", "split": "later"}], "line 2: split 'later'; known"),
        ([{"file": "0000.jpg", "label": "x"}] * 2, "line 3: 0000.jpg stands in line 2 too"),
        (
            [{"file": "0000.jpg", "label": "x"}, {"file": "./a/../0000.jpg", "label": "y"}],
            "line 3: 0000.jpg stands in line 2 too",
        ),
        ([{"file": "0000.jpg", "class": "x"}], "no column label or labels; holds file, class"),
        ([{"file": "", "label": "x"}], "line 2: the column file is empty"),
        ([{"file": "a\\\\0000.jpg", "label": "x"}], "write / between folders"),
    ],
)
def test_a_table_that_cannot_be_used_names_its_line(tmp_path, rows, error):
    folder(tmp_path, {"": 3})
    table(tmp_path, rows)
    with pytest.raises((ValueError, FileNotFoundError), match=error):
        ImageFolder(str(tmp_path))


def test_the_same_split_has_the_same_hash_wherever_it_lies(tmp_path):
    hashes = set()
    for place in ("here", "there"):
        folder(tmp_path / place, {"a": 10, "b": 10})
        hashes.add(ImageFolder(str(tmp_path / place)).split_hash("test"))
    assert len(hashes) == 1
    (tmp_path / "there/a/0000.jpg").rename(tmp_path / "there/b/0000.jpg")
    for known in (
        listing.survey,
        image_folder.chosen_listing,
        image_folder.open_folder,
        image_folder.draw_splits,
    ):
        known.cache_clear()
    moved = ImageFolder(str(tmp_path / "there"))
    assert {moved.split_hash(s) for s in ("train", "val", "test")} - hashes


def run(tmp_path, *words: str):
    config = ("fit", "--config", "configs/pretrain/supervised.yaml", *FAST)
    data = ("--data", "configs/data/image_folder.yaml", "--data.root", str(tmp_path / "mine"))
    return launch(*config[:3], *data, *FAST, "--trainer.max_steps", "4", *words, cwd=tmp_path)


def test_a_run_on_ones_own_pictures_learns_and_can_be_judged(tmp_path):
    folder(tmp_path / "mine", {"a": 20, "b": 20})
    ended = run(tmp_path, "--test_after_fit", "true")
    assert ended.code == 0, ended.everything
    assert "data: ImageFolder, 28 train, 4 val, 8 test, 16x16x3 pixels" in ended.out
    assert "test/accuracy" in ended.out


def test_unlabelled_pictures_are_not_learned_as_class_0(tmp_path):
    folder(tmp_path / "mine", {"a": 20, "b": 20, "unlabelled": 10})
    ended = run(tmp_path, "--data.unlabelled", "true")
    assert ended.code == 2
    assert "10 training images have no label, and the objective learns from labels" in ended.out


def test_neighbours_are_asked_of_labelled_pictures_alone(tmp_path):
    folder(tmp_path / "mine", {"a": 20, "b": 20, "unlabelled": 10})
    words = ("--data.unlabelled", "true", "--model.objective", "configs/objective/mae.yaml")
    probe = ("--trainer.callbacks", "Probe", "--trainer.callbacks.every", "null")
    ended = run(tmp_path, *words, *probe)
    assert ended.code == 0, ended.everything
    table = csv.DictReader((tmp_path / ended.run / "metrics.csv").read_text().splitlines())
    values = {row["name"]: float(row["value"]) for row in table}
    assert values["probe/knn"] in (0, 0.25, 0.5, 0.75, 1)  # of 4 labelled validation pictures


def test_damaged_pictures_end_a_run_or_are_skipped_and_named(tmp_path):
    folder(tmp_path / "mine", {"a": 100, "b": 100})
    for number in (0, 100, 101, 102, 103):
        (tmp_path / "mine" / "ab"[number // 100] / f"{number:04d}.jpg").write_bytes(b"x")
    ended = run(tmp_path)
    assert ended.code == 2
    assert "cannot be read as an image (no image); repair or remove it, or set" in ended.out
    words = ("--data.on_error", "skip", "--trainer.max_steps", "30", "--test_after_fit", "true")
    skipped = run(tmp_path, *words, "--data.most_unread", "0.1")
    assert skipped.code == 0, skipped.everything
    assert skipped.everything.count("skipped a/0000.jpg") == 1
    many = run(tmp_path, "--data.on_error", "skip", "--trainer.max_steps", "30",
               "--data.most_unread", "0.001")  # fmt: skip
    assert many.code == 2
    assert "more than data.most_unread (0.001) allows" in many.out


def test_pictures_of_every_size_and_kind_stand_in_one_batch(tmp_path):
    root = tmp_path / "mine"
    folder(root, {"a": 10, "b": 10})
    for number, (mode, kind) in enumerate([("L", "PNG"), ("RGBA", "PNG"), ("CMYK", "JPEG")]):
        image = picture(number, 20 + 9 * number, 50 - 9 * number, mode)
        (root / "a" / f"odd{number}.png").write_bytes(saved(image, kind))
    assert run(tmp_path).code == 0


def test_groups_follow_their_pictures_into_a_split(tmp_path):
    folder(tmp_path, {"": 40})
    files = sorted(p.name for p in tmp_path.glob("*.jpg"))
    table(tmp_path, [{"file": f, "label": "xy"[i % 2], "group": "" if i < 4 else f"g{i // 4}"}
                     for i, f in enumerate(files)])  # fmt: skip
    data = ImageFolder(str(tmp_path))
    found = dict(zip(names(data, "test"), data.groups("test"), strict=True))
    for name, group in found.items():
        number = files.index(name)
        assert group == (f"g{number // 4}" if number >= 4 else f"alone {number}")
    folder(tmp_path / "other", {"a": 10, "b": 10})
    assert ImageFolder(str(tmp_path / "other")).groups("test") is None


def several(root: Path) -> list[str]:
    """Forty pictures of beach, sea and (two of twenty-four only) ship; the last four of nothing."""
    folder(root, {"": 40})
    files = sorted(p.name for p in root.glob("*.jpg"))
    words = ["beach; sea", "sea", "beach"]
    rows = [words[i % 3] + (";ship" if i < 24 and i % 3 == 1 else "") for i in range(36)] + [""] * 4
    table(root, [{"file": f, "labels": r} for f, r in zip(files, rows, strict=True)])
    return rows


def test_several_labels_of_a_picture_all_count(tmp_path):
    rows = several(tmp_path)
    data = ImageFolder(str(tmp_path), image_size=16, workers=0)
    assert data.spec.multi_label
    assert data.spec.classes == ("beach", "sea", "ship")
    for split in ("train", "val", "test"):
        dataset = data.open(split)
        batch = dataset[BatchIndices(None, [0, 1, -1])]
        place = dataset.places[1]
        said = {name.strip() for name in rows[place].split(";")}
        assert {n for n, x in zip(data.spec.classes, batch.accepted[1], strict=True) if x} == said
        assert not batch.accepted[2].any()
        assert dataset.accepted[:, 2].any(), f"{split} has no ship"
    assert sum(data.spec.counts.values()) == 36  # pictures without a label are not learned from
    fewer = ImageFolder(str(tmp_path), classes=["sea", "ship"], image_size=16)
    assert set(fewer.open("train").accepted.sum(1).tolist()) == {1, 2}
    assert not any(rows[int(name[:4])] == "beach" for name in names(fewer, "train"))
    assert fewer.split_hash("train") != data.split_hash("train")
    with pytest.raises(ValueError, match="labels_per_class needs one label"):
        ImageFolder(str(tmp_path), labels_per_class=2)


def test_a_run_on_several_labels_is_judged_by_average_precision(tmp_path):
    several(tmp_path / "mine")
    sigmoid = ("--model.objective.loss", "sigmoid")
    ended = run(tmp_path, *sigmoid, "--test_after_fit", "true", "--keep_best", "true")
    assert ended.code == 0, ended.everything
    assert "test/map" in ended.out
    found = ended.out.splitlines()[-1].removeprefix("run: ")
    predicted = launch("predict", "--from", found, cwd=tmp_path)
    assert predicted.code == 0, predicted.everything
    text = next(tmp_path.rglob("predictions.csv")).read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert {row["label"] for row in rows} <= {"beach;sea", "sea", "beach", "sea;ship", "beach;ship"}
    refused = launch("evaluate", found, cwd=tmp_path)
    assert refused.code == 2
    assert (
        "this data has several labels an image and its protocols need one; give other"
        in refused.out
    )
    refused = run(tmp_path)
    assert "images have several labels here; set loss to sigmoid" in refused.out


def test_classes_too_small_for_every_part_still_make_parts(tmp_path):
    folder(tmp_path, dict.fromkeys("abcdefgh", 4))
    found = listing.survey(tmp_path)
    parts = [image_folder.draw_fold(tmp_path, found, list(range(32)), 5, i) for i in range(5)]
    assert sorted(place for part in parts for place in part) == list(range(32))


def test_what_is_not_used_or_not_judged_is_told(tmp_path):
    folder(tmp_path / "one", {"a": 20, "b": 20, "unlabelled": 7, "": 2})
    notes = ImageFolder(str(tmp_path / "one")).notes
    assert any("9 pictures without a label are not used" in note for note in notes)
    assert not any(
        "not used" in n for n in ImageFolder(str(tmp_path / "one"), unlabelled=True).notes
    )
    folder(tmp_path / "two", {"train/a": 20, "train/b": 20, "test/a": 5})
    assert "no test picture of: b" in ImageFolder(str(tmp_path / "two")).notes


def test_pictures_without_a_label_count_nowhere(tmp_path):
    folder(tmp_path / "mine", {"train/a": 20, "train/b": 20, "test/a": 4, "test/unlabelled": 5})
    ended = run(tmp_path, "--test_after_fit", "true")
    assert ended.code == 0, ended.everything
    assert "5 of 9 test images have no label; not counted" in ended.out
    lines = (tmp_path / ended.run / "correct.csv").read_text().splitlines()[1:]
    summary = json.loads((tmp_path / ended.run / "summary.json").read_text())
    assert len(lines) == 4
    right = [float(line.split(",")[1]) for line in lines]
    assert summary["test/accuracy"] == pytest.approx(sum(right) / 4)
    judged = launch(
        "evaluate", str(ended.run), "--protocols", "knn", "--split", "test", cwd=tmp_path
    )
    assert judged.code == 0, judged.everything
    assert len((tmp_path / ended.run / "correct.test.csv").read_text().splitlines()) == 5
    predicted = launch("predict", "--from", str(ended.run), cwd=tmp_path)
    assert predicted.code == 0, predicted.everything
    text = next(tmp_path.rglob("predictions.csv")).read_text().splitlines()
    assert text[0].startswith("file,index,label")
    assert {row.split("/")[1] for row in text[1:]} == {"a", "unlabelled"}
    folder(tmp_path / "heap", {"train/a": 20, "train/b": 20, "test": 5})
    words = ("--data.root", str(tmp_path / "heap"), "--test_after_fit", "true")
    refused = run(tmp_path, *words)
    assert refused.code == 2
    assert "no test image has a label" in refused.out


def test_names_that_cannot_be_are_one_line(tmp_path):
    folder(tmp_path / "loop", {"a": 5, "b": 5})
    (tmp_path / "loop/a/back").symlink_to(tmp_path / "loop")
    with pytest.raises(ValueError, match=r"the link .*back leads back to"):
        ImageFolder(str(tmp_path / "loop"))
    folder(tmp_path / "bytes", {"a": 5})
    (tmp_path / "bytes/a" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    with pytest.raises(ValueError, match="is not UTF-8"):
        ImageFolder(str(tmp_path / "bytes"))
    folder(tmp_path / "table", {"": 3})
    (tmp_path / "table/labels.csv").write_bytes("file,label\n0000.jpg,café\n".encode("latin-1"))
    with pytest.raises(ValueError, match="save it as CSV UTF-8"):
        ImageFolder(str(tmp_path / "table"))


def test_what_is_no_file_is_passed_over(tmp_path):
    folder(tmp_path, {"a": 10, "b": 10})
    os.mkfifo(tmp_path / "a/pipe.jpg")
    (tmp_path / "a/self.jpg").symlink_to(tmp_path / "a/self.jpg")
    (tmp_path / "a/gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert sum(ImageFolder(str(tmp_path)).spec.counts.values()) == 20
