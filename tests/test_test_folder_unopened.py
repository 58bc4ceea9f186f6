"""A fit reads no file of the test folder: opens are counted, in the process and in its workers."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from launch import ROOT, launch
from pictures import folder, picture, saved
from vit.data import ImageFolder
from vit.data.content import contents_of, has_changed

COUNTED = """
import os, sys
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def note(event, arguments):
    if event == "open" and "mine/" in str(arguments[0]):
        os.write(log, (str(arguments[0]) + "\\n").encode())
sys.addaudithook(note)
from vit.cli import main
sys.argv = ["train.py", *sys.argv[2:]]
sys.exit(main(sys.argv[1:]))
"""
FIT = (
    *("--data.root", "mine", "--data.image_size", "16", "--data.batch_size", "8"),
    *("--data.workers", "1", "--model.encoder", "configs/encoder/mini.yaml"),
    *("--trainer.max_epochs", "2", "--trainer.accelerator", "cpu", "--threads", "1"),
)


@pytest.fixture
def mine(tmp_path) -> Path:
    """Folders train, val and test of pictures that all differ."""
    counts = {"train/cat": 9, "train/dog": 9, "val/cat": 16, "val/dog": 16, "test/cat": 5,
              "test/dog": 5}  # fmt: skip
    folder(tmp_path / "mine", counts, kind="PNG")
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    return tmp_path / "mine"


def opened(cwd: Path, *argv: str) -> Counter[str]:
    """How often a file of each split was opened."""
    log = cwd / "opened.txt"
    log.unlink(missing_ok=True)
    ended = subprocess.run(
        [sys.executable, "-c", COUNTED, str(log), *argv],
        cwd=cwd, text=True, check=False, capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    files = [line for line in log.read_text().splitlines() if line.endswith(".png")]
    return Counter(line.split("mine/")[1].split("/")[0] for line in files)


def test_a_fit_opens_training_and_validation_pictures_and_not_one_of_test(mine):
    recipe = ("fit", "--config", "configs/finetune/own_images.yaml", *FIT, "--find")
    counts = opened(mine.parent, *recipe)
    assert counts["train"] > 18
    assert counts["val"] > 32
    assert counts["test"] == 0
    (run,) = (mine.parent / "logs/own_images").iterdir()
    assert opened(mine.parent, "test", "--from", str(run))["test"] >= 10  # the count is awake


def test_a_fit_does_not_miss_test_pictures_that_cannot_be_read(mine):
    for file in (mine / "test").rglob("*.png"):
        file.write_bytes(b"no picture")
    ended = launch("fit", "--config", "configs/finetune/own_images.yaml", *FIT, cwd=mine.parent)
    assert ended.code == 0, ended.out
    assert "18 train, 32 val, 10 test" in ended.out


def test_validation_is_the_folder_val_and_nothing_else(mine):
    data = ImageFolder(str(mine), image_size=16, workers=0)
    assert {name.split("/")[0] for name in data.names("val")} == {"val"}
    assert {name.split("/")[0] for name in data.names("train")} == {"train"}
    assert {name.split("/")[0] for name in data.names("test")} == {"test"}


def test_a_test_split_is_known_by_names_and_sizes(mine):
    def now() -> ImageFolder:
        return ImageFolder(str(mine), image_size=16, workers=0)

    before = contents_of(now())
    assert "test" not in before["content"]
    assert not has_changed(before, now(), "test")
    file = next((mine / "test/dog").iterdir())
    file.write_bytes(saved(picture(7, width=80), "PNG"))
    assert has_changed(before, now(), "test")


def test_an_older_checkpoint_is_still_compared(mine):
    data = ImageFolder(str(mine), image_size=16, workers=0)
    assert not has_changed({"content": {"test": data.content("test")}}, data, "test")
    assert has_changed({"content": {"test": "0123456789abcdef"}}, data, "test")
    assert not has_changed({}, data, "test")
