"""Every mistake is one line with the nearest valid name; every verb leaves what it promises."""

import csv
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from launch import ROOT, launch

QUICK = ("fit", "--config", "configs/quickstart.yaml")
DEBUG = ("--trainer", "configs/trainer/debug.yaml", "--trainer.enable_progress_bar", "false")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A finished tiny run."""
    cwd = tmp_path_factory.mktemp("work")
    ended = launch(*QUICK, *DEBUG, cwd=cwd)
    assert ended.code == 0, ended.everything
    return cwd / ended.run


def work(run: Path) -> Path:
    return run.parents[2]


def test_help_needs_no_torch_and_no_second():
    started = time.perf_counter()
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "train.py", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert time.perf_counter() - started < 1
    assert "fit" in told.stdout
    assert " torch" not in told.stderr


MISTAKES = {
    "unknown verb 'fti'; did you mean fit?": ("fti",),
    "the verb comes first": ("--config", "configs/quickstart.yaml", "fit"),
    "no such file": ("fit", "--config", "nope.yaml"),
    "did you mean 'max_steps'?": (*QUICK, "--trainer.max_stepz", "2"),
    "'smothing' is not accepted; did you mean 'label_smoothing'?": (
        *QUICK, "--model.objective.smothing", "0.1"),
    "did you mean 'max_epochs'?": (*QUICK, "--trainer.max_epoch", "3"),
    "depth: expected int, got x": (*QUICK, "--model.encoder.depth", "x"),
    "a 8x8 image does not divide into patches of 3": (*QUICK, "--model.encoder.patch_size", "3"),
    "val_fraction must be in (0, 0.5], got 2.0": (*QUICK, "--data.val_fraction", "2"),
    "batch_size 5000 is larger than the training split (1293 images)": (
        *QUICK, "--data.batch_size", "5000"),
    "batch_size 33 does not divide into 1 ranks x 2": (
        *QUICK, "--data.batch_size", "33", "--trainer.accumulate_grad_batches", "2"),
    "needs a TokenEncoder, got a ResNet": (
        "fit", "--config", "configs/pretrain/mpp.yaml",
        "--model.encoder", "configs/encoder/resnet18.yaml"),
    "give an encoder, or pretrained": ("fit", "--config", "configs/finetune/default.yaml"),
    "no such file or run folder: nowhere": ("test", "--from", "nowhere"),
    "say what to predict": ("predict",),
    "is not a run folder": ("fit", "--resume", "."),
    "use model.clip.value": (*QUICK, "--trainer.gradient_clip_val", "1.0"),
    "--name needs a value": (*QUICK, "--name", "--logs", "x"),
    "start from a file: --config configs/quickstart.yaml": ("fit",),
    "give max_epochs or max_steps": (*QUICK, "--trainer.max_epochs", "-1"),
    "--from belongs to validate": (*QUICK, "--from", "x"),
    "seed_everything must be a number": (*QUICK, "--seed_everything", "false"),
    "the loaders here are exact without it": (*QUICK, "--trainer.use_distributed_sampler", "true"),
    "model.objective: the class chosen there has no setting 'mixing'": (
        "fit", "--config", "configs/pretrain/mpp.yaml", "--model.objective.mixing.mixup", "0.5"),
    "model.frozen_layers: expected int or 'all', got al": (*QUICK, "--model.frozen_layers", "al"),
    "model.optimizer.lr: expected a number, got abc": (*QUICK, "--model.optimizer.lr", "abc"),
    "one part of a run; use --model.encoder": ("fit", "--config", "configs/encoder/tiny.yaml"),
    "which option? --config configs/quickstart.yaml": ("fit", "configs/quickstart.yaml"),
    "'digits' is neither a file nor a class; did you mean 'Digits'?": (*QUICK, "--data", "digits"),
    "did you mean configs/data/cifar10.yaml?": (*QUICK, "--data", "configs/data/cifa10.yaml"),
    "trainer.devices must be at least 1 and at most 1,024, got 99999": (
        *QUICK, "--trainer.devices", "99999"),
    "trainer.check_val_every_n_epoch must be at least 1, got 0": (
        *QUICK, "--trainer.check_val_every_n_epoch", "0"),
    "trainer.val_check_interval counts batches from 1": (
        *QUICK, "--trainer.val_check_interval", "0"),
    "nothing would be trained": (*QUICK, "--trainer.limit_train_batches", "0"),
    "threads must be from 1 to 1,024, got 100000": (*QUICK, "--threads", "100000"),
    "head_lr must be at least 0, got -1.0": (*QUICK, "--model.head_lr", "-1"),
    "registers must be from 0 to 1,024": (*QUICK, "--model.encoder.registers", "1000000000"),
    "depth must be at most": (*QUICK, "--model.encoder.depth", "1000000000"),
    "model.optimizer.weight_decay must be a number, got inf": (
        *QUICK, "--model.optimizer.weight_decay", ".inf"),
    "no module '.'": (*QUICK, "--trust", "."),
    "float16 is not offered": (*QUICK, "--trainer.precision", "16-mixed"),
    "trainer.max_time is not used here": (*QUICK, "--trainer.max_time", "00:00:01:00"),
    "log_every_n_steps must be at least 1": (*QUICK, "--trainer.log_every_n_steps", "0"),
}  # fmt: skip


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path, line):
    ended = launch(*MISTAKES[line], cwd=tmp_path)
    complaints = [text for text in ended.out.splitlines() if text.startswith("error: ")]
    assert ended.code == 2
    assert len(complaints) == 1
    assert line in complaints[0]
    assert "Traceback" not in ended.out


FILES = {
    "did you mean 'width'?  (bad.yaml, line 4)":
        "model:\n  encoder:\n    class_path: vit.models.ViT\n    init_args: {widht: 3}\n",
    "did you mean 'model'?  (bad.yaml, line 1)": "modle:\n  encoder: 3\n",
    "did you mean 'max_epochs'?  (bad.yaml, line 2)": "trainer:\n  max_epochz: 3\n",
    "bad.yaml, line 3, column 2: not YAML": "model: [\n  a\nb: c\n",
    "has no attribute 'Vit'; did you mean 'ViT'?":
        "model:\n  encoder:\n    class_path: vit.models.Vit\n",
}  # fmt: skip


@pytest.mark.parametrize("line", FILES)
def test_a_mistake_in_a_file_names_the_file(tmp_path, line):
    (tmp_path / "bad.yaml").write_text(FILES[line])
    ended = launch(*QUICK, "--config", "bad.yaml", cwd=tmp_path)
    assert ended.code == 2
    assert line in ended.out
    assert len(ended.out.strip().splitlines()) == 1


def test_a_bomb_of_aliases_is_named_and_not_expanded(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    (tmp_path / "deep.yaml").write_text("a: " + "[" * 100_000)
    for words in (("--config", "bomb.yaml"), ("--config", "configs/quickstart.yaml", "--data",
                  "bomb.yaml"), ("--config", "deep.yaml")):  # fmt: skip
        ended = launch("fit", *words, cwd=tmp_path, patience=60)
        assert ended.code == 2, ended.out
        (line,) = ended.out.strip().splitlines()
        assert "more than 100,000 values" in line or "more than 100 levels" in line
        assert words[-1] in line


def test_a_run_folder_holds_what_it_promises(finished):
    names = {path.name.split(".out.")[0] for path in finished.iterdir()}
    assert names == {
        "config.yaml", "command.txt", "environment.json", "metrics.csv", "timing.csv",
        "checkpoints", "summary.json", "correct.csv", "events",
    }  # fmt: skip
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["status"] == "completed"
    assert summary["images_seen"] == 4 * 64
    assert 0 <= summary["test/accuracy"] <= 1
    assert finished.name.endswith("_seed0")
    assert finished.parent.name == "quickstart"


def test_a_run_s_own_config_runs_again_with_the_same_result(finished):
    again = launch(
        "fit", "--config", str(finished / "config.yaml"), "--name", "again", cwd=work(finished)
    )
    assert again.code == 0, again.everything
    second = work(finished) / again.run
    assert (second / "metrics.csv").read_bytes() == (finished / "metrics.csv").read_bytes()


def test_a_clean_run_prints_no_warning_and_its_folder_last(finished):
    ended = launch(*QUICK, *DEBUG, "--name", "clean", cwd=work(finished))
    assert "arning" not in ended.out
    assert ended.out.strip().splitlines()[-1].startswith("run: logs/clean/")


def test_two_runs_of_the_same_second_get_two_folders(tmp_path):
    from vit.callbacks.run import new_folder

    folders = {new_folder(tmp_path, 0) for _ in range(3)}
    assert len(folders) == 3


def test_a_complete_run_is_not_resumed(finished):
    ended = launch("fit", "--resume", str(finished), cwd=work(finished))
    assert ended.code == 0
    assert ended.out.strip().endswith("is complete; nothing to resume")


def test_resume_refuses_what_would_change_the_result(tmp_path):
    launch(*QUICK, *DEBUG, cwd=tmp_path, kill_at=2)
    (run,) = (tmp_path / "logs" / "quickstart").iterdir()
    ended = launch("fit", "--resume", str(run), "--model.head_lr", "2", cwd=tmp_path)
    assert ended.code == 2
    assert "--model.head_lr would change the result" in ended.out
    other = launch("fit", "--resume", str(run), "-c", "configs/quickstart.yaml", cwd=tmp_path)
    assert other.code == 2
    assert "-c would change the result" in other.out


def test_validate_and_test_of_a_folder_write_into_it(finished):
    for verb, split in (("validate", "val"), ("test", "test")):
        ended = launch(verb, "--from", str(finished), cwd=work(finished))
        assert ended.code == 0, ended.everything
        summary = json.loads((finished / f"summary.{verb}.json").read_text())
        assert f"{split}/accuracy" in summary


def test_testing_afterwards_repeats_the_run_s_own_test(tmp_path):
    ended = launch(*QUICK, *DEBUG, "--trainer.limit_test_batches", "1.0", cwd=tmp_path)
    run = tmp_path / ended.run
    launch("test", "--from", str(run), cwd=tmp_path)
    first, second = (json.loads((run / name).read_text())["test/accuracy"]
                     for name in ("summary.json", "summary.test.json"))  # fmt: skip
    assert first == second


def test_predict_from_a_bare_checkpoint_writes_a_new_folder(finished):
    checkpoint = finished / "checkpoints" / "last.ckpt"
    ended = launch("predict", "--from", str(checkpoint), cwd=work(finished))
    assert ended.code == 0, ended.everything
    table = work(finished) / ended.run / "predictions.csv"
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert table.parent != finished
    assert list(rows[0]) == ["index", "label", "prediction", "confidence",
                             *(f"p_{digit}" for digit in range(10))]  # fmt: skip
    assert [int(row["index"]) for row in rows] == list(range(360))
    for row in rows[:20]:
        chances = [float(row[f"p_{digit}"]) for digit in range(10)]
        assert sum(chances) == pytest.approx(1, abs=1e-4)
        assert float(row["confidence"]) == max(chances)


def test_a_loss_that_is_not_finite_stops_the_run_and_says_so(tmp_path):
    ended = launch(*QUICK, *DEBUG, "--trainer.detect_anomaly", "false",
                   "--trainer.limit_train_batches", "8",
                   "--model.clip", "null", "--model.optimizer.lr", "1e20", cwd=tmp_path)  # fmt: skip  # noqa: E501
    (run,) = (tmp_path / "logs" / "quickstart").iterdir()
    assert ended.code == 1
    assert "error: train/loss is not finite from step 3 on (every image of the batch" in ended.out
    assert json.loads((run / "summary.json").read_text())["status"] == "failed"


def test_a_sanity_check_leaves_no_trace(finished):
    ended = launch(
        *QUICK, *DEBUG, "--trainer.num_sanity_val_steps", "2", "--name", "sane", cwd=work(finished)
    )
    metrics = (work(finished) / ended.run / "metrics.csv").read_bytes()
    assert metrics == (finished / "metrics.csv").read_bytes()


def test_nothing_is_no_measurement_and_other_splits_are_told(finished):
    ended = launch("test", "--from", str(finished), "--trainer.limit_test_batches", "0",
                   cwd=work(finished))  # fmt: skip
    assert ended.code == 2
    assert "trainer.limit_test_batches is 0: there would be nothing to test" in ended.out
    told = launch(
        "test", "--from", str(finished), "--data.test_fraction", "0.3", cwd=work(finished)
    )
    assert "warning: the test split is not the one of the training" in told.out
    launch("test", "--from", str(finished), cwd=work(finished))  # its figures are its own again


def test_an_objective_that_cannot_predict_says_so_in_one_line(tmp_path):
    ended = launch("fit", "--config", "configs/pretrain/mpp.yaml", *DEBUG, cwd=tmp_path)
    larger = launch("validate", "--from", str(ended.run), "--data.image_size", "12", cwd=tmp_path)
    assert larger.code == 0, larger.everything
    told = launch("predict", "--from", str(ended.run), cwd=tmp_path)
    assert told.code == 2
    assert "error: predict: MaskedPatchPrediction predicts no classes" in told.out


def test_a_torn_checkpoint_is_named_and_the_one_before_it_is_used(tmp_path):
    launch(*QUICK, *DEBUG, "--checkpoint_every", "1", cwd=tmp_path, kill_at=3)
    (run,) = (tmp_path / "logs" / "quickstart").iterdir()
    last = run / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    ended = launch("fit", "--resume", str(run), cwd=tmp_path)
    assert ended.code == 0, ended.everything
    assert "last.ckpt is damaged" in ended.out
    assert "going on from" in ended.out
    assert "previous.ckpt" in ended.out


def test_checkpoints_hold_plain_values_only(finished):
    content = torch.load(finished / "checkpoints" / "last.ckpt", weights_only=True)
    assert content["format"] == 1
    assert content["encoder"]["spec"]["classes"] == list("0123456789")
    assert content["encoder"]["settings"]["gelu"] == "tanh"
    assert content["encoder"]["settings"]["norm_eps"] == 1e-6


def test_a_later_class_drops_the_settings_of_the_one_before(tmp_path):
    (tmp_path / "other.yaml").write_text(
        "model:\n  schedule: {class_path: vit.optim.schedules.Linear, init_args: {end: 0.01}}\n"
    )
    ended = launch(*QUICK, "--config", "other.yaml", "--print_config", cwd=tmp_path)
    assert ended.code == 0
    schedule = ended.out[ended.out.index("schedule:") :].splitlines()[:5]
    assert schedule[1].strip() == "class_path: vit.optim.schedules.Linear"
    assert "warmup: 0.0" in ended.out[ended.out.index("vit.optim.schedules.Linear") :]


def test_fine_tuning_starts_from_another_objective_s_encoder(tmp_path):
    first = launch("fit", "--config", "configs/pretrain/mpp.yaml", *DEBUG, cwd=tmp_path)
    assert "length: short for self-supervision" in first.out
    ended = launch(
        "fit", "--config", "configs/finetune/default.yaml", *DEBUG,
        "--model.pretrained", str(first.run), "--data.image_size", "12", cwd=tmp_path,
    )  # fmt: skip
    assert ended.code == 0, ended.everything
    assert "100 % of the encoder" in ended.out
    assert "short for self-supervision" not in ended.out  # labels are no self-supervision
    assert "positions resized from (4, 4) to (6, 6)" in ended.out
    shutil.rmtree(tmp_path / first.run)
    told = launch("test", "--from", str(ended.run), cwd=tmp_path)
    assert told.code == 0, told.everything
    other = launch("test", "--from", str(ended.run), "--data.image_size", "8", cwd=tmp_path)
    assert other.code == 0, other.everything


@pytest.mark.parametrize("deep", [False, True], ids=["typed", "in a file"])
def test_a_class_that_was_renamed_is_told_by_its_new_name(tmp_path, deep):
    """The parser reads a file inside the file's own folder; the message must find it still."""
    config = tmp_path / "mine/old.yaml"
    config.parent.mkdir()
    config.write_text("trainer: {callbacks: [{class_path: vit.callbacks.KNN}]}\n")
    old = ("--config", "mine/old.yaml") if deep else ("--trainer.callbacks", "KNN")
    ended = launch("fit", "--config", "configs/pretrain/mpp.yaml", *old, cwd=tmp_path)
    assert ended.code == 2
    assert "KNN is called " in ended.out
    assert "Probe, with every: null and images: null, now;" in ended.out
