"""Figures of planted arms, score by score: comparisons, controls, failures, tables."""

from dataclasses import replace

import numpy as np
import pytest

from planted import IMAGES, SEEDS, findings, planted
from vit.compare import tables
from vit.compare.conclusion import Conclusion
from vit.compare.curves import draw
from vit.compare.findings import Findings
from vit.compare.results import PIXELS, RANDOM, Results
from vit.compare.study import Claim, ConfigPatch, Primary
from vit.compare.tuning import Choice


def test_scores_hold_each_arms_own_figures_and_ledgers():
    results = planted({"a": 0.2, "b": 0.9})
    for arm, right in (("a", 0.2), ("b", 0.9)):
        scores = results.of(arm, "task", "finetune")
        assert [score.seed for score in scores] == list(range(SEEDS))
        assert np.mean([score.accuracy for score in scores]) == pytest.approx(right, abs=0.03)
        assert {(c.total_flops, c.images_seen, c.labels_used) for c in scores} == {(10.0, 100, 50)}


def test_validation_labels_count_where_something_was_tuned():
    results = planted({"a": 0.2, "b": 0.9})
    first = next(job for job in results.by_id.values() if (job.arm, job.stage) == ("a", "transfer"))
    tried = {first.repetition: [first, replace(first, id="x", flops=30.0)]}
    tuned = Results(results.study, results.arms, list(results.by_id.values()), results.store,
                    Choice([-1, 0, 1], tried=tried))  # fmt: skip
    scores = {s.arm: s for s in tuned.scores if (s.protocol, s.seed) == ("finetune", 0)}
    assert scores["a"].labels_used == 70
    assert (scores["a"].total_flops, scores["a"].images_seen) == (40.0, 200)
    assert (scores["b"].total_flops, scores["b"].images_seen) == (10.0, 100)


def test_the_table_tells_labels_that_taught_from_those_that_something_was_chosen_on():
    """The planted fits learn from 50 labels and choose on 20; a classical control chooses none."""
    results = planted({"a": 0.2, "b": 0.9}, controls={"pixels": 0.3})
    tuned = Results(results.study, results.arms, list(results.by_id.values()), results.store,
                    Choice([-1, 0, 1]))  # fmt: skip
    head, *rows = tables.headline(findings(tuned))
    assert head[-1] == "labels: learned from + chosen on"
    labels = {row[0]: row[-1] for row in rows}
    assert labels["arm a"] == "50 + 20"
    assert labels["raw pixels with a classical classifier"] == "50"


def test_what_is_not_there_says_so():
    results = planted({"a": 0.5, "b": 0.5})
    statuses = {(c.arm, c.protocol): c.status for c in results.scores}
    assert statuses["a", "knn"].startswith("not defined")
    results.store.correct = lambda job, column: None
    again = Results(results.study, results.arms, list(results.by_id.values()), results.store,
                    results.choice)  # fmt: skip
    assert {c.status for c in again.scores if c.protocol == "finetune"} == {"missing"}
    assert findings(again).failures()["a"] == "5 of 5 seeds missing"


def test_a_failed_seed_is_counted_and_shown_and_its_mean_is_not():
    shown = findings(planted({"scratch": 0.6, "dino": 0.8}, failed=(("dino", 1),)))
    assert shown.failures() == {"dino": "1 of 5 seeds failed"}
    row = next(row for row in tables.headline(shown) if row[0] == "DINO")
    assert row[1].split()[1] == "failed"
    assert row[2] == "4 of 5 seeds"


def test_what_the_primary_protocol_does_not_measure_is_named():
    shown = findings(planted({"scratch": 0.6, "dino": 0.6}))
    for score in shown.results.scores:
        if (score.arm, score.protocol) == ("dino", "finetune"):
            score.status, score.accuracy, score.correct = "not defined: no encoder", None, None
    assert shown.failures() == {"dino": "not defined: no encoder (finetune)"}


@pytest.mark.parametrize(
    ("first", "second", "points", "verdict"),
    [("b", "a", 19.0, "agrees"), ("b", "a", None, "agrees"), ("a", "b", 19.0, "contradicts"),
     ("a", "b", -19.0, "agrees"), ("b", "a", 2.0, "agrees in sign, not in size"),
     ("a", "c", 2.0, "cannot tell")],
)  # fmt: skip
def test_claims_are_held_against_the_interval_and_their_size_too(first, second, points, verdict):
    claims = [Claim("somebody said", first, second, points)]
    row = tables.claims(findings(planted({"a": 0.6, "b": 0.8, "c": 0.6}, claims=claims)))[1]
    assert row[:2] == ["somebody said", "more" if points is None else f"{points:+g}"]
    assert row[-1] == verdict


def test_each_look_halves_alpha():
    results = planted({"a": 0.6, "b": 0.63})
    first, later = findings(results), findings(results, looks=2)
    assert (first.alpha, later.alpha) == (0.05, 0.0125)
    widths = [(p.high - p.low) for f in (first, later) for p in f.declared.pairs]
    assert widths[1] > widths[0]


def test_controls_stand_outside_the_family_at_their_best_use():
    results = planted({"a": 0.6, "b": 0.8}, controls={"pixels": 0.3, "kmeans": 0.5, "knn": 0.2})
    assert {RANDOM, PIXELS} < {score.arm for score in results.scores if score.arm not in "ab"}
    comparison = findings(results).declared
    assert len(comparison.family) == 1
    assert comparison.arms["kmeans"].value == pytest.approx(0.5, abs=0.03)
    assert comparison.arms["raw_pixels"].value == pytest.approx(0.3, abs=0.03)


def test_folds_widen_the_part_of_the_seeds_and_no_other():
    plain, folded = (
        findings(planted({"a": 0.6, "b": 0.64}, folds=folds)).declared for folds in (None, 5)
    )
    assert folded.pairs[0].value == plain.pairs[0].value
    assert folded.pairs[0].image_variance == plain.pairs[0].image_variance
    assert folded.pairs[0].p >= plain.pairs[0].p


def test_means_over_vtab_s_tasks_are_told_with_their_groups():
    results = planted({"a": 0.6, "b": 0.8})
    study = results.study
    study.transfer = {"cifar": study.transfer["task"], "kitti": study.transfer["task"]}
    results.scores = [
        replace(score, data=name, accuracy=round(score.accuracy, 1) + gain, pretraining_flops=0.0)
        for name, gain in (("cifar", 0.0), ("kitti", 0.1))
        for score in results.scores
        if score.protocol == "finetune"
    ]
    rows = tables.suite_means(findings(results))
    assert rows[0] == ["arm", "all", "natural", "structured", "groups"]
    assert rows[1][0] == "arm a"
    assert [float(x) for x in rows[1][1:]] == [65.0, 60.0, 70.0, 65.0]
    assert tables.suite_means(findings(planted({"a": 0.6}))) == []


def test_images_of_a_group_are_one_unit_in_a_study_too():
    results = planted({"a": 0.5, "b": 0.8})
    pairs = np.array([f"animal {i // 4}" for i in range(IMAGES)])
    alone, grouped = findings(results).declared, findings(results, groups={"task": pairs}).declared
    assert grouped.unit == "groups of images"
    assert grouped.arms["a"].images == IMAGES // 4
    assert grouped.pairs[0].value == pytest.approx(alone.pairs[0].value)


def test_why_there_is_no_interval_is_said():
    shown = findings(planted({"a": 0.5, "b": 0.5}), groups={"task": np.zeros(IMAGES)})
    assert shown.declared is None
    assert "two test images that do not belong together" in shown.why_no_interval()
    shown.study.seeds = 1
    assert "needs at least two seeds of each arm, this study has 1" in shown.why_no_interval()


def test_an_interval_that_says_nothing_is_not_printed():
    results = planted({"a": 0.5, "b": 0.8}, odd={("a", 0): 0.0}, seeds=2)
    rows = {row[0]: row for row in tables.headline(findings(results))}
    assert "too few seeds for an interval" in rows["arm a"][2]


@pytest.mark.parametrize("images", [1, 2, 3])
@pytest.mark.parametrize("right", ["all", "none", "one arm", "half", "missing"])
@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_the_smallest_studies_end_with_words(images, right, seeds):
    claims = [Claim("w", "scratch", "dino")]
    results = planted({"scratch": 0.5, "dino": 0.5}, claims=claims, seeds=seeds)
    level = {"all": (1.0, 1.0), "none": (0.0, 0.0), "one arm": (1.0, 0.0), "half": (0.5, 0.5)}
    for score in results.scores:
        if score.protocol == "finetune" and right == "missing":
            score.correct, score.accuracy, score.status = None, None, "missing"
        elif score.protocol == "finetune":
            score.correct = np.full((1, images), level[right][score.arm == "dino"])
            score.accuracy = float(score.correct.mean())
    shown = findings(results)
    with np.errstate(all="raise"):
        told = Conclusion(shown)
        lines = [*told.sentences(), *told.about_noise(), *told.about_crossings()]
        kinds = (tables.headline, tables.pairs, tables.ranks, tables.claims)
        rows = [kind(shown) for kind in kinds] + [tables.by_protocol(shown, "task")]
    assert lines
    assert "nan" not in str(lines + rows)


def test_other_declared_endpoints_stand_against_the_best_that_needs_no_pre_training():
    """DINO .7, scratch .5, k-means .6: the gain is over k-means, a control, so without Holm."""
    results = planted({"scratch": 0.5, "dino": 0.7}, controls={"kmeans": 0.6})
    results.study.endpoints = [Primary("task", "finetune")]
    head, row = tables.endpoints(findings(results))
    assert head == tables.ENDPOINTS
    assert row[:2] == ["task, finetune", "DINO"]
    assert row[3] == "k-means features, 59.7"
    assert float(row[4]) == pytest.approx(10, abs=3)
    assert row[6] == "control"
    results.study.controls = []
    alone = planted({"scratch": 0.5, "dino": 0.7})
    alone.study.endpoints = [Primary("task", "finetune")]
    (_, row) = tables.endpoints(findings(alone))
    assert row[3].startswith("scratch, ")
    assert float(row[6]) < 0.05


def test_an_endpoint_without_an_interval_has_no_row():
    results = planted({"scratch": 0.5, "dino": 0.7}, seeds=1)
    results.study.endpoints = [Primary("task", "finetune")]
    assert tables.endpoints(findings(results)) == [tables.ENDPOINTS]


def test_the_curve_along_labels_names_the_endpoint_that_is_declared_for_each(tmp_path, monkeypatch):
    results = planted({"scratch": 0.5, "dino": 0.7})
    study = results.study
    few, many = (ConfigPatch("", set={"labels_per_class": n}) for n in (4, 100))
    study.transfer = {"task": many, "four": few}
    assert "labels.svg" not in draw(findings(results), tmp_path)  # one endpoint is no curve
    study.endpoints = [Primary("four", "ridge")]
    shown = findings(results)
    asked, declared = [], shown.declared
    monkeypatch.setattr(Findings, "declared_at", lambda self, *end: asked.append(end) or declared)
    assert "labels.svg" in draw(shown, tmp_path)
    assert {("four", "ridge"), ("task", "finetune")} <= set(asked)
    text = (tmp_path / "labels.svg").read_text()
    assert "<!-- ridge -->" in text
    assert "<!-- finetune -->" in text
