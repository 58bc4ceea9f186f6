"""Tables that others read: written whole, grown by whole rows."""

import csv
import hashlib
import json
import re

import pytest

from launch import launch
from vit.callbacks.tables import append_rows, write_rows

HEAD, ROWS = ["a", "b"], [[1, "x,y"], [2, "z"]]
WHOLE = b'a,b\r\n1,"x,y"\r\n2,z\r\n'


def test_a_table_is_what_the_csv_module_reads_and_its_hash_is_the_file_s(tmp_path):
    path = tmp_path / "t.csv"
    sha256 = write_rows(path, HEAD, ROWS)
    assert path.read_bytes() == WHOLE
    assert sha256 == hashlib.sha256(WHOLE).hexdigest()
    assert [file.name for file in tmp_path.iterdir()] == ["t.csv"]


def test_rows_are_added_below_one_header(tmp_path):
    path = tmp_path / "t.csv"
    append_rows(path, HEAD, ROWS[:1])
    append_rows(path, HEAD, ROWS[1:])
    append_rows(path, HEAD, [])
    assert path.read_bytes() == WHOLE


@pytest.mark.parametrize("size", range(len(WHOLE)))
def test_a_row_that_was_torn_is_cut_back_and_none_is_merged(tmp_path, size):
    path = tmp_path / "t.csv"
    path.write_bytes(WHOLE[:size])
    append_rows(path, HEAD, [[3, "new"]])
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == HEAD
    whole = WHOLE[:size].count(b"\n") - 1
    assert rows == [*[["1", "x,y"], ["2", "z"]][: max(whole, 0)], ["3", "new"]]


def test_both_verbs_record_the_hash_of_what_they_wrote(tmp_path):
    short = ("--trainer", "configs/trainer/debug.yaml", "--trainer.enable_progress_bar", "false",
             "--trainer.limit_test_batches", "1.0")  # fmt: skip
    ended = launch("fit", "--config", "configs/quickstart.yaml", *short, "--test_after_fit",
                   "true", cwd=tmp_path)  # fmt: skip
    run = tmp_path / ended.run
    assert launch("test", "--from", str(run), cwd=tmp_path).code == 0
    words = ("--protocols", "knn", "--split", "val,test", "--controls", "none")
    for _ in range(2):
        (run / "evaluations.csv").write_bytes(
            b"date,data,metric,protocol_id,value\r\n2026-01-01,Digits,val/kn"
        )
        assert launch("evaluate", str(run), *words, cwd=tmp_path).code == 0
    found = {
        name: json.loads((run / f"summary{name}.json").read_text())["correct_sha256"]
        for name in ("", ".test", ".evaluate")
    }
    own = hashlib.sha256((run / "correct.csv").read_bytes()).hexdigest()
    assert found[""] == found[".test"] == own
    assert found[".evaluate"] == {
        split: hashlib.sha256((run / f"correct.{split}.csv").read_bytes()).hexdigest()
        for split in ("val", "test")
    }
    lines = (run / "evaluations.csv").read_text().splitlines()
    assert len(lines) == 1 + 2
    assert all(re.fullmatch(r"[\d-]+,Digits,(val|test)/knn/accuracy,knn-\w+,[\d.]+", line)
               for line in lines[1:])  # fmt: skip
