"""correct.csv holds every test image once, right or wrong, on any number of ranks."""

import csv
import json
import shutil

import pytest

from launch import launch

SHORT = (
    "fit", "--config", "configs/quickstart.yaml", "--trainer.max_epochs", "1",
    "--trainer.limit_train_batches", "4", "--test_after_fit", "true",
    "--data.test_fraction", "0.2005",  # 361 images: one of two ranks pads its last batch
)  # fmt: skip


def test_two_ranks_write_what_one_writes(tmp_path):
    ended = launch(*SHORT, cwd=tmp_path)
    assert ended.code == 0, ended.everything
    run = tmp_path / ended.run
    with (run / "correct.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["index"]) for row in rows] == list(range(361))
    accuracy = sum(float(row["accuracy"]) for row in rows) / 361
    summary = json.loads((run / "summary.json").read_text())
    assert accuracy == pytest.approx(summary["test/accuracy"])

    alone = shutil.copy(run / "correct.csv", tmp_path / "alone.csv")
    words = ("--trainer", "configs/trainer/ddp.yaml", "--trainer.accelerator", "cpu",
             "--trainer.devices", "2", "--trainer.precision", "32-true")  # fmt: skip
    again = launch("test", "--from", str(run), *words, cwd=tmp_path, ranks=2)
    assert again.code == 0, again.everything
    assert (run / "correct.csv").read_bytes() == (tmp_path / alone).read_bytes()
    again = json.loads((run / "summary.test.json").read_text())
    for name in ("test/images", "test/accuracy_low", "test/accuracy_high"):
        assert again[name] == summary[name]
    assert summary["test/images"] == 361
