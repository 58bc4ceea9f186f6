"""The page: the answer first, and below it what a reviewer looks for."""

import re
from types import SimpleNamespace

from planted import findings, planted
from vit.compare.details import Details, merged, tuning_line
from vit.compare.dry_run import DryRun
from vit.compare.duplicates import Duplicates
from vit.compare.history import EarlierReports
from vit.compare.overlap import Overlap
from vit.compare.report import Report, write_report
from vit.compare.study import Tuning
from vit.compare.tables import aligned, markdown
from vit.compare.tuning import Choice

ARMS = {"scratch": 0.6, "supervised": 0.6, "dino": 0.8}


def dry_run(**settings) -> DryRun:
    spec = SimpleNamespace(counts={"train": 50, "val": 45, "test": 448}, classes=tuple("56789"))
    values = dict.fromkeys(DryRun._fields) | {
        "data": SimpleNamespace(spec=spec), "uses_labels": True,
        "views_text": "1 whole image; flip",
    }  # fmt: skip
    return DryRun(**values | settings)


def report(shown=None, **changes) -> Report:
    shown = shown or findings(planted(ARMS, controls={"pixels": 0.3}))
    stages = [*((arm, "task") for arm in shown.arms), ("dino", "pretrain")]
    settings = {
        "dry_runs": {key: dry_run() for key in stages},
        "overlaps": {("dino", "task"): Overlap(3, 7, 448, ("5",))},
        "copies": {"task": Duplicates(2, 1, 0, 0, 448, 45)},
        "failed": [], "stale": [], "earlier": EarlierReports([], []),
    }  # fmt: skip
    return Report(shown, Details(shown, **settings | changes))


def page(**changes) -> str:
    return report(**changes).page(["forest.svg", "cost.svg"])


def test_the_page_begins_with_the_answer_one_table_and_one_picture():
    lines = [line for line in page().splitlines() if line]
    assert lines[0] == "# ?"
    assert lines[1].startswith("**Self-supervised (DINO): +")
    top = page().partition("\n## ")[0]
    assert top.count("![") == 1
    assert top.index("| DINO |") < top.index("![forest](forest.svg)")
    assert len(top.split()) <= 400


def test_the_table_shows_each_seed_validity_and_both_ledgers():
    row = next(line for line in page().splitlines() if line.startswith("| DINO |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert len(cells[1].split()) == 5
    assert re.fullmatch(r"\d\d\.\d \(\d\d\.\d to \d\d\.\d\)", cells[2])
    assert cells[3:] == ["trained", "0", "10", "50"]


def test_the_page_names_data_labels_views_and_overlap():
    text = page()
    assert "task: 50 train, 45 val, 448 test, 5 classes, chance about 20 %" in text
    assert "DINO: pre-trains on 50 train, 45 val, 448 test, with labels; sees 1 whole" in text
    assert "DINO, task: 3 of 448 test images were in its pre-training, 7 more look alike" in text
    assert "classes in both: 5" in text
    assert "task: of 448 test images 2 are or look like a training image" in text
    assert "task: every arm: fine-tunes on 1 whole image; flip" in text
    assert "5 seeds x 1 label draws, each seed with its own" in text


def test_an_arm_that_sees_other_crops_or_has_another_encoder_is_shown():
    shown = findings(planted(ARMS))
    shown.arms["dino"].encoder = "other.yaml"
    runs = {(arm, "task"): dry_run() for arm in ARMS} | {
        ("dino", "task"): dry_run(views_text="2 crops")
    }
    text = report(shown, dry_runs=runs, overlaps={}).page([])
    assert "task: scratch, supervised: fine-tunes on 1 whole image; flip" in text
    assert "task: DINO: fine-tunes on 2 crops" in text
    assert "DINO: encoder other.yaml" in text


def test_the_same_sentence_of_several_arms_is_one():
    assert merged([("a", "x"), ("b", "y"), ("c", "x")]) == ["a, c: x", "b: y"]
    assert merged([("a", "x"), ("b", "x")], all_of=2) == ["every arm: x"]


def test_what_could_change_the_answer_stands_beside_it():
    text = page(stale=["b test"] * 6, earlier=EarlierReports([(3, 1)], ["2026-01-01, q: 3 seeds"]))
    top, _, rest = text.partition("\n## ")
    assert "6 of the runs were made by other code" in top
    assert "Reported before with fewer seeds x draws (3 x 1)" in top
    assert "reported before with other settings: 2026-01-01, q: 3 seeds" in rest
    assert "failed: a transfer seed 1: not finite" in page(failed=["a transfer seed 1: not finite"])


def test_imported_weights_are_not_free():
    shown = findings(planted(ARMS))
    shown.arms["dino"].pretrained, shown.arms["dino"].checkpoint_cost = "their.ckpt", "14 million"
    text = report(shown).page([])
    assert "DINO: starts from their.ckpt, not paid here: 14 million" in text
    assert "| not paid here |" in text


def test_tuning_is_told_with_its_edges():
    assert "nothing was tuned" in tuning_line(Choice([0]), Tuning(1))


def test_the_same_figures_give_the_same_files(tmp_path, capsys):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_report(report(), tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["cost.svg", "forest.svg", "report.md", "results.csv"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert "Self-supervised (DINO): +" in capsys.readouterr().out


def test_a_cell_stays_in_its_cell():
    assert markdown([["a"], ["b|c\nd"]]).splitlines()[2] == "| b\\|c d |"


def test_a_table_for_a_terminal_is_aligned():
    text = aligned([["arm", "accuracy"], ["a long name", "1"]])
    assert text == "arm          accuracy\na long name  1"
