"""What run folders say is held against itself: nothing torn or edited becomes a figure."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from vit.compare.command import Command
from vit.compare.job import Job
from vit.compare.store import Store

FIT = Job("f0", Command("fit"), "transfer", "a", 0)
TEST = Job("t0", Command("test"), "test", "a", 0, needs=("f0",), tested=4)
PROBE = Job("p0", Command("evaluate"), "probe", "a", 0, tested=4, about={"splits": {"test": "s"}})
SHORT = "index,accuracy\r\n0,1\r\n1,0\r\n2,1\r\n3,0\r\n"
WIDE = "index,knn,knn_pixels,pixels\r\n" + "".join(
    f"{row}\r\n" for row in ("0,1,0,1", "1,0,0,1", "2,1,0,1", "3,0,1,1")
)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def fit(root: Path, **changes) -> Path:
    folder = root / "a.f0" / "2026-01-01_00-00-00_seed0"
    folder.mkdir(parents=True, exist_ok=True)
    summary = {"status": "completed", "seconds": 1.0, "val/accuracy": 0.25, "val/loss": 2.0}
    (folder / "summary.json").write_text(json.dumps(summary | changes))
    rows = "step,epoch,name,value\n1,0,val/accuracy,0.5\n2,0,val/accuracy,0.25\n2,0,val/loss,2.0\n"
    (folder / "metrics.csv").write_text(rows)
    return folder


def measured(root: Path, text: str = SHORT, **changes) -> Path:
    folder = fit(root)
    summary = {"status": "completed", "test/accuracy": 0.5, "correct_sha256": sha(SHORT)}
    (folder / "summary.test.json").write_text(json.dumps(summary | changes))
    (folder / "correct.csv").write_text(text, newline="")
    return folder


def probed(root: Path, text: str = WIDE, val: str = WIDE, **changes) -> Path:
    folder = root / "a.p0" / "2026-01-01_00-00-00_seed0"
    folder.mkdir(parents=True, exist_ok=True)
    summary = {
        "status": "completed", "splits": {"test": "s"}, "seconds": 1.0, "effective_rank": 9.0,
        "correct_sha256": {"val": sha(WIDE), "test": sha(WIDE)}, "protocol_ids": {"test/knn": "x"},
        "chosen": {},
    }  # fmt: skip
    for split in ("val", "test"):
        for name, share in (("knn/accuracy", 0.5), ("knn/accuracy_pixels", 0.25),
                            ("pixels/accuracy", 1.0)):  # fmt: skip
            summary[f"{split}/{name}"] = share
    (folder / "summary.evaluate.json").write_text(json.dumps(summary | changes))
    (folder / "correct.test.csv").write_text(text, newline="")
    (folder / "correct.val.csv").write_text(val, newline="")
    return folder


def test_what_agrees_is_done_and_read(tmp_path):
    measured(tmp_path)
    probed(tmp_path)
    store = Store(tmp_path)
    assert [store.status(job) for job in (FIT, TEST, PROBE)] == ["done"] * 3
    assert store.correct(TEST, "accuracy").tolist() == [1, 0, 1, 0]
    assert store.correct(PROBE, "pixels").tolist() == [1, 1, 1, 1]
    assert store.correct(PROBE, "attentive") is None
    assert store.summary(PROBE)["effective_rank"] == 9.0


def test_an_edited_table_is_measured_anew_and_told_once_with_both_values(tmp_path, capsys):
    folder = measured(tmp_path, SHORT.replace(",0", ",1"))
    store = Store(tmp_path)
    assert [store.status(TEST), store.status(TEST)] == ["new", "new"]
    assert store.correct(TEST, "accuracy") is None
    assert store.summary(TEST) == {}
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"warning: {folder}/correct.csv says 100.0 % for test/accuracy, summary.test.json 50.0 %; "
        "this is measured anew"
    )


def test_an_edited_summary_is_the_same_problem(tmp_path, capsys):
    measured(tmp_path, **{"test/accuracy": 1.0})
    probed(tmp_path, **{"val/knn/accuracy": 0.9})
    store = Store(tmp_path)
    assert [store.status(job) for job in (TEST, PROBE)] == ["new", "new"]
    told = capsys.readouterr().err
    assert "correct.csv says 50.0 % for test/accuracy, summary.test.json 100.0 %" in told
    assert "correct.val.csv says 50.0 % for val/knn/accuracy, summary.evaluate.json 90.0 %" in told


def test_rows_that_changed_places_are_known_by_their_hash(tmp_path, capsys):
    """The mean is the same; paired with other arms' rows the figures would not be."""
    other = SHORT.replace("0,1\r\n1,0", "0,0\r\n1,1")
    measured(tmp_path, other)
    assert Store(tmp_path).status(TEST) == "new"
    told = capsys.readouterr().err
    assert f"sha256 {sha(other)[:12]}" in told
    assert f"summary.test.json {sha(SHORT)[:12]}" in told


def test_a_run_from_before_hashes_were_kept_is_believed(tmp_path):
    measured(tmp_path, correct_sha256=None)
    probed(tmp_path, correct_sha256={})
    assert [Store(tmp_path).status(job) for job in (TEST, PROBE)] == ["done", "done"]


@pytest.mark.parametrize(
    "text",
    [
        SHORT.replace("0,1", "0,2"), SHORT.replace("0,1", "0,nan"), SHORT.replace("0,1", "0,-1"),
        SHORT.replace("0,1", "0,x"), SHORT.replace("0,1", "0,"), SHORT.replace("0,1", "0,1,1"),
        SHORT.replace("0,1", "0"), SHORT.replace("1,0\r\n2,1", "2,1\r\n1,0"), SHORT[:-3],
        SHORT.replace("1,0\r\n", ""), SHORT.replace("accuracy", "index"), SHORT + "4,0\r\n", "",
        "index,accuracy\r\n", "accuracy\r\n", SHORT.replace("0,1", "0,\0"), SHORT + "\r\n\r\n",
        SHORT.replace("accuracy", "knn"), SHORT.replace("0,1", '0,"1'), "index\r\n0\r\n1\r\n2\r\n3",
    ],
)  # fmt: skip
def test_a_torn_or_foreign_table_is_measured_anew(tmp_path, text, capsys):
    folder = measured(tmp_path, text, correct_sha256=sha(text))
    assert Store(tmp_path).status(TEST) == "new"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {folder}/correct.csv ")


def test_an_image_that_cannot_be_read_is_left_out_and_no_other(tmp_path):
    """With data.on_error skip; the plan says which: the same for every arm."""
    gap = SHORT.replace("1,0\r\n", "")
    measured(tmp_path, gap, **{"test/accuracy": 2 / 3, "correct_sha256": sha(gap)})
    store = Store(tmp_path)
    without = replace(TEST, tested=3, unread=(1,))
    assert store.status(without) == "done"
    assert store.correct(without, "accuracy").tolist() == [1, 1, 0]
    others = (TEST, replace(without, unread=(2,)), replace(without, unread=(1, 3)),
              replace(without, unread=()), replace(without, tested=4))  # fmt: skip
    assert [store.status(job) for job in others] == ["new"] * 5


def test_bytes_that_are_no_text_are_measured_anew(tmp_path):
    (measured(tmp_path) / "correct.csv").write_bytes(b"\xff\xfe" * 20)
    assert Store(tmp_path).status(TEST) == "new"
    (measured(tmp_path) / "correct.csv").unlink()
    assert Store(tmp_path).status(TEST) == "new"


def test_a_column_that_is_gone_is_missed(tmp_path, capsys):
    text = "index,knn,pixels\r\n0,1,1\r\n1,0,1\r\n2,1,1\r\n3,0,1\r\n"
    probed(tmp_path, text, correct_sha256={})
    assert Store(tmp_path).status(PROBE) == "new"
    assert "knn_pixels" in capsys.readouterr().err


@pytest.mark.parametrize(
    "changes",
    [
        {"test/accuracy": "0.5"}, {"test/accuracy": None}, {"test/accuracy": True},
        {"test/accuracy": [0.5]}, {"test/accuracy": 10**400}, {"test/accuracy": float("nan")},
        {"status": ["completed"]}, {"correct_sha256": 5}, {"test/loss": "x"}, {"seconds": "long"},
    ],
)  # fmt: skip
def test_values_that_are_no_numbers_are_measured_anew(tmp_path, changes):
    measured(tmp_path, **changes)
    store = Store(tmp_path)
    assert store.status(TEST) == "new"
    assert store.summary(TEST) == {}
    assert store.correct(TEST, "accuracy") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"splits": 3}, {"protocol_ids": [1]}, {"chosen": 3}, {"effective_rank": "wide"},
        {"seconds": {}}, {"val/knn/accuracy": "x"}, {"correct_sha256": "x"}, {"splits": None},
    ],
)  # fmt: skip
def test_a_summary_of_another_shape_is_measured_anew(tmp_path, changes):
    probed(tmp_path, **changes)
    store = Store(tmp_path)
    assert (store.status(PROBE), store.summary(PROBE)) == ("new", {})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"val/accuracy": 0.9}, "says val/accuracy 0.9, metrics.csv 0.25"),
        ({"val/loss": 1.5}, "says val/loss 1.5, metrics.csv 2.0"),
        ({"val/accuracy": "best"}, "val/accuracy is 'best', no number"),
        ({"seconds": []}, "seconds is [], no number"),
    ],
)
def test_a_fit_with_an_edited_summary_chooses_nothing(tmp_path, changes, why):
    folder = fit(tmp_path, **changes)
    store = Store(tmp_path)
    assert store.status(FIT) == "failed"
    assert store.summary(FIT) == {}
    assert why in store.problem_in_results(FIT)
    assert str(folder) in store.problem_in_results(FIT)


def test_a_summary_without_end_is_a_failed_one(tmp_path):
    (measured(tmp_path) / "summary.test.json").write_text("[" * 100_000)
    assert Store(tmp_path).status(TEST) == "failed"


def test_metrics_that_were_torn_are_read_as_far_as_they_are_whole(tmp_path):
    folder = fit(tmp_path)
    (folder / "metrics.csv").write_text(
        "step,epoch,name,value\n1,0,val/loss,3.0\n2,0,val/loss,2.0\nx,0,val/loss,1\n3,0,val/lo"
    )
    assert Store(tmp_path).validation_losses(FIT) == {1: 3.0, 2: 2.0}
    (folder / "metrics.csv").write_bytes(b"\xff\x00")
    assert Store(tmp_path).validation_losses(FIT) == {}


def test_a_folder_that_goes_while_it_is_looked_at_is_not_there(tmp_path, monkeypatch):
    folder = fit(tmp_path)
    monkeypatch.setattr(Path, "glob", lambda *_: iter([folder, folder.with_name("gone_seed0")]))
    assert Store(tmp_path).folder_of("f0") == folder
