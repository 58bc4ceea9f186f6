"""The verb evaluate, on a real short run."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from launch import launch

SHORT = (
    "fit", "--config", "configs/pretrain/mpp.yaml", "--trainer.max_steps", "8",
    "--trainer.val_check_interval", "8",
)  # fmt: skip
FAST = ("--protocols", "knn,ridge")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    ended = launch(*SHORT, cwd=folder)
    assert ended.code == 0, ended.everything
    return folder / ended.run


@pytest.fixture
def copy(run, tmp_path) -> Path:
    """The same run in a place of its own; the working directory is tmp_path."""
    return shutil.copytree(run, tmp_path / "logs" / "mpp" / run.name)


def summary(folder: Path) -> dict:
    return json.loads((folder / "summary.evaluate.json").read_text())


def test_knn_is_what_the_fit_itself_measured(copy, tmp_path):
    ended = launch("evaluate", str(copy), *FAST, cwd=tmp_path)
    assert ended.code == 0, ended.everything
    found, fit = summary(copy), json.loads((copy / "summary.json").read_text())
    assert found["val/knn/accuracy"] == fit["probe/knn"]
    assert found["val/knn/accuracy_random"] == fit["probe/knn_random"]
    assert ended.run == Path(str(copy))


def test_all_protocols_and_controls_are_there_by_default(copy, tmp_path):
    ended = launch("evaluate", str(copy), "--split", "val,test", cwd=tmp_path)
    assert ended.code == 0, ended.everything
    found = summary(copy)
    for split in ("val", "test"):
        for name in ("knn", "ridge", "linear", "attentive"):
            for who in ("", "_random"):
                assert 0 <= found[f"{split}/{name}/accuracy{who}"] <= 1
        assert found[f"{split}/knn/accuracy_pixels"] > 0.9  # plain digits
        assert f"{split}/attentive/accuracy_pixels" not in found
        assert found[f"{split}/pixels/accuracy"] > 0.9
    assert found["test/ridge/accuracy_25shot"] > found["test/ridge/accuracy_1shot"]
    assert found["effective_rank"] > 1
    for words in ("this encoder", "untrained", "raw pixels", "test/attentive/accuracy"):
        assert words in ended.out


def test_correctness_image_by_image_is_the_accuracy(copy, tmp_path):
    launch("evaluate", str(copy), *FAST, "--split", "test", cwd=tmp_path)
    with (copy / "correct.test.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["index"]) for row in rows] == list(range(360))
    for name, value in (("knn", "test/knn/accuracy"), ("pixels", "test/pixels/accuracy")):
        assert np.mean([int(row[name]) for row in rows]) == pytest.approx(summary(copy)[value])


def test_k_means_is_a_control_where_it_is_asked_for(copy, tmp_path):
    asked = ("--protocols", "knn", "--controls", "kmeans", "--split", "val,test")
    ended = launch("evaluate", str(copy), *asked, cwd=tmp_path)
    assert ended.code == 0, ended.everything
    measured = summary(copy)
    assert measured["test/kmeans/accuracy"] > 0.95  # plain digits
    assert measured["protocol_ids"]["test/kmeans"].startswith("kmeans-")
    assert not any("pixels" in name for name in measured)
    assert "test/kmeans/accuracy (features by k-means)" in ended.out
    with (copy / "correct.test.csv").open(newline="") as file:
        right = [int(row["kmeans"]) for row in csv.DictReader(file)]
    assert np.mean(right) == pytest.approx(measured["test/kmeans/accuracy"])


def test_a_second_time_reads_the_cache_and_says_the_same(copy, tmp_path):
    launch("evaluate", str(copy), *FAST, cwd=tmp_path)
    first, files = summary(copy), sorted((tmp_path / "logs/cache").iterdir())
    assert len(files) == 4  # train and val of this encoder and of an untrained one
    times = [file.stat().st_mtime_ns for file in files]
    launch("evaluate", str(copy), *FAST, cwd=tmp_path)
    assert [
        file.stat().st_mtime_ns for file in sorted((tmp_path / "logs/cache").iterdir())
    ] == times
    assert summary(copy) | {"seconds": 0} == first | {"seconds": 0}


def test_encoders_that_differ_in_heads_alone_share_no_features(tmp_path):
    """Their weights have equal shapes, and equal values before training."""
    found = {}
    for heads in ("4", "8"):
        words = ("--trainer.max_steps", "1", "--trainer.val_check_interval", "1")
        fit = launch(*SHORT, *words, "--model.encoder.heads", heads, cwd=tmp_path)
        for cache in ("logs/cache", "none"):
            launch("evaluate", str(fit.run), "--protocols", "knn", "--cache", cache, cwd=tmp_path)
            found[heads, cache] = summary(tmp_path / fit.run)["val/knn/accuracy_random"]
    assert found["8", "logs/cache"] == found["8", "none"] != found["4", "none"]


def test_every_reading_is_recorded_and_none_is_lost(copy, tmp_path):
    for split in ("val", "test"):
        launch("evaluate", str(copy), *FAST, "--split", split, cwd=tmp_path)
    with (copy / "evaluations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["metric"].split("/")[0] for row in rows} == {"val", "test"}
    assert all(row["protocol_id"] for row in rows)
    ids = {row["metric"]: row["protocol_id"] for row in rows}
    assert ids["val/knn/accuracy"] != ids["test/knn/accuracy"]  # other images, another protocol
    assert ids["val/knn/accuracy"] == ids["val/knn/accuracy_random"]  # and the same for controls


def test_a_bare_checkpoint_gets_a_folder_of_its_own(copy, tmp_path):
    ended = launch("evaluate", str(copy / "checkpoints/last.ckpt"), *FAST, cwd=tmp_path)
    assert ended.code == 0, ended.everything
    assert "logs/evaluate/" in ended.out
    assert not (copy / "summary.evaluate.json").exists()


def test_other_data_and_an_untrained_encoder_can_be_judged(copy, tmp_path):
    other = ("--data.classes", "[5,6,7,8,9]", "--data.labels_per_class", "10", "--controls", "none")
    assert launch("evaluate", str(copy), *FAST, *other, cwd=tmp_path).code == 0
    trained = summary(copy)
    assert trained["labels"] == {"train": 50, "val": 71}
    assert "val/ridge/accuracy_25shot" not in trained  # there are ten a class
    untrained = launch(
        "evaluate", "--config", "configs/quickstart.yaml", *FAST, *other, cwd=tmp_path
    )
    assert untrained.code == 0, untrained.everything
    assert summary(tmp_path / untrained.run)["encoder_hash"] != trained["encoder_hash"]


def test_an_encoder_without_patches_has_no_attentive_probe(tmp_path):
    ended = launch(
        "evaluate", "--config", "configs/quickstart.yaml", "--model.encoder",
        "configs/encoder/resnet18.yaml", "--protocols", "knn,attentive",
        "--data.labels_per_class", "3", "--controls", "none", cwd=tmp_path,
    )  # fmt: skip
    assert ended.code == 0, ended.everything
    assert "attentive: not defined" in ended.out
    assert "val/attentive/accuracy" not in summary(tmp_path / ended.run)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--protocols", "knn,rigde"), "protocols: unknown 'rigde'; did you mean ridge?"),
        (("--split", "train"), "--split: unknown 'train'; known: val, test"),
        (("--controls", "noise"), "--controls: unknown 'noise'"),
        (("--protocols", ","), "--split and --protocols must name at least one"),
        (("--name", "x"), "a run keeps its figures; --name and --logs are for a file"),
        (("--model.layer_decay", "0.5"), "evaluate: --model.layer_decay would change the result"),
    ],
)
def test_a_mistake_is_one_line(run, tmp_path, words, line):
    ended = launch("evaluate", str(run), *words, cwd=tmp_path)
    assert ended.code == 2
    assert line in ended.out
    assert len(ended.out.strip().splitlines()) == 1


def test_nothing_to_judge_says_how(tmp_path):
    ended = launch("evaluate", cwd=tmp_path)
    assert ended.code == 2
    assert "evaluate: say what: python train.py evaluate <run folder | checkpoint>" in ended.out
