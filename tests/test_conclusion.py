"""What a study says of planted results, sentence by sentence."""

import pytest

from planted import findings, planted
from vit.compare.conclusion import Conclusion
from vit.compare.results import Results

EQUAL = {"scratch": 0.6, "supervised": 0.6, "dino": 0.6}


def told(accuracy: dict[str, float], states: dict[str, str] | None = None, **settings) -> list[str]:
    return Conclusion(findings(planted(EQUAL | accuracy, **settings), states)).sentences()


def test_twenty_points_are_the_answer_with_their_interval():
    first, *_ = told({"dino": 0.8})
    assert first.startswith("Self-supervised (DINO): +1")
    assert "points against scratch, the best arm without pre-training (95 % interval +" in first
    assert told({"supervised": 0.8})[0].startswith("Supervised: +")


def test_equal_arms_cannot_be_told_apart_and_what_would_settle_it_is_a_number():
    first, *rest = told({})
    assert first.startswith("Cannot be told at this budget: the best pre-trained arm")
    assert any(
        "To tell" in line and "seeds in place of 5" in line and "more of computing" in line
        for line in rest
    )


def test_a_margin_that_was_declared_lets_none_be_said():
    settings = {"images": 40_000, "margin": 0.03}
    first, *_ = told({}, **settings)
    assert first.startswith("None: pre-training is not worth it here; ")
    assert first.endswith("A gain of 3 points or more is excluded.")
    assert told({"supervised": 0.5, "dino": 0.5})[0].startswith("None: pre-training does harm")


def test_a_collapsed_seed_is_named_and_what_was_done_about_it():
    first, *rest = told({"dino": 0.8}, odd={("dino", 3): 0.2})
    assert first.startswith("Cannot be told at this budget")
    assert "seed 3 of DINO stands at 18.9 %, its others at 78.3 %" in first
    line = next(line for line in rest if line.startswith("Seed 3 of DINO, at 18.9 %"))
    assert "counts in every figure" in line
    assert "with seed 3 left out of every arm, DINO would stand +" in line
    assert rest[-1].startswith("The seeds of DINO differ too much")
    assert not any(line.startswith("Seed") for line in told({"dino": 0.8}))


def test_a_failed_seed_is_a_failure_of_its_arm():
    first, *rest = told({"dino": 0.8}, failed=(("dino", 1),))
    assert "DINO has no figure (1 of 5 seeds failed): not ruled out; mend it to compare." in first
    assert "Self-supervised" not in first
    assert rest == ["Before more is run, mend what failed: its output.txt says why."]
    alone = planted({"scratch": 0.6, "dino": 0.8}, failed=(("dino", 1),))
    first, *_ = Conclusion(findings(alone)).sentences()
    assert first.startswith(
        "Cannot be told at this budget: DINO has no figure (1 of 5 seeds failed)"
    )


def test_an_untrained_arm_neither_wins_nor_loses():
    leads = told({"dino": 0.8}, {"dino": "not trained"})
    assert leads[0].startswith("Cannot be told at this budget: DINO gains +")
    assert "yet on validation it did not train (kNN on validation)" in leads[0]
    trails = told({"supervised": 0.5, "dino": 0.4}, {"dino": "not trained"})
    assert trails[0].startswith("Cannot be told at this budget: DINO did not train (kNN on")
    assert "what may not have trained has not lost by that" in trails[0]
    beside = told({"supervised": 0.8}, {"dino": "not trained"})[0]
    assert beside.startswith("Supervised: +")
    assert beside.endswith("(kNN on validation): not ruled out; mend it to compare.")


def test_an_arm_of_which_it_is_not_clear_cannot_lose_either():
    first, *rest = told({"supervised": 0.5, "dino": 0.4}, {"dino": "cannot tell"})
    assert "whether DINO trained is not clear (kNN on validation)" in first
    assert rest == []
    wins = told({"dino": 0.8}, {"dino": "cannot tell"})
    assert wins[0].startswith("Self-supervised")
    assert "DINO: cannot tell if it trained." in wins


def test_the_best_control_is_held_against_the_best_arm():
    beaten = told({"dino": 0.8}, controls={"pixels": 0.3, "kmeans": 0.5})
    assert any(line.startswith("The best control is beaten: k-means features") for line in beaten)
    best = told({}, controls={"pixels": 0.9, "kmeans": 0.5})
    assert best[0].startswith(
        "Cannot be told at this budget: no training here pays so far: raw pixels with a classical "
        "classifier (89.6 %) beats every arm, DINO by 29.9 points (95 % interval +27."
    )
    assert len(best) == 1
    yet = told({"dino": 0.8}, controls={"pixels": 0.95})[0]
    assert yet.startswith("Self-supervised (DINO): +")
    assert "Yet no training here pays" in yet
    level = told({}, controls={"pixels": 0.6})
    assert any(line.startswith("The best control is not beaten for sure") for line in level)


def test_one_seed_gives_no_interval_and_says_what_to_do():
    first, *rest = told({"dino": 0.8}, seeds=1)
    assert first == (
        "Cannot be told at this budget: an interval needs at least two seeds of each arm, this "
        "study has 1; start it with 5."
    )
    assert rest == []


def test_two_seeds_are_too_few_to_say_what_would_settle_it():
    lines = told({"dino": 0.605}, seeds=2)
    assert any(line.startswith("Two seeds are too few") for line in lines)
    noise = Conclusion(findings(planted(EQUAL, seeds=2))).about_noise()
    assert noise[-1] == "two seeds are too few to say what a study of this size sees"


def test_an_interval_that_excludes_nought_is_explained_where_it_is_not_enough():
    """Three arms, three pairs: at a gain of about two deviations Holm's p is above alpha."""
    first, *_ = told({"dino": 0.61})
    assert first.startswith("Cannot be told")
    assert "with 3 comparisons that may be chance: Holm's corrected p is 0.08" in first
    assert "Holm" not in told({"dino": 0.62})[0]


def test_where_the_noise_comes_from_adds_up():
    first, second = Conclusion(findings(planted(EQUAL))).about_noise()
    parts = [int(word) for word in first.replace(" %", "").split() if word.isdecimal()]
    assert sum(parts) == pytest.approx(100, abs=2)
    assert "points in 4 of 5 cases; twice the seeds" in second


def test_without_both_kinds_of_arms_there_is_no_question():
    first, *_ = Conclusion(findings(planted({"a": 0.5, "b": 0.8}))).sentences()
    assert first == (
        "Cannot be told at this budget: the study has no arm with pre-training. arm b is better "
        "than every other arm."
    )


def test_nothing_is_said_of_nothing():
    results = planted(EQUAL)
    results.store.correct = lambda job, column: None
    again = Results(results.study, results.arms, list(results.by_id.values()), results.store,
                    results.choice)  # fmt: skip
    first, *_ = Conclusion(findings(again)).sentences()
    assert first.startswith("Cannot be told at this budget: no arm has all its runs")
