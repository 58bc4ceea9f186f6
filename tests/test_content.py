"""A split is known by what it holds, and classes by their names."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch

from launch import Ended, launch
from pictures import folder, picture, saved
from vit.batch import Batch
from vit.data import Digits, ImageFolder
from vit.data.content import LOOKED_AT, content_of, image_hashes, relabelling
from vit.data.in_memory import InMemory


def small(**changes) -> InMemory:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (20, 1, 4, 4), dtype=torch.uint8, generator=generator)
    labels = torch.arange(20) % 2
    return InMemory(changes.get("images", images), changes.get("labels", labels))


def test_the_same_content_has_the_same_word_and_any_change_another():
    classes = ("cat", "dog")
    word = content_of(small(), classes)
    assert len(word) == 16
    assert content_of(small(), classes) == word
    pixel, label = small().images, small().labels
    pixel[7, 0, 1, 2] += 1
    label[7] = -1
    others = [content_of(small(images=pixel), classes), content_of(small(labels=label), classes),
              content_of(small(), ("dog", "cat")), content_of(small(), ("cat", "fox"))]  # fmt: skip
    assert len({word, *others}) == 5


def test_of_a_large_split_evenly_spread_pictures_count():
    images = torch.zeros(3 * LOOKED_AT, 1, 1, 1, dtype=torch.uint8)
    labels = torch.zeros(len(images), dtype=torch.int64)
    word = content_of(InMemory(images, labels), ())
    changed = []
    for place in (0, 1, 3, 3 * LOOKED_AT - 3):
        images[place] = 1
        changed.append(content_of(InMemory(images, labels), ()) != word)
        images[place] = 0
    assert changed == [True, False, True, True]


def test_two_swapped_folders_show_though_every_name_stays(tmp_path):
    """cat/0.png and dog/0.png: the listing is the same before and after."""
    for kind, first in (("cat", 0), ("dog", 1)):
        (tmp_path / kind).mkdir()
        for number in range(12):
            content = saved(picture(first, width=30 + number), "PNG")
            (tmp_path / kind / f"{number}.png").write_bytes(content)
    before = ImageFolder(str(tmp_path), workers=0)
    words = {split: before.content(split) for split in ("train", "val", "test")}
    (tmp_path / "cat").rename(tmp_path / "x")
    (tmp_path / "dog").rename(tmp_path / "cat")
    (tmp_path / "x").rename(tmp_path / "dog")
    after = ImageFolder(str(tmp_path), workers=0)
    assert before.split_hash("train") == after.split_hash("train")
    assert all(after.content(split) != word for split, word in words.items())


def test_a_split_that_is_not_there_has_no_word(monkeypatch):
    data = Digits()
    monkeypatch.setattr(data, "open", lambda split: (_ for _ in ()).throw(FileNotFoundError()))
    assert data.content("test") is None


def test_equal_images_have_equal_hashes_in_whatever_data_set(tmp_path):
    hashes = image_hashes(small())
    assert len(set(hashes.tolist())) == 20
    assert torch.equal(image_hashes(small(labels=-small().labels), every=3), hashes[::3])
    folder(tmp_path / "one", {"a": 6, "b": 6}, kind="PNG")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    (tmp_path / "two/a").rename(tmp_path / "two/c")
    (tmp_path / "two/b/0006.png").write_bytes(b"")
    data = [ImageFolder(str(tmp_path / name), workers=0, val_fraction=0.5, folds=2)
            for name in ("one", "two")]  # fmt: skip
    one, two = (
        {*torch.cat([image_hashes(x.open(s)) for s in ("train", "val", "test")]).tolist()}
        for x in data
    )
    assert len(one & two) == len({picture(n).tobytes() for n in range(12) if n != 6})


# ---- classes ------------------------------------------------------------------------------------


def test_classes_in_another_order_are_matched_by_name():
    change = relabelling(("fox", "cat", "dog"), ("cat", "dog", "fox"), "x.ckpt")
    accepted = torch.tensor([[True, False, False], [False, True, True], [False] * 3])
    batch = Batch([torch.zeros(3, 1, 1, 1)], torch.tensor([0, 1, -1]), torch.arange(3),
                  accepted=accepted)  # fmt: skip
    changed = change(batch)
    assert changed.labels.tolist() == [2, 0, -1]
    assert changed.accepted.tolist() == [[False, False, True], [True, True, False], [False] * 3]
    assert relabelling(("a", "b"), ("a", "b"), "x.ckpt") is None


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (("dog", "zebra"), "the data has zebra, which it does not know; the data lacks cat"),
        (("cat",), "the data lacks dog"),
        (tuple("abcdcatdog"), "the data has a, b, c and 7 more, which it does not know"),
        ((), "the data lacks cat, dog"),
    ],
)
def test_other_classes_are_refused_by_name(given, line):
    with pytest.raises(ValueError, match=line):
        relabelling(given, ("cat", "dog"), "x.ckpt")


# ---- whole runs ---------------------------------------------------------------------------------

FIT = (
    *("fit", "--config", "configs/quickstart.yaml", "--data", "configs/data/image_folder.yaml"),
    *("--data.root", "pets", "--data.batch_size", "8", "--data.image_size", "16"),
    *("--data.workers", "0", "--model.encoder.patch_size", "8", "--model.encoder.width", "32"),
    *("--model.encoder.depth", "1", "--trainer.max_epochs", "2", "--test_after_fit", "false"),
    *("--checkpoint_every", "1", "--name", "run"),
)


def pets(cwd: Path) -> Path:
    return folder(cwd / "pets", {"cat": 20, "dog": 20}, kind="PNG")


def only_run(cwd: Path) -> Path:
    (run,) = (cwd / "logs/run").iterdir()
    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    cwd = tmp_path_factory.mktemp("work")
    pets(cwd)
    ended = launch(*FIT, cwd=cwd)
    assert ended.code == 0, ended.out
    return cwd


def again(cwd: Path, *words: str, verb: str = "test") -> Ended:
    return launch(verb, "--from", str(only_run(cwd)), *words, cwd=cwd)


def test_other_animals_are_refused_whatever_their_number(finished, tmp_path):
    folder(tmp_path / "zoo", {"dog": 20, "zebra": 20}, kind="PNG")
    ended = again(finished, "--data.root", str(tmp_path / "zoo"))
    assert ended.code == 2
    (line,) = [line for line in ended.out.splitlines() if line.startswith("error")]
    assert "last.ckpt tells 2 classes apart: the data has zebra, which it does not know" in line
    folder(tmp_path / "three", {"cat": 20, "dog": 20, "fox": 20}, kind="PNG")
    assert "the data has fox" in again(finished, "--data.root", str(tmp_path / "three")).out


def test_another_order_of_the_same_classes_gives_the_same_answers(finished, tmp_path):
    """Asked of a data set of one's own, which counts its classes backwards."""
    assert again(finished).code == 0
    before = json.loads((only_run(finished) / "summary.test.json").read_text())
    assert again(finished, verb="predict").code == 0
    with (only_run(finished) / "predictions.csv").open(newline="") as file:
        first = {Path(row["file"]).name: row for row in csv.DictReader(file)}
    words = ("--data.class_path", "other.Turned", "--trust", "other")
    (finished / "other.py").write_text(
        "from vit.data.image_folder import ImageFolder\n"
        "from dataclasses import replace\n\n\n"
        "class Turned(ImageFolder):\n"
        '    """Pets whose classes count backwards."""\n\n'
        "    def __init__(self, root: str = 'pets', image_size: int = 16) -> None:\n"
        "        super().__init__(root, image_size=image_size, workers=0)\n"
        "        self.spec = replace(self.spec, classes=self.spec.classes[::-1])\n\n"
        "    def files(self):\n"
        "        source, labels = super().files()\n"
        "        return source, [1 - label for label in labels]\n"
    )
    ended = launch("test", "--from", str(only_run(finished)), *words, cwd=finished)
    assert ended.code == 0, ended.out
    assert "stand in another order than the checkpoint's; matched by name" in ended.out
    after = json.loads((only_run(finished) / "summary.test.json").read_text())
    assert after["test/accuracy"] == before["test/accuracy"]
    assert after["test/loss"] == pytest.approx(before["test/loss"], rel=1e-6)
    assert after["trusted"] == ["other"]
    assert launch("predict", "--from", str(only_run(finished)), *words, cwd=finished).code == 0
    with (only_run(finished) / "predictions.csv").open(newline="") as file:
        second = {Path(row["file"]).name: row for row in csv.DictReader(file)}
    assert first == second


def test_a_split_that_changed_since_the_training_is_told(finished, tmp_path):
    copy = tmp_path / "work"
    shutil.copytree(finished, copy, symlinks=True)
    assert "arning" not in again(copy).out
    (copy / "pets/cat").rename(copy / "pets/x")
    (copy / "pets/dog").rename(copy / "pets/cat")
    (copy / "pets/x").rename(copy / "pets/dog")
    assert "warning: the test split is not the one of the training" in again(copy).out


def test_nobody_goes_on_with_flipped_labels(finished, tmp_path):
    pets(tmp_path)
    assert launch(*FIT, cwd=tmp_path, kill_at=3).code == 9
    run = only_run(tmp_path)
    files = sorted((tmp_path / "pets").rglob("*.png"))
    rows = [f"{f.relative_to(tmp_path / 'pets')},{'dog' if 'cat' in str(f) else 'cat'}"
            for f in files]  # fmt: skip
    (tmp_path / "pets/labels.csv").write_text("\n".join(["file,label", *rows]) + "\n")
    ended = launch("fit", "--resume", str(run), cwd=tmp_path)
    assert ended.code == 2
    assert "data: train, val, test changed since the run began" in ended.out
    (tmp_path / "pets/labels.csv").unlink()
    (tmp_path / "pets/cat").rename(tmp_path / "pets/kitten")
    told = launch("fit", "--resume", str(run), cwd=tmp_path)
    assert told.code == 2
    assert "class names changed since the run began" in told.out
    (tmp_path / "pets/kitten").rename(tmp_path / "pets/cat")
    assert launch("fit", "--resume", str(run), cwd=tmp_path).code == 0
    a, b = (torch.load(only_run(cwd) / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
            for cwd in (finished, tmp_path))  # fmt: skip
    assert all(torch.equal(a[name], b[name]) for name in a)
