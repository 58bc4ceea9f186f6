"""Planted arms: what a study says of them, score by score."""

from dataclasses import replace

import numpy as np
import pytest

from planted import IMAGES, SEEDS, findings, planted
from vit.compare.findings import Findings
from vit.compare.results import PIXELS, RANDOM, Results
from vit.compare.study import Arm, Claim
from vit.compare.trained import Verdict
from vit.compare.tuning import Choice


def test_a_planted_random_arm_is_no_winner_and_a_better_one_is():
    same = findings(planted({"a": 0.6, "b": 0.6, "c": 0.6})).conclusion()
    assert same[0].startswith("No arm is better than every other.")
    assert "Not distinguishable" in same[1]
    assert "not evidence of equality" in same[-1]
    better = findings(planted({"a": 0.6, "b": 0.8, "c": 0.6})).conclusion()
    assert better[0].startswith("arm b is better than every other arm")


def test_scores_hold_each_arms_own_figures_and_ledgers():
    results = planted({"a": 0.2, "b": 0.9})
    for arm, share in (("a", 0.2), ("b", 0.9)):
        scores = results.of(arm, "task", "finetune")
        assert [score.seed for score in scores] == list(range(SEEDS))
        assert np.mean([score.accuracy for score in scores]) == pytest.approx(share, abs=0.03)
        assert {(c.total_flops, c.images_seen, c.labels_used) for c in scores} == {(10.0, 100, 50)}


def test_validation_labels_count_where_something_was_tuned():
    results = planted({"a": 0.2, "b": 0.9})
    tuned = Results(results.study, results.arms, list(results.by_id.values()), results.store,
                    Choice([-1, 0, 1], flops={"a task": {"x": 30.0}}))  # fmt: skip
    scores = {score.arm: score for score in tuned.scores if score.protocol == "finetune"}
    assert scores["a"].labels_used == 70
    assert scores["a"].total_flops == 40.0
    assert scores["b"].total_flops == 10.0


def test_what_is_not_there_says_so():
    results = planted({"a": 0.5, "b": 0.5})
    statuses = {(c.arm, c.protocol): c.status for c in results.scores}
    assert statuses["a", "knn"].startswith("not defined")
    results.store.correct = lambda job, column: None
    again = Results(results.study, results.arms, list(results.by_id.values()), results.store,
                    results.choice)  # fmt: skip
    assert {c.status for c in again.scores if c.protocol == "finetune"} == {"missing"}
    assert findings(again).conclusion()[0].startswith("No conclusion")


def test_arms_that_the_primary_protocol_cannot_judge_are_named():
    found = findings(planted({"a": 0.6, "b": 0.6}))
    for score in found.results.scores:
        if (score.arm, score.protocol) == ("b", "finetune"):
            score.status, score.accuracy, score.correct = "not defined: no encoder", None, None
    assert "arm b: not defined under finetune." in found.conclusion()


def test_an_untrained_arm_is_named_and_stays_in_the_table():
    found = findings(planted({"a": 0.6, "b": 0.3}), b=Verdict(False, ["collapsed"], short=True))
    assert "arm b: NOT TRAINED, too short: its loss was still falling." in found.conclusion()
    assert any(row[0] == "arm b" for row in found.headline("task"))


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [("b", "a", "agrees"), ("a", "b", "contradicts"), ("a", "c", "cannot tell")],
)
def test_claims_are_judged_by_the_interval(first, second, verdict):
    claims = [Claim("somebody said", first, second, 2.0)]
    found = findings(planted({"a": 0.6, "b": 0.8, "c": 0.6}, claims=claims))
    row = found.claims()[1]
    assert row[:2] == ["somebody said", "+2"]
    assert row[-1] == verdict
    if verdict != "cannot tell":
        assert float(row[2]) == pytest.approx(20 if first == "b" else -20, abs=3)


def test_each_extension_halves_alpha():
    results = planted({"a": 0.6, "b": 0.63})
    first = findings(results)
    later = Findings(results, first.arms, {}, [3, 4])
    assert (first.alpha, later.alpha) == (0.05, 0.0125)
    widths = [(p.high - p.low) for f in (first, later) for p in f.comparison(*f.primary).pairs]
    assert widths[1] > widths[0]


def test_controls_stand_outside_the_family():
    results = planted({"a": 0.6, "b": 0.8})
    assert {RANDOM, PIXELS} == {score.arm for score in results.scores if score.arm not in "ab"}
    assert len(findings(results).comparison("task", "finetune", None).family) == 1


def worth(accuracy: dict[str, float], **settings) -> str:
    """The last sentence, where arm b is pre-trained."""
    results = planted(accuracy, **settings)
    arms = {name: Arm(f"arm {name}", pretrain="x" if name == "b" else None) for name in accuracy}
    return Findings(results, arms, {}, []).conclusion()[-1]


def test_whether_pre_training_pays_is_said_in_one_sentence():
    assert worth({"a": 0.5, "b": 0.8, "c": 0.6}).startswith(
        "Pre-training is worth it here: arm b +18.8 points against arm c"
    )
    loses = worth({"a": 0.8, "b": 0.5})
    assert loses.startswith("Pre-training is not worth it here: arm b -")
    assert loses.endswith("more labels are what to add.")
    open_ = worth({"a": 0.6, "b": 0.605})
    assert open_.startswith("Whether pre-training is worth it cannot be told: arm b")
    assert open_.endswith(("more seeds would settle it.", "more test images would settle it."))


def test_without_both_kinds_of_arms_nothing_is_said_of_pre_training():
    assert "re-training" not in findings(planted({"a": 0.5, "b": 0.8})).conclusion()[-1]


def test_folds_widen_intervals_by_what_their_shared_images_hide():
    plain, folded = (
        findings(planted({"a": 0.6, "b": 0.64}, folds=folds)).comparison("task", "finetune")
        for folds in (None, 5)
    )
    assert folded.pairs[0].value == plain.pairs[0].value
    more = folded.pairs[0].seed_variance / plain.pairs[0].seed_variance
    assert more == pytest.approx(1 + SEEDS * 5 / 4)
    assert folded.pairs[0].image_variance == plain.pairs[0].image_variance
    assert folded.pairs[0].p > plain.pairs[0].p


def test_means_over_vtab_s_tasks_are_told_with_their_groups():
    results = planted({"a": 0.6, "b": 0.8})
    study = results.study
    study.transfer = {"cifar": study.transfer["task"], "kitti": study.transfer["task"]}
    scores = []
    for name, gain in (("cifar", 0.0), ("kitti", 0.1)):
        for score in results.scores:
            if score.protocol == "finetune":
                share = round(score.accuracy, 1) + gain
                one = replace(score, data=name, accuracy=share, pretraining_flops=0.0)
                scores.append(one)
    results.scores = scores
    rows = findings(results).suite_means()
    assert rows[0] == ["arm", "all", "natural", "structured", "groups"]
    assert rows[1][0] == "arm a"
    assert [float(x) for x in rows[1][1:]] == [65.0, 60.0, 70.0, 65.0]
    assert findings(planted({"a": 0.6})).suite_means() == []


def test_images_of_a_group_are_one_unit_in_a_study_too():
    results = planted({"a": 0.5, "b": 0.8})
    arms = {name: Arm(name) for name in "ab"}
    pairs = np.array([f"animal {i // 4}" for i in range(IMAGES)])
    alone = Findings(results, arms, {}, []).comparison("task", "finetune")
    grouped = Findings(results, arms, {}, [], {"task": pairs}).comparison("task", "finetune")
    assert grouped.unit == "groups of images"
    assert grouped.arms["a"].images == IMAGES // 4
    assert grouped.pairs[0].value == pytest.approx(alone.pairs[0].value)


def test_why_there_is_no_conclusion_is_said():
    results = planted({"a": 0.5, "b": 0.5})
    found = findings(results)
    found.groups = {"task": np.zeros(IMAGES)}
    assert found.comparison(*found.primary) is None
    assert "two test images that do not belong together" in found.conclusion()[0]
    results.store.correct = lambda job, column: None
    empty = Results(results.study, results.arms, list(results.by_id.values()), results.store,
                    results.choice)  # fmt: skip
    assert "no arm has all its runs at the primary endpoint" in findings(empty).conclusion()[0]
    results.study.seeds = 1
    assert "needs at least two seeds of each arm, this study has 1" in found.conclusion()[0]


@pytest.mark.parametrize("images", [1, 2, 3])
@pytest.mark.parametrize("right", ["all", "none", "one arm", "half", "missing"])
@pytest.mark.parametrize("seeds", [1, 2])
def test_the_smallest_studies_end_with_words(images, right, seeds):
    results = planted({"a": 0.5, "b": 0.5}, claims=[Claim("w", "a", "b")])
    share = {"all": (1.0, 1.0), "none": (0.0, 0.0), "one arm": (1.0, 0.0), "half": (0.5, 0.5)}
    results.study.seeds = seeds
    results.scores = [score for score in results.scores if score.seed < seeds]
    for score in results.scores:
        if score.protocol == "finetune" and right == "missing":
            score.correct, score.accuracy, score.status = None, None, "missing"
        elif score.protocol == "finetune":
            score.correct = np.full(images, share[right][score.arm == "b"])
            score.accuracy = float(score.correct.mean())
    found = findings(results)
    with np.errstate(all="raise"):
        lines = found.conclusion()
        told = [found.headline("task"), found.pairs(), found.ranks(), found.claims()]
    assert all(isinstance(line, str) and "nan" not in line for line in lines)
    assert "nan" not in str(told)
