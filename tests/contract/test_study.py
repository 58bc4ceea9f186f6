"""A whole study, small: what it makes, what it repeats, and what it survives."""

import csv
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import yaml

from launch import CONTEXT, ROOT, _child, launch

STUDY = {
    "question": "Does the machinery run?",
    "arms": ["scratch", "scratch_long", "supervised", "mpp"],
    "encoder": "configs/encoder/tiny.yaml",
    "pretrain": {
        "labelled": {"config": "configs/data/digits.yaml", "set": {"classes": [0, 1, 2, 3, 4]}},
        "unlabelled": {"config": "configs/data/digits.yaml"},
        "set": {"trainer.callbacks": None, "trainer.val_check_interval": 4},
    },
    "budget": {"images": 512},
    "transfer": {
        "high": {
            "config": "configs/data/digits.yaml",
            "set": {"classes": [5, 6, 7, 8, 9], "labels_per_class": 10},
        }
    },
    "finetune": {
        "config": "configs/finetune/default.yaml",
        "steps": 8,
        "set": {"model.layer_decay": 1.0, "trainer.val_check_interval": 4},
    },
    "tuning": {"trials": 1},
    "seeds": 2,
    "label_draws": 1,
    "protocols": ["knn", "ridge"],
    "primary": {"data": "high", "protocol": "finetune"},
}
ARGV = ("compare", "--config", "study.yaml")
RUNS = 2 * (2 + 4 + 4 + 2 + 1)  # seeds x (pre-training, task, test, probe, control)


def write(folder: Path, **changes) -> None:
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY | changes))


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "logs/compare/study/results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def figures(folder: Path) -> list[tuple]:
    return [(r["arm"], r["protocol"], r["seed"], r["accuracy"]) for r in rows(folder)]


def commands(folder: Path) -> int:
    """How many commands were run so far."""
    files = (folder / "logs/compare/runs").glob("*/output.txt")
    return sum(file.read_text().count("\n$ python") + 1 for file in files)


def pretraining(folder: Path) -> Path:
    """The run of masked patches with seed 0; the arm's fine-tuned runs lie beside it."""
    configs = (folder / "logs/compare/runs").glob("mpp.*/*_seed0/config.yaml")
    return next(file for file in configs if "MaskedPatchPrediction" in file.read_text()).parent


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write(folder)
    ended = launch(*ARGV, cwd=folder)
    assert ended.code == 0, ended.everything
    (folder / "first.txt").write_text(ended.out)
    return folder


@pytest.fixture
def copy(done, tmp_path) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(done, folder, symlinks=True)
    return folder


def test_every_defined_cell_is_filled(done):
    found = rows(done)
    assert len(found) == 2 * (4 * 3 + 2 + 3 + 1)  # arms x protocols, random encoder, pixels, kmeans
    for row in found:
        defined = not (row["arm"].startswith("scratch") and row["protocol"] != "finetune")
        assert (row["status"] == "done") == defined, row
        assert bool(row["accuracy"]) == defined
    assert commands(done) == RUNS


def test_the_ledgers_of_equal_budgets_are_equal(done):
    by_arm = {r["arm"]: r for r in rows(done) if r["protocol"] == "finetune" and r["seed"] == "0"}
    images = {arm: int(row["images_seen"]) for arm, row in by_arm.items()}
    assert images["scratch"] == 8 * 50
    assert images["scratch_long"] == (8 + 10) * 50  # 512 images are 10 steps of 50
    assert images["supervised"] == images["mpp"] == 512 + 8 * 50
    labels = {arm: int(row["labels_used"]) for arm, row in by_arm.items()}
    assert labels["scratch"] == labels["mpp"] == 50
    assert labels["supervised"] > 500


def test_the_report_says_what_was_asked_for(done):
    report = (done / "logs/compare/study/report.md").read_text()
    for text in ("Does the machinery run?", "Accuracy on the test split", "Holm", "Validity",
                  "images were in its pre-training", "labels", "Scope"):  # fmt: skip
        assert text in report, text
    first = report.splitlines()[2].strip("*")
    assert first.startswith(("Cannot be told", "None", "Supervised", "Self-supervised"))
    assert first in (done / "first.txt").read_text()
    for picture in ("forest.svg", "cost.svg"):
        assert (done / "logs/compare/study" / picture).is_file()


def test_a_second_time_nothing_is_run_and_the_table_is_the_same(copy):
    before = (copy / "logs/compare/study/results.csv").read_bytes()
    ended = launch(*ARGV, cwd=copy)
    assert ended.code == 0
    assert commands(copy) == RUNS
    assert (copy / "logs/compare/study/results.csv").read_bytes() == before
    told, first = (text.partition("\n\narm ")[2] for text in
                   (ended.out, (copy / "first.txt").read_text()))  # fmt: skip
    assert told
    assert told == first


def test_the_report_is_written_anew_from_what_is_on_disk(copy):
    folder = copy / "logs/compare/study"
    files = ("report.md", "results.csv", "forest.svg")
    before = [(folder / name).read_bytes() for name in files]
    for name in files:
        (folder / name).unlink()
    ended = launch("compare", "--report", "logs/compare/study", cwd=copy)
    assert ended.code == 0, ended.everything
    assert [(folder / name).read_bytes() for name in files] == before
    assert commands(copy) == RUNS
    for argv, message in (
        (("--report", "logs/compare"), "is no folder of a study's results"),
        (("--report", "logs/compare/study", "--seeds", "3"), "takes a study's folder alone"),
    ):
        refused = launch("compare", *argv, cwd=copy)
        assert refused.code == 2
        assert message in refused.everything


def test_names_comments_and_paths_run_nothing_again(copy):
    text = "# a comment\n" + (copy / "study.yaml").read_text().replace("machinery", "machine")
    (copy / "study.yaml").write_text(text)
    assert launch(*ARGV, "--name", "other", "--data.workers", "0", cwd=copy).code == 0
    assert commands(copy) == RUNS


def test_one_arms_learning_rate_runs_that_arm_alone_again(copy):
    (copy / "arms").mkdir()
    for file in (ROOT / "configs/compare/arms").glob("*.yaml"):
        arm = yaml.safe_load(file.read_text())
        if arm.get("pretrain"):
            arm["pretrain"] = f"configs/pretrain/{Path(arm['pretrain']).name}"
            arm["pretrain"] = f"../{arm['pretrain']}"
        if file.stem == "mpp":
            arm["set"] = {"model.optimizer.lr": 1e-3}
        (copy / "arms" / file.name).write_text(yaml.safe_dump(arm))
    before = {r["arm"]: r["accuracy"] for r in rows(copy) if r["protocol"] == "finetune"}
    assert launch(*ARGV, cwd=copy).code == 0
    assert commands(copy) == RUNS + 2 * (1 + 1 + 1 + 1)  # pre-training, task, test, probe of mpp
    after = {r["arm"]: r["accuracy"] for r in rows(copy) if r["protocol"] == "finetune"}
    assert {arm for arm in after if after[arm] != before[arm]} <= {"mpp"}


@pytest.mark.slow
def test_more_seeds_are_an_extension_and_other_settings_are_told(tmp_path):
    write(tmp_path, arms=["scratch"], controls=[], protocols=[], seeds=1)
    argv = (*ARGV, "--name", "grown")
    assert launch(*argv, cwd=tmp_path).code == 0
    write(tmp_path, arms=["scratch"], controls=[], protocols=[], seeds=2)
    assert launch(*argv, cwd=tmp_path).code == 0
    report = (tmp_path / "logs/compare/grown/report.md").read_text()
    assert "Reported before with fewer seeds x draws (1 x 1): each look halves alpha" in report
    assert "reported before with other settings" not in report
    write(tmp_path, arms=["scratch"], controls=[], protocols=[], margin=0.05)
    assert launch(*argv, cwd=tmp_path).code == 0
    report = (tmp_path / "logs/compare/grown/report.md").read_text()
    assert "grown: 2 seeds x 1 label draws, primary high" in report.split("other settings")[1]


@pytest.mark.slow
def test_a_failed_run_is_reported_and_the_others_go_on(tmp_path):
    write(tmp_path, arms=["scratch", "bad"], protocols=[], controls=[])
    (tmp_path / "arms").mkdir()
    (tmp_path / "arms/scratch.yaml").write_text("title: scratch")
    bad = "title: bad\nfinetune: {model.optimizer.lr: 1.0e+30, model.clip: null}"
    (tmp_path / "arms/bad.yaml").write_text(bad)
    ended = launch(*ARGV, cwd=tmp_path)
    assert ended.code == 1
    assert "failed: bad transfer high seed 0" in ended.out
    assert "not finite" in ended.out
    assert [r["status"] for r in rows(tmp_path)] == ["done", "failed", "done", "failed"]
    assert "failed: bad" in (tmp_path / "logs/compare/study/report.md").read_text()


def test_a_dry_run_tells_of_the_study_and_makes_no_run(tmp_path):
    write(tmp_path)
    for flag, commands_shown in (("--dry-run", 0), ("--list", RUNS)):
        ended = launch(*ARGV, flag, cwd=tmp_path)
        assert ended.code == 0
        assert ended.out.count("python train.py") == commands_shown
        assert f"{RUNS} runs, 0 done" in ended.out
        assert "two seeds are too few to tell arms apart" in ended.out
        assert not (tmp_path / "logs/compare").exists()


def test_labels_that_are_tested_may_not_be_learned_before(tmp_path):
    write(tmp_path, pretrain={"labelled": {"config": "configs/data/digits.yaml"}})
    ended = launch(*ARGV, cwd=tmp_path)
    assert ended.code == 2
    assert "arm supervised would pre-train on the labels that high tests" in ended.out


@pytest.mark.slow
def test_probes_are_judged_on_the_task_whatever_the_pre_training_saw(tmp_path):
    """Settings of the pre-training's data must not reach the task's."""
    labelled = {"classes": [0, 1, 2, 3, 4], "test_fraction": 0.05, "labels_per_class": 100}
    pretrain = {
        "labelled": {"config": "configs/data/digits.yaml", "set": labelled},
        "set": STUDY["pretrain"]["set"],
    }
    task = {"config": "configs/data/digits.yaml", "set": {"classes": [5, 6, 7, 8, 9]}}
    write(tmp_path, pretrain=pretrain, transfer={"high": task}, arms=["supervised"], seeds=1)
    assert launch(*ARGV, cwd=tmp_path).code == 0
    runs = (tmp_path / "logs/compare/runs").glob("*/*/summary.evaluate.json")
    labels = [json.loads(file.read_text())["labels"] for file in runs]
    assert labels == [{"train": 645, "val": 71}] * 2  # the arm and the random encoder
    assert all(row["status"] == "done" for row in rows(tmp_path))


@pytest.mark.slow
def test_an_imported_run_is_judged_and_left_alone(done, tmp_path):
    write(tmp_path, arms=["imported.yaml", "scratch"], seeds=1)
    shutil.copytree(pretraining(done), tmp_path / "mine")
    before = sorted(path.name for path in (tmp_path / "mine").iterdir())
    arm = {"title": "mine", "pretrained": "mine", "checkpoint_cost": "10 steps of masked patches"}
    (tmp_path / "imported.yaml").write_text(yaml.safe_dump(arm))
    ended = launch(*ARGV, cwd=tmp_path)
    assert ended.code == 0, ended.everything
    assert "not paid here" in ended.out
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == before
    assert {r["status"] for r in rows(tmp_path) if r["arm"] == "imported"} == {"done"}
    assert "10 steps of masked patches" in (tmp_path / "logs/compare/study/report.md").read_text()
    own = {
        r["protocol"]: r["accuracy"] for r in rows(done) if (r["arm"], r["seed"]) == ("mpp", "0")
    }
    imported = {r["protocol"]: r["accuracy"] for r in rows(tmp_path) if r["arm"] == "imported"}
    assert imported == own  # the same encoder, the same task, the same seed


@pytest.mark.slow
def test_a_damaged_record_of_correctness_is_made_again(copy):
    before = figures(copy)
    runs = copy / "logs/compare/runs"
    test = next(runs.glob("scratch.*/*/correct.csv"))
    test.write_text("\n".join(test.read_text().splitlines()[:50]) + "\n")
    probe = next(runs.glob("mpp.*/*/correct.test.csv"))
    probe.write_text(probe.read_text().splitlines()[0] + "\n")
    assert launch(*ARGV, cwd=copy).code == 0
    assert figures(copy) == before
    assert commands(copy) == RUNS + 2


@pytest.mark.slow
def test_an_edited_record_enters_no_report(copy):
    """Whichever was edited, the image by image record or the summary: both are made again."""
    before, runs = figures(copy), copy / "logs/compare/runs"
    table = next(runs.glob("scratch.*/*/correct.csv"))
    table.write_text(table.read_text().replace(",0", ",1"))
    summary = next(runs.glob("mpp.*/*/summary.evaluate.json"))
    said = json.loads(summary.read_text()) | {"test/knn/accuracy": 0.99}
    summary.write_text(json.dumps(said))
    ended = launch(*ARGV, cwd=copy)
    assert ended.code == 0, ended.everything
    assert f"{table.relative_to(copy)} says 100.0 % for test/accuracy" in ended.out
    assert "summary.evaluate.json 99.0 %; this is measured anew" in ended.out
    assert figures(copy) == before
    assert commands(copy) == RUNS + 2


@pytest.mark.slow
def test_a_damaged_summary_fails_its_own_run_alone(copy):
    before = figures(copy)
    summary = next((copy / "logs/compare/runs").glob("scratch.*/*_seed1/summary.json"))
    summary.write_text('{"status": "comp')
    ended = launch(*ARGV, cwd=copy)
    assert ended.code == 1
    assert "failed: scratch transfer high seed 1" in ended.out
    assert f"{summary.relative_to(copy)} is damaged" in ended.out
    assert figures(copy) == before  # its test is there, and so are all other runs


@pytest.mark.slow
def test_lost_checkpoints_are_named_when_somebody_needs_them(copy):
    runs = copy / "logs/compare/runs"
    weights = pretraining(copy) / "checkpoints"
    for place in set(runs.glob("mpp.*")) - {weights.parents[1]}:
        shutil.rmtree(place)
    shutil.rmtree(weights)
    ended = launch(*ARGV, cwd=copy)
    assert ended.code == 1
    assert "last.ckpt is gone; remove logs/compare/runs/mpp." in ended.out


def killed(folder: Path, seconds: float) -> None:
    """Start the study and SIGKILL its first process."""
    argv = list(ARGV)
    worker = CONTEXT.Process(
        target=_child, args=(argv, str(folder), str(folder / "out.txt"), (None, 0), {})
    )
    worker.start()
    time.sleep(seconds)
    if worker.is_alive():
        os.kill(worker.pid, signal.SIGKILL)
    worker.join()


@pytest.mark.slow
def test_a_study_killed_twice_ends_with_the_same_figures(done, tmp_path):
    write(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    for seconds in (9.0, 12.0):
        killed(tmp_path, seconds)
    assert launch(*ARGV, cwd=tmp_path).code == 0
    assert figures(tmp_path) == figures(done)


def test_job_arrays_hold_the_same_commands_in_waves(tmp_path):
    write(tmp_path)
    ended = launch(*ARGV, "--emit", "slurm", cwd=tmp_path)
    assert ended.code == 0, ended.everything
    folder = tmp_path / "logs/compare/study/slurm"
    lines = [(folder / f"wave{n}.txt").read_text().splitlines() for n in range(3)]
    assert sum(map(len, lines)) == RUNS
    assert len(lines[0]) == 2 * (2 + 2 + 1)  # pre-trainings, scratch and scratch-long, controls
    assert all("ls -d" in line for line in lines[1])
    assert (folder / "submit.sh").read_text().count("sbatch") == 3
