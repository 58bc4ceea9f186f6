"""The page: what a reviewer looks for stands in it."""

from types import SimpleNamespace

from planted import findings, planted
from vit.compare.dry_run import DryRun
from vit.compare.overlap import Overlap
from vit.compare.report import Report, aligned, markdown, tuning_line
from vit.compare.study import Tuning
from vit.compare.tuning import Choice


def dry_run(**settings) -> DryRun:
    spec = SimpleNamespace(counts={"train": 50, "val": 45, "test": 448}, classes=tuple("56789"))
    values = {"settings": {}, "data": SimpleNamespace(spec=spec), "flops": 1.0, "uses_labels": True,
              "parameters": 1, "seconds": 1.0, "views_text": "1 whole image; flip",
              "trivial_baseline": None}  # fmt: skip
    return DryRun(**values | settings)


def page(**changes) -> str:
    shown = findings(planted({"a": 0.6, "b": 0.8}))
    settings = {
        "dry_runs": {key: dry_run() for key in (("a", "task"), ("b", "task"), ("b", "pretrain"))},
        "overlaps": {("b", "task"): Overlap(3, 7, 448, ("5",))},
        "failed": [], "stale": [], "others": [],
    }  # fmt: skip
    return Report(shown, **settings | changes).page([])


def test_the_page_names_data_labels_views_and_overlap():
    text = page()
    assert "task: 50 train, 45 val, 448 test, 5 classes" in text
    assert (
        "arm b pre-trains on 50 train, 45 val, 448 test, with labels; it sees 1 whole image" in text
    )
    assert (
        "3 of 448 test images were in its pre-training, 7 more look alike; classes in both: 5"
        in text
    )
    assert "every arm fine-tunes on 1 whole image; flip" in text
    assert "5 seeds x 1 label draws, each seed with its own" in text
    assert "chance about 20 %" in text


def test_what_went_wrong_or_was_changed_is_told():
    text = page(failed=["a transfer seed 1: not finite"], stale=["b test"] * 6,
                others=["2026-01-01: 3 seeds, primary task, knn"])  # fmt: skip
    assert "failed: a transfer seed 1: not finite" in text
    assert "6 runs were made by other code" in text
    assert "reported before with other settings: 2026-01-01: 3 seeds, primary task, knn" in text


def test_imported_weights_are_not_free():
    shown = findings(planted({"a": 0.6, "b": 0.8}))
    shown.arms["a"].pretrained, shown.arms["a"].checkpoint_cost = "their.ckpt", "14 million labels"
    report = Report(shown, {("a", "task"): dry_run()}, {}, [], [], [])
    assert "starts from their.ckpt, not paid here: 14 million labels" in report.page([])
    assert "not paid here" in shown.headline("task")[1]


def test_tuning_is_told_with_its_edges():
    choice = Choice([-1, 0, 1], {"a task": 1, "b task": 0}, edge=["a task"])
    text = tuning_line(choice, Tuning(3, 3.0))
    assert "3 learning rates for each arm and task" in text
    assert "as factors of the arm's own: a task x 3, b task x 1" in text
    assert "still at the grid's edge: a task" in text
    assert "nothing was tuned" in tuning_line(Choice([0]), Tuning(1))


def test_a_cell_stays_in_its_cell():
    assert markdown([["a"], ["b|c\nd"]]).splitlines()[2] == "| b\\|c d |"


def test_a_table_for_a_terminal_is_aligned():
    text = aligned([["arm", "accuracy"], ["a long name", "1"]])
    assert text == "arm          accuracy\na long name  1"
