"""From run folders to scores: draws in rows, folds side by side, and what failed says so."""

import csv
from unittest.mock import Mock

import numpy as np
import pytest

from vit.compare.command import Command
from vit.compare.job import Job
from vit.compare.results import Results
from vit.compare.store import Store
from vit.compare.study import Budget, ConfigPatch, Finetuning, Primary, Study, Tuning
from vit.compare.tuning import Choice

IMAGES = 3


def results(status: dict[str, str] | None = None) -> Results:
    """One arm, two seeds x two draws x two folds; the numbers of an image say where it is from."""
    study = Study("?", ["a"], "", {"task": ConfigPatch("")}, Finetuning("", 1), Primary("task"),
                  budget=Budget(), protocols=[], controls=[], tuning=Tuning(1), seeds=2, folds=2,
                  label_draws=2)  # fmt: skip
    right, jobs = {}, []
    for seed in range(2):
        jobs.append(Job(f"p{seed}", Command("fit"), "pretrain", "a", seed))
        for draw in (2 * seed, 2 * seed + 1):
            for fold in range(2):
                name = f"{seed}{draw}{fold}"
                fit = Job(name, Command("fit"), "transfer", "a", seed, draw, "task", fold=fold,
                          trial=draw - seed, needs=(f"p{seed}",))  # fmt: skip
                test = Job(f"{name}t", Command("test"), "test", "a", seed, draw, "task",
                           fold=fold, needs=(name,))  # fmt: skip
                jobs += [fit, test]
                right[test.id] = np.array([draw % 2, fold, 1.0])
    states = dict.fromkeys([job.id for job in jobs], "done") | (status or {})
    store = Mock(spec=Store, summary=lambda job: {}, folder=lambda job: None)
    store.status = lambda job: states[job.id]
    store.correct = lambda job, column: right[job.id] if states[job.id] == "done" else None
    return Results(study, ["a"], jobs, store, Choice([0]))


def test_draws_stand_in_rows_and_the_folds_of_a_draw_side_by_side():
    one, _ = results().of("a", "task", "finetune")
    assert one.correct.tolist() == [[0, 0, 1, 0, 1, 1], [1, 0, 1, 1, 1, 1]]
    assert one.accuracy == pytest.approx(8 / 12)
    table, controls = results().table("task", "finetune")
    assert table["a"].shape == (2, 2, 2 * IMAGES)  # seeds x draws x images
    assert controls == ()


def test_a_row_of_results_holds_the_accuracy_and_the_learning_rate_of_every_draw(tmp_path):
    results().write(tmp_path / "results.csv")
    with (tmp_path / "results.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert list(map(float, first["by_draw"].split(";"))) == pytest.approx([3 / 6, 5 / 6])
    assert float(first["accuracy"]) == pytest.approx(8 / 12)
    assert (first["lr_exponent"], second["lr_exponent"]) == ("0;0;1;1", "1;1;2;2")


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ({"011t": "new"}, ["missing", "done"]),
        ({"011": "begun", "011t": "new"}, ["missing", "done"]),
        ({"011": "failed", "011t": "new"}, ["failed", "done"]),
        ({"011t": "failed"}, ["failed", "done"]),
        ({"p1": "failed", "120": "new", "120t": "new"}, ["done", "failed"]),
    ],
)
def test_what_failed_is_told_from_what_is_not_there_yet(status, told):
    found = results(status)
    assert [score.status for score in found.of("a", "task", "finetune")] == told
    assert found.table("task", "finetune")[0] == {}
