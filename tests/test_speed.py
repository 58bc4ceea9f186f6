"""How fast it went: rates by hand, timing.csv, and what a run says when it is done."""

import csv
import itertools
import json
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer

from builders import small_vit
from launch import Ended, launch
from vit.callbacks import speed
from vit.callbacks.run_log import RunLog
from vit.callbacks.speed import Speed, memory, rates
from vit.cli.report import as_text, data_argv, summary_table
from vit.data import Digits
from vit.module import ViTModule
from vit.objectives.supervised import Supervised

DEBUG = ("--trainer", "configs/trainer/debug.yaml", "--trainer.enable_progress_bar", "false")
DEBUG += ("--trainer.detect_anomaly", "false")
DATA = ("--data", "configs/data/digits.yaml")


def module() -> ViTModule:
    return ViTModule(Supervised, small_vit, spec=Digits().spec)


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def last_words(ended: Ended) -> str:
    """The command that a run names as the next."""
    assert ended.code == 0, ended.everything
    (line,) = [text for text in ended.out.splitlines() if text.startswith("next: ")]
    return line.removeprefix("next: ")


# ---- the clock ------------------------------------------------------------------------------


def test_rates_are_those_worked_out_by_hand(monkeypatch):
    learner, trainer = module(), SimpleNamespace(world_size=2)
    learner.trainer, learner.flops_per_image = trainer, 2e9
    clock = {"busy": 3.0, "waited": 1.0, "images": 200.0}
    values = rates(clock, learner)
    assert values.keys() == {"images_per_second", "data_wait", "memory_gb"}
    assert values["images_per_second"] == 50
    assert values["data_wait"] == 0.25
    monkeypatch.setattr(speed, "peak_of", lambda device: 1e12)
    assert rates(clock, learner)["mfu"] == pytest.approx(50 * 2e9 / (2 * 1e12))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
def test_memory_is_the_most_that_the_kernel_counted():
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    assert memory(torch.device("cpu")) == pytest.approx(kilobytes * 1024 / 1e9, rel=0.02)


@pytest.mark.parametrize(
    ("settings", "busy", "waited", "images"),
    [  # the clock ticks once at each batch's start and end
        ({}, 4, 3, 4 * 8),
        ({"val_check_interval": 2}, 4, 2, 4 * 8),  # nobody waited while it validated
        ({"accumulate_grad_batches": 2}, 4, 3, 4 * 4),
    ],
)
def test_an_epoch_is_clocked(monkeypatch, tmp_path, settings, busy, waited, images):
    ticks = itertools.count()
    monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    files = RunLog()
    files.folder = tmp_path
    clock, learner = Speed(files), module()
    trainer = Trainer(
        max_epochs=2,
        limit_train_batches=4,
        limit_val_batches=1,
        accelerator="cpu",
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **settings,
    )
    trainer.fit(learner, Digits(batch_size=8))
    rows = rows_of(tmp_path / "timing.csv")
    assert [(line["epoch"], line["name"]) for line in rows] == [
        (epoch, name)
        for epoch in ("0", "1")
        for name in ("images_per_second", "data_wait", "memory_gb")
    ]
    found = {line["name"]: float(line["value"]) for line in rows if line["epoch"] == "1"}
    assert found["images_per_second"] == pytest.approx(images / (busy + waited), rel=1e-5)
    assert found["data_wait"] == pytest.approx(waited / (busy + waited), rel=1e-5)
    whole = clock.summary(learner)
    assert whole["images_per_second"] == pytest.approx(images / (busy + waited))


def test_where_nothing_was_trained_there_is_no_speed():
    assert Speed(RunLog()).summary(module()) == {}


# ---- what people read -----------------------------------------------------------------------


def test_the_table_shows_shares_in_percent_and_losses_as_they_are():
    speed_of = {"images_per_second": 12345.6, "data_wait": 0.021, "memory_gb": 1.234}
    lines = summary_table({"val/accuracy": 0.98765, "val/loss": 0.12345}, speed_of)
    assert [line.split(maxsplit=1) for line in lines] == [
        ["val/accuracy", "98.8 %"],
        ["val/loss", "0.1235"],
        ["speed", "12,346 images/s, 2.1% of it waiting for data, 1.23 GB"],
    ]
    (line,) = summary_table({}, speed_of | {"mfu": 0.4567})
    assert line.endswith("45.7% of the data sheet's peak")
    assert summary_table({"probe/knn_random": 0.5}, {}) == [f"{'probe/knn_random':<28} 50.0 %"]
    assert as_text("val/always_most_common", 0.418) == "41.8 %"


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("fit --config a.yaml", ""),
        ("fit --config a.yaml --data b.yaml --trainer c.yaml", "--data b.yaml "),
        ("fit --data=b.yaml --model.lr 3", "--data=b.yaml "),
        ("fit --data.root 'my images' --name x", "--data.root 'my images' "),
        ("fit --data b.yaml -c a.yaml", "--data b.yaml "),
        ("fit --data.batch_size 8 --database x", ""),
    ],
)  # fmt: skip
def test_the_words_that_chose_the_data_are_kept(typed, kept):
    assert data_argv(["train.py", *shlex.split(typed)]) == kept


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> tuple[Path, Ended]:
    """The working directory and the words of a self-supervised run on data named by hand."""
    cwd = tmp_path_factory.mktemp("work")
    return cwd, launch("fit", "--config", "configs/pretrain/mpp.yaml", *DATA, *DEBUG, cwd=cwd)


def test_timing_is_long_and_its_sum_is_in_the_summary(pretrained):
    cwd, ended = pretrained
    rows = rows_of(cwd / ended.run / "timing.csv")
    assert list(rows[0]) == ["step", "epoch", "name", "value"]
    assert {(line["step"], line["epoch"]) for line in rows} == {("4", "0")}
    values = {line["name"]: float(line["value"]) for line in rows}
    assert values.keys() == {"images_per_second", "data_wait", "memory_gb"}
    assert values["images_per_second"] > 0
    assert 0 <= values["data_wait"] <= 1
    assert 0.05 < values["memory_gb"] < 10
    summary = json.loads((cwd / ended.run / "summary.json").read_text())
    for name in ("images_per_second", "data_wait"):  # one epoch: the same
        assert summary[name] == pytest.approx(values[name], rel=1e-4)
    assert summary["memory_gb"] >= values["memory_gb"] * 0.999
    assert "speed" not in (cwd / ended.run / "metrics.csv").read_text()


def test_after_self_supervision_comes_fine_tuning_on_the_same_data(pretrained):
    cwd, ended = pretrained
    command = last_words(ended)
    assert command == (
        "python train.py fit --config configs/finetune/default.yaml "
        f"--data configs/data/digits.yaml --model.pretrained {ended.run}"
    )
    typed = shlex.split(command)[2:]
    tuned = launch(*typed, *DEBUG, cwd=cwd)
    assert last_words(tuned) == f"python train.py test --from {tuned.run}"


def test_after_a_test_comes_prediction(tmp_path):
    ended = launch("fit", "--config", "configs/quickstart.yaml", *DEBUG, cwd=tmp_path)
    assert last_words(ended) == f"python train.py predict --from {ended.run}"
