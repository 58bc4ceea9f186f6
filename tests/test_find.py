"""Rates and resize policies are chosen on validation, by runs that leave nothing behind."""

import csv
import math
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch
import yaml
from lightning.pytorch import Trainer

from launch import Ended, launch
from pictures import folder
from vit.callbacks.best_metric import BestMetric
from vit.cli.engine import CLI
from vit.cli.find import FEWEST, SayLength, Search, Trial, short_length
from vit.cli.resize_policy import Policy, discarded, other_policies, policy_of
from vit.data import Digits, ImageFolder
from vit.models.weights import open_checkpoint
from vit.module import ViTModule

FIT = (
    *("fit", "--config", "configs/finetune/own_images.yaml", "--data.root", "mine"),
    *("--data.image_size", "16", "--data.batch_size", "16", "--data.workers", "0"),
    *("--model.encoder", "configs/encoder/mini.yaml", "--trainer.max_epochs", "2"),
    *("--trainer.accelerator", "cpu", "--trainer.callbacks", "null", "--estimate", "false"),
)


def pictures(cwd: Path, count: int = 100, **how) -> Path:
    return folder(cwd / "mine", {"cat": count, "dog": count}, kind="PNG", **how)


def only_run(cwd: Path, name: str) -> Path:
    (run,) = (cwd / "logs" / name).iterdir()
    return run


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> tuple[Path, Ended]:
    cwd = tmp_path_factory.mktemp("work")
    pictures(cwd, width=48, height=24)
    ended = launch(*FIT, "--find", "--name", "found", cwd=cwd)
    assert ended.code == 0, ended.everything
    return cwd, ended


def table(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "find.csv").read_text().splitlines()))


def test_three_rates_then_three_policies_are_tried_and_the_table_is_kept(searched):
    cwd, ended = searched
    rows = table(only_run(cwd, "found"))
    rates = [float(row["lr"]) for row in rows]
    assert rates[:3] == [5e-4, 1.7e-4, 1.5e-3]
    assert [row["policy"] for row in rows] == ["squeeze"] * 3 + ["letterbox", "crop"]
    best = max(rows[:3], key=lambda row: (float(row["val/accuracy"]), -float(row["val/loss"])))
    assert rates[3] == rates[4] == float(best["lr"])
    (chosen,) = [row for row in rows if row["chosen"] == "1"]
    assert float(chosen["val/accuracy"]) == max(float(row["val/accuracy"]) for row in rows)
    # 48 x 24: the middle square of 21 px is 441 of 1152 pixels
    assert "discards 62 % of a training picture on average, 62 % at most" in ended.out
    lines = [line for line in ended.out.splitlines() if line.startswith("find: lr")]
    assert [line.count("more, about") for line in lines] == [1, 1, 1, 1, 0]
    assert "find: 5 short runs of 16 steps" in ended.out
    assert ended.out.count("find: their steps take about") == 1


def test_what_was_chosen_stands_in_the_config_and_the_run_is_made_without_find(searched):
    cwd, _ = searched
    run = only_run(cwd, "found")
    (chosen,) = [row for row in table(run) if row["chosen"] == "1"]
    settings = yaml.safe_load((run / "config.yaml").read_text())
    data = settings["data"]["init_args"]
    assert settings["model"]["optimizer"]["init_args"]["lr"] == float(chosen["lr"])
    assert data["letterbox"] is (chosen["policy"] == "letterbox")
    assert data["center_crop_ratio"] == (0.875 if chosen["policy"] == "crop" else None)
    typed = launch("fit", "--config", str(run / "config.yaml"), "--name", "typed", cwd=cwd)
    assert typed.code == 0, typed.out
    again = only_run(cwd, "typed")
    first, second = (
        open_checkpoint(folder / "checkpoints/last.ckpt")["state_dict"] for folder in (run, again)
    )
    assert all(torch.equal(first[name], value) for name, value in second.items())
    assert (run / "metrics.csv").read_bytes() == (again / "metrics.csv").read_bytes()
    assert not (again / "find.csv").exists()


def test_too_few_validation_pictures_choose_nothing(tmp_path):
    pictures(tmp_path, 40)
    ended = launch(*FIT, "--find", "--name", "few", cwd=tmp_path)
    assert ended.code == 0, ended.out
    line = f"find: 13 validation pictures cannot tell settings apart ({FEWEST} are needed); the"
    assert f"{line} recipe's own are used" in ended.out
    run = only_run(tmp_path, "few")
    settings = yaml.safe_load((run / "config.yaml").read_text())
    assert settings["model"]["optimizer"]["init_args"]["lr"] == 5e-4
    assert not (run / "find.csv").exists()


def test_a_search_killed_in_the_middle_leaves_nothing_and_starts_anew(tmp_path):
    pictures(tmp_path, width=24, height=24)  # squares: there is no policy to choose
    killed = launch(*FIT, "--find", "--name", "again", cwd=tmp_path, kill_at=5)
    assert killed.code == 9
    assert "find: 3 short runs of" in killed.out
    assert not (tmp_path / "logs").exists()
    assert launch(*FIT, "--find", "--name", "again", cwd=tmp_path).code == 0
    assert len(table(only_run(tmp_path, "again"))) == 3


def test_find_is_no_option_of_a_run_that_goes_on(searched):
    cwd, _ = searched
    run = only_run(cwd, "found")
    (run / "summary.json").unlink()
    ended = launch("fit", "--resume", str(run), "--find", cwd=cwd)
    assert ended.code == 2
    assert "--resume: --find would change the result" in ended.out


def searching(*trials: Trial) -> Search:
    """A search that has tried these."""
    search = Search.__new__(Search)
    search.trials, search.name = list(trials), "val/accuracy"
    search.module, search.metric = MagicMock(spec=ViTModule), BestMetric("val/accuracy")
    return search


@pytest.mark.parametrize(
    ("epochs", "steps", "expected"),
    [(50, -1, 50), (2, -1, 20), (1, -1, 10), (50, 300, 30), (None, 1000, 100), (None, -1, 1000)],
)
def test_a_short_run_is_a_tenth_of_the_length_and_no_longer_than_it(epochs, steps, expected):
    trainer = SimpleNamespace(max_epochs=epochs, max_steps=steps)
    spec = SimpleNamespace(counts={"train": 165})
    whole = MagicMock(spec=CLI)
    whole.config = SimpleNamespace(trainer=trainer)
    whole.datamodule = SimpleNamespace(spec=spec, batch_size=16)  # ten steps an epoch
    assert short_length(whole) == expected


def test_after_each_run_it_says_how_long_the_others_will_take():
    search = searching(Trial(1.0, None, 0.8, 0.5, 100.0), Trial(2.0, None, 0.8, 0.5, 140.0))
    search.count = 5
    assert search.rest == "; 3 more, about 6.0 minutes"
    search.count = 2
    assert search.rest == ""


def test_a_best_rate_at_the_end_of_those_tried_is_called_so():
    low, middle, high = (
        Trial(lr, None, value) for lr, value in ((1.0, 0.5), (2.0, 0.6), (4.0, 0.4))
    )
    assert searching(low, middle, high).edge == ""
    assert searching(low, high).edge.startswith("; the lowest rate tried: a lower one may be")
    assert searching(Trial(1.0, None, 0.1), middle).edge.startswith("; the highest rate tried")
    assert searching(low, middle, Trial(4.0, None)).edge == ""  # the highest failed
    assert searching(low, Trial(1.0, None, 0.7)).edge == ""  # one rate, two policies


def test_the_length_is_that_of_timed_batches_times_all_steps(monkeypatch, capsys):
    times = iter([100.0, 108.0])  # four batches of two seconds
    monkeypatch.setattr("vit.cli.find.time.perf_counter", lambda: next(times))
    clock, module = SayLength(steps=300), MagicMock(spec=ViTModule)
    trainer = MagicMock(spec=Trainer, accumulate_grad_batches=2)
    for batch in range(20):
        clock.on_train_batch_start(trainer, module, None, batch)
    assert capsys.readouterr().out == "find: their steps take about 20 minutes\n"


def test_the_best_has_the_highest_figure_then_the_lowest_loss_and_never_failed():
    squeeze = Policy("squeeze")
    first, lower = Trial(1.0, squeeze, 0.8, 0.5), Trial(2.0, squeeze, 0.8, 0.4)
    failed, higher = Trial(3.0, squeeze), Trial(4.0, squeeze, 0.9, 0.9)
    assert searching(first, lower, failed).best is lower
    assert searching(failed, first).best is first
    assert searching(first, higher, lower, failed).best is higher
    assert searching(first, Trial(5.0, squeeze, 0.8, 0.5)).best is first
    assert math.isnan(searching(failed).best.value)
    assert "lr 3, squeeze: val/accuracy failed" in searching(failed).text(failed)


def test_a_middle_square_throws_away_what_the_arithmetic_says():
    assert discarded([(100, 100)], 1.0) == (0.0, 0.0)
    usual, most = discarded([(100, 100), (100, 400)], 0.5)
    assert (usual, most) == pytest.approx((0.84375, 0.9375))  # 1/4 and 1/16 are left


def test_a_policy_is_known_by_the_settings_that_ask_for_it(tmp_path):
    folder(tmp_path, {"a": 10, "b": 10})
    assert policy_of(Digits()) is None
    assert policy_of(ImageFolder(str(tmp_path))).name == "squeeze"
    own = policy_of(ImageFolder(str(tmp_path), center_crop_ratio=0.95))
    assert own == Policy("crop", False, 0.95)
    assert [way.name for way in other_policies(own)] == ["squeeze", "letterbox"]
    assert own.settings == ["--data.letterbox", "false", "--data.center_crop_ratio", "0.95"]
