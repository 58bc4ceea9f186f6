"""docs/one_study.md names the functions that a study meets, in the order of their first calls."""

import ast
import re
import signal
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from launch import ROOT, forget_other_class_arguments
from vit.cli.compare import compare
from vit.compare.store import Store

ROW = re.compile(r"^\| \d+ \| `([\w/]+\.py)` \| `([\w.]+)` \|", re.MULTILINE)
SOURCE = ROOT / "src" / "vit"
TEXT = (ROOT / "docs" / "one_study.md").read_text()
ROWS = ROW.findall(TEXT)
ARGV = "--config configs/compare/quick.yaml --arms scratch,mpp --seeds 2"  # fewer, so quicker


def no_run(argv: list[str]) -> int:
    raise AssertionError(f"a run was made: {argv}")


class DoneStore(Store):
    """Every run is taken for done, with a random half of its test images right."""

    def correct(self, job, column, split="test"):
        return np.random.default_rng(job.seed).integers(0, 2, job.tested).astype(float)


@pytest.fixture(scope="module")
def calls(tmp_path_factory) -> list[tuple[str, str]]:
    """The files and functions of this project that the study called, by their first calls."""
    first: dict[tuple[str, str], None] = {}
    rows = {(str(SOURCE / file), name): (file, name) for file, name in ROWS}

    def note(frame, event, arg):
        row = rows.get((frame.f_code.co_filename, frame.f_code.co_qualname))
        if event == "call" and row:
            first.setdefault(row)

    logs, listening = tmp_path_factory.mktemp("logs"), signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # LightningCLI uses jsonargparse so
        patch.chdir(ROOT)
        forget_other_class_arguments(patch)
        patch.setattr("vit.cli.compare.Store", DoneStore)
        patch.setattr("vit.compare.pool.METHOD", "spawn")  # no server, which nothing would use
        patch.setattr(Store, "folder", lambda store, job: logs)
        patch.setattr("vit.compare.store.read_summary", lambda path: {"status": "completed"})
        patch.setattr("vit.compare.store.problem_in_files", lambda job, summary: "")
        sys.setprofile(note)
        try:
            assert compare({"--logs": str(logs)}, ARGV.split(), no_run) == 0
        finally:
            sys.setprofile(None)
            signal.signal(signal.SIGTERM, listening)
    assert (logs / "compare" / "quick" / "report.md").is_file()
    return list(first)


def test_a_study_meets_the_listed_functions_in_this_order(calls):
    assert calls == ROWS


def functions(file: Path) -> set[str]:
    names = set()
    for node in ast.parse(file.read_text()).body:
        names |= {node.name} if isinstance(node, ast.FunctionDef) else set()
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{f.name}" for f in node.body if isinstance(f, ast.FunctionDef)}
    return names


def test_each_function_stands_in_its_file():
    assert [row for row in ROWS if row[1] not in functions(SOURCE / row[0])] == []


def test_the_list_is_short_and_each_file_stands_once():
    files = [file for file, _ in ROWS]
    assert 10 <= len(files) <= 15
    assert len(set(files)) == len(files)


def test_every_file_that_the_page_names_is_there():
    names = re.findall(r"`((?:cli|compare)/\w+\.py)`", TEXT)
    assert [name for name in names if not (SOURCE / name).is_file()] == []
