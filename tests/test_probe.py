"""Probes and the collapse guard watch a run and change nothing in it."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer

from builders import every_objective, small_vit
from launch import launch
from vit.callbacks.collapse_monitor import CollapseMonitor, rank_message
from vit.callbacks.probe import Probe, summary_line, task_of
from vit.data import Digits
from vit.evaluate.base import FrozenFeatures
from vit.evaluate.rankme import rankme
from vit.module import ViTModule
from vit.objectives.parts.self_distillation import (
    collapse_message,
    cross_entropy,
    entropy,
    explained,
    marginal_entropy,
)

SHORT = (
    *("--trainer.max_steps", "12", "--trainer.val_check_interval", "4"),
    *("--trainer.log_every_n_steps", "1", "--trainer.callbacks", "null"),
    *("--model.encoder.width", "32", "--model.encoder.depth", "1", "--model.encoder.heads", "2"),
)
PROBE = ("--trainer.callbacks", "Probe", "--trainer.callbacks.images", "300")


def fit(cwd: Path, *words: str, **how):
    return launch("fit", "--config", "configs/pretrain/mpp.yaml", *SHORT, *words, cwd=cwd, **how)


def rows(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def test_a_probe_changes_no_weight_and_no_other_metric(tmp_path):
    plain, probed = fit(tmp_path, "--name", "plain"), fit(tmp_path, *PROBE, "--name", "probed")
    assert probed.code == 0, probed.everything
    first, second = tmp_path / plain.run, tmp_path / probed.run
    assert all(torch.equal(v, weights(second)[k]) for k, v in weights(first).items())
    kept = [row for row in rows(second) if not row["name"].startswith("probe/")]
    assert kept == rows(first)
    probes = [row for row in rows(second) if row["name"].startswith("probe/")]
    assert {row["step"] for row in probes} == {"4", "8", "12"}
    assert {row["name"] for row in probes} == {
        f"probe/{name}" for name in ("knn", "linear", "rank", "knn_random", "knn_pixels")
    }
    assert probed.out.count("probe, step ") == 3
    assert "of 32" in probed.out


@pytest.mark.parametrize(
    "name", sorted({"dino", "ibot", "lejepa", "vicreg"} & every_objective().keys())
)
def test_what_looks_at_a_run_changes_no_weight_of_teachers_centres_and_norms(tmp_path, name):
    own = ("--model.objective", f"configs/objective/{name}.yaml")
    plain = fit(tmp_path, *own, "--name", "plain")
    watched = fit(tmp_path, *own, *PROBE, "--trainer.callbacks+", "Pictures", "--name", "watched")
    assert watched.code == 0, watched.everything
    first, second = weights(tmp_path / plain.run), weights(tmp_path / watched.run)
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_a_probed_run_that_was_killed_goes_on_as_one_never_killed(tmp_path):
    straight = fit(tmp_path, *PROBE, "--checkpoint_every", "2", "--name", "straight")
    fit(tmp_path, *PROBE, "--checkpoint_every", "2", "--name", "killed", kill_at=9)
    (killed,) = (tmp_path / "logs/killed").iterdir()
    resumed = launch("fit", "--resume", str(killed), cwd=tmp_path)
    assert resumed.code == 0, resumed.everything
    whole = tmp_path / straight.run
    assert (whole / "metrics.csv").read_bytes() == (killed / "metrics.csv").read_bytes()
    shown = [json.loads((run / "summary.json").read_text()) for run in (whole, killed)]
    assert shown[0]["probe/knn"] == shown[1]["probe/knn"]


def test_two_ranks_measure_what_one_does(tmp_path):
    alone = fit(tmp_path, *PROBE, "--name", "alone")
    two = ("--trainer.strategy", "ddp", "--trainer.devices", "2", "--trainer.accelerator", "cpu")
    both = fit(tmp_path, *PROBE, *two, "--name", "both", ranks=2)
    assert both.code == 0, both.everything
    shown = [json.loads((tmp_path / ended.run / "summary.json").read_text())
             for ended in (alone, both)]  # fmt: skip
    for name in ("probe/knn_random", "probe/knn_pixels"):
        assert shown[0][name] == shown[1][name]
    assert shown[0]["probe/knn"] == pytest.approx(shown[1]["probe/knn"], abs=0.03)
    assert both.everything.count("probe, step ") == 3


def test_the_line_says_where_the_features_stand():
    metrics = {"probe/rank": 7.25, "probe/knn": 0.7, "probe/knn_random": 0.6,
               "probe/knn_pixels": 0.8, "probe/linear": 0.75}  # fmt: skip
    told = summary_line(1200, metrics, 64)
    assert told == (
        "probe, step 1,200: kNN 70.0 % (untrained 60.0, raw pixels 80.0), linear 75.0 %, "
        "effective rank 7.2 of 64: above the untrained encoder"
    )
    assert summary_line(1, metrics | {"probe/knn": 0.6}, 64).endswith(
        "not above the untrained encoder"
    )
    assert summary_line(1, metrics | {"probe/knn": 0.9}, 64).endswith(
        "above untrained and raw pixels"
    )
    assert summary_line(1, {"probe/rank": 2.0}, 64) == "probe, step 1: effective rank 2.0 of 64"


def test_the_line_without_raw_pixels_says_so_of_the_untrained_encoder_alone():
    metrics = {"probe/rank": 7.25, "probe/knn": 0.7, "probe/knn_random": 0.6, "probe/linear": 0.75}
    assert summary_line(1, metrics, 64) == (
        "probe, step 1: kNN 70.0 % (untrained 60.0), linear 75.0 %, effective rank 7.2 of 64: "
        "above the untrained encoder"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every": 0}, "Probe: every must be at least 1, or null for the end, got 0"),
        ({"images": 1}, "Probe: images must be at least 2, or null for whole splits, got 1"),
        ({"k": 0}, "Probe: k must be at least 1 .*, got 0 and 0.07"),
        ({"temperature": 0.0}, "Probe: .* temperature above 0, got 20 and 0.0"),
    ],
)
def test_a_wrong_setting_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Probe(**settings)


def test_one_look_at_the_end_sees_whole_splits_as_the_protocol_does(tmp_path):
    """Every image votes and asks: the figures are those of the verb evaluate."""
    words = ("--trainer.callbacks", "Probe", "--trainer.callbacks.every", "null")
    ended = fit(tmp_path, *words, "--trainer.callbacks.images", "null")
    assert ended.code == 0, ended.everything
    run = tmp_path / ended.run
    probes = [row for row in rows(run) if row["name"].startswith("probe/")]
    assert {row["step"] for row in probes} == {"12"}
    assert [row["name"] for row in probes] == [
        f"probe/{name}" for name in ("rank", "knn", "linear", "knn_random")
    ]
    assert ended.out.count("probe, step 12: kNN ") == 1
    protocols = ("--protocols", "knn,ridge", "--controls", "random")
    assert launch("evaluate", str(run), *protocols, cwd=tmp_path).code == 0
    summary, evaluated = (
        json.loads((run / f"summary{verb}.json").read_text()) for verb in ("", ".evaluate")
    )
    assert summary["probe/knn"] == evaluated["val/knn/accuracy"]
    assert summary["probe/linear"] == evaluated["val/ridge/accuracy"]
    assert summary["probe/knn_random"] == evaluated["val/knn/accuracy_random"]
    assert summary["protocol_ids"].keys() == {"probe/knn", "probe/linear"}


def test_without_labels_there_is_only_the_rank():
    spec = Digits().spec
    bare = FrozenFeatures({"mean": torch.randn(4, 3)}, torch.full((4,), -1))
    half = FrozenFeatures({"mean": torch.randn(4, 3)}, torch.tensor([0, 1, -1, 0]))
    assert task_of({"train": half, "val": bare}, spec, 0) is None
    assert task_of({"train": bare, "val": half}, spec, 0) is None
    assert len(task_of({"train": half, "val": half}, spec, 0).queries.labels) == 3
    assert task_of({"train": half, "val": half}, replace(spec, multi_label=True), 0) is None
    assert task_of({"train": half, "val": half}, replace(spec, classes=()), 0) is None


# ---- collapse -------------------------------------------------------------------------------


def test_features_on_one_line_are_told():
    generator = torch.Generator().manual_seed(0)
    line_of = torch.rand(100, 1, generator=generator) @ torch.randn(1, 16, generator=generator)
    assert "effective rank 1.0" in rank_message(rankme(line_of))
    assert rank_message(rankme(torch.randn(100, 16, generator=generator))) is None


def fitted(rate: float, flat_features: bool, *callbacks) -> ViTModule:
    """Eight steps of masked patches with dropout, validated twice."""
    data = Digits(batch_size=8)
    module = ViTModule(
        every_objective()["mpp"], lambda spec: small_vit(spec, dropout=0.1),
        lambda groups: torch.optim.SGD(groups, lr=rate), spec=data.spec,
    )  # fmt: skip
    if flat_features:
        torch.nn.init.zeros_(module.objective.encoder.norm.weight)
        torch.nn.init.ones_(module.objective.encoder.norm.bias)
    Trainer(
        max_steps=8, val_check_interval=4, check_val_every_n_epoch=None, accelerator="cpu",
        logger=False, callbacks=list(callbacks), enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    ).fit(module, data)  # fmt: skip
    return module


def test_a_run_whose_features_lie_on_one_line_is_told_once(capsys):
    fitted(0.0, True, CollapseMonitor())
    told = capsys.readouterr().err
    assert told.count("warning: collapsed at step 4: the features of all images lie on one") == 1
    fitted(0.0, False, CollapseMonitor())
    assert "collapsed" not in capsys.readouterr().err


def test_the_guard_changes_no_weight():
    alone, guarded = (
        list(fitted(0.1, False, *with_).parameters()) for with_ in ((), (CollapseMonitor(),))
    )
    assert all(map(torch.equal, alone, guarded))


def test_a_constant_answer_foretells_nothing_and_the_teachers_own_all():
    target = torch.rand(50, 6, generator=torch.Generator().manual_seed(0)).square().softmax(1)
    own, spread = entropy(target).mean(), marginal_entropy(target)
    constant = cross_entropy(target.mean(0).log().expand(50, -1), target, 1.0).mean()
    perfect = cross_entropy(target.log(), target, 1.0).mean()
    assert explained(constant, own, spread).item() == pytest.approx(0, abs=1e-3)
    assert explained(perfect, own, spread).item() == pytest.approx(1, abs=1e-3)


def test_entropy_between_its_ends_is_no_complaint():
    assert collapse_message(3.0, 3.0, 256) is None
    assert collapse_message(0.01, 3.0, 256) is None  # sure of each image, and not of the same
    assert "alike" in collapse_message(5.54, 5.54, 256)
    assert "about one prototype" in collapse_message(0.01, 0.01, 256)


def test_damaged_weights_are_told_before_anybody_looks_at_features(tmp_path):
    """A validation between the first NaN and the next logged step; the guard's SVD would fail."""
    wild = ("--model.optimizer.lr", "1e30", "--model.clip", "null", "--model.schedule.warmup", "0")
    ended = launch(
        "fit", "--config", "configs/pretrain/mpp.yaml", "--trainer", "configs/trainer/cpu.yaml",
        "--trainer.max_steps", "12", "--trainer.val_check_interval", "6", *wild, cwd=tmp_path,
    )  # fmt: skip
    assert ended.code == 1
    assert "error: train/loss is not finite from step" in ended.everything
