"""The contracts on the cases that break contracts: kill, resume, shard, and look from outside.

{1 process, 2-process DDP, 2-process FSDP2} x {labels, masked patches, many views and a teacher},
and three processes, whose sums depend on the order of adding:
a run killed in mid-epoch and resumed must equal one never killed, weights bit for bit and
metrics.csv byte for byte, while a probe and pictures run the encoder outside of forward.
"""

import csv
import json
import time
from pathlib import Path

import pytest
import torch

from launch import ROOT, launch

SHORT = (
    *("--trainer.max_epochs", "2", "--trainer.limit_train_batches", "6"),
    *("--trainer.check_val_every_n_epoch", "1", "--trainer.val_check_interval", "1.0"),
    *("--trainer.log_every_n_steps", "1"),
    *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
    *("--trainer.accelerator", "cpu", "--checkpoint_every", "2", "--data.batch_size", "24"),
    *("--model.encoder.dropout", "0.1", "--model.encoder.drop_path", "0.1"),
    *("--model.encoder.width", "32", "--model.encoder.depth", "2", "--model.encoder.heads", "2"),
)
GROUPS = {
    "single": (1, ()),
    "ddp": (2, ("--trainer.strategy", "ddp", "--trainer.devices", "2")),
    "three": (3, ("--trainer.strategy", "ddp", "--trainer.devices", "3")),
    "fsdp": (2, ("--trainer", "configs/trainer/fsdp.yaml", "--trainer.devices", "2")),
}
OBJECTIVES = [
    o for o in ("supervised", "mpp", "dino") if (ROOT / f"configs/pretrain/{o}.yaml").is_file()
]  # an objective may be removed


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def rows_of(table: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(table.read_text().splitlines()))


def equal(first: Path, second: Path) -> bool:
    a, b = weights(first), weights(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def fit(cwd: Path, objective: str, group: str, *extra: str, name: str, **how):
    ranks, strategy = GROUPS[group]
    return launch(
        "fit", "--config", f"configs/pretrain/{objective}.yaml", *strategy, *SHORT, *extra,
        "--name", name, cwd=cwd, ranks=ranks, **how,
    )  # fmt: skip


def only_run(cwd: Path, name: str) -> Path:
    (run,) = (cwd / "logs" / name).iterdir()
    return run


CASES = [(g, o) for g in GROUPS for o in OBJECTIVES if g in ("single", "ddp")]
CASES += [
    ("three", "supervised"),
    ("fsdp", OBJECTIVES[-1]),
]  # all under fsdp: the slow test at the end


@pytest.mark.skipif("dino" not in OBJECTIVES, reason="dino was removed")
@pytest.mark.parametrize("group", ["ddp", "fsdp"])
def test_a_run_killed_while_prototypes_are_frozen_resumes_bit_for_bit(tmp_path, group):
    """The optimiser has no state of theirs at the kill, and begins one after it."""
    frozen = ("--model.objective.distillation.last_layer_frozen", "0.75")  # of 12 steps
    straight = fit(tmp_path, "dino", group, *frozen, name="straight")
    assert straight.code == 0, straight.everything
    assert fit(tmp_path, "dino", group, *frozen, name="killed", kill_at=7).code == 9
    killed = only_run(tmp_path, "killed")
    resumed = launch("fit", "--resume", str(killed), cwd=tmp_path, ranks=GROUPS[group][0])
    assert resumed.code == 0, resumed.everything
    assert equal(only_run(tmp_path, "straight"), killed)


@pytest.mark.parametrize(("group", "objective"), CASES)
def test_a_killed_run_resumes_bit_for_bit(tmp_path, group, objective):
    straight = fit(tmp_path, objective, group, name="straight")
    assert straight.code == 0, straight.everything
    assert "arning" not in straight.everything
    killed = fit(tmp_path, objective, group, name="killed", kill_at=9)
    assert killed.code == 9
    resumed = launch(
        "fit", "--resume", str(only_run(tmp_path, "killed")), cwd=tmp_path, ranks=GROUPS[group][0]
    )
    assert resumed.code == 0, resumed.everything
    assert "resumed at step 8" in resumed.out
    assert "arning" not in resumed.everything
    first, second = only_run(tmp_path, "straight"), only_run(tmp_path, "killed")
    assert equal(first, second)
    assert (first / "metrics.csv").read_bytes() == (second / "metrics.csv").read_bytes()
    rows = rows_of(second / "metrics.csv")
    assert {"probe/knn", "train/loss", "val/loss"} <= {row["name"] for row in rows}
    assert json.loads((second / "summary.json").read_text())["status"] == "completed"


def test_early_stopping_reads_its_metric_after_a_resume(tmp_path):
    """Killed at the first step of the second epoch: the resumed run begins with the first's end."""
    stopping = ("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/loss")
    fit(tmp_path, "supervised", "single", *stopping, name="straight")
    assert fit(tmp_path, "supervised", "single", *stopping, name="killed", kill_at=6).code == 9
    killed = only_run(tmp_path, "killed")
    resumed = launch("fit", "--resume", str(killed), cwd=tmp_path)
    assert resumed.code == 0, resumed.everything
    straight = only_run(tmp_path, "straight")
    assert (straight / "metrics.csv").read_bytes() == (killed / "metrics.csv").read_bytes()
    assert equal(straight, killed)


def test_a_run_killed_after_it_was_stopped_early_makes_no_step_more(tmp_path):
    """Lightning's checkpoints hold that patience ran out, not that the run was to stop."""
    stopping = (
        *("--trainer.max_epochs", "-1", "--trainer.max_steps", "12"),
        *("--trainer.check_val_every_n_epoch", "null", "--trainer.val_check_interval", "5"),
        *("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/loss"),
        "--trainer.callbacks.stopping_threshold=100",
    )
    done = fit(tmp_path, "supervised", "single", *stopping, name="stopped")
    assert done.code == 0, done.everything
    run = tmp_path / done.run
    metrics, before = (run / "metrics.csv").read_bytes(), weights(run)
    (run / "summary.json").unlink()
    resumed = launch("fit", "--resume", str(run), cwd=tmp_path)
    assert resumed.code == 0, resumed.everything
    assert "resumed at step 5" in resumed.out
    assert (run / "metrics.csv").read_bytes() == metrics
    assert all(torch.equal(before[name], value) for name, value in weights(run).items())
    assert json.loads((run / "summary.json").read_text())["status"] == "completed"


@pytest.mark.parametrize("validations", ["1.0", "0"])
def test_a_run_killed_after_its_last_step_still_gets_its_end(tmp_path, validations):
    """What follows the last step (a probe) is done by the resumed run, and nothing twice."""
    done = fit(tmp_path, "mpp", "single", "--trainer.limit_val_batches", validations, name="end")
    assert done.code == 0, done.everything
    run = tmp_path / done.run
    metrics = (run / "metrics.csv").read_bytes()
    before = weights(run)
    (run / "summary.json").unlink()
    resumed = launch("fit", "--resume", str(run), cwd=tmp_path)
    assert resumed.code == 0, resumed.everything
    assert "resumed at step 12" in resumed.out
    assert (run / "metrics.csv").read_bytes() == metrics
    assert all(torch.equal(before[name], value) for name, value in weights(run).items())
    assert json.loads((run / "summary.json").read_text())["status"] == "completed"


@pytest.mark.slow
@pytest.mark.parametrize("group", ["ddp", "fsdp"])
def test_batch_statistics_agree_over_ranks_and_resume(tmp_path, group):
    """BatchNorm counts each rank's own images; checkpoints hold rank 0's."""
    ranks, strategy = GROUPS[group]
    common = (
        "fit", "--config", "configs/pretrain/supervised.yaml", *strategy,
        "--model.encoder", "configs/encoder/resnet18.yaml",
        *(word for pair in zip(SHORT[::2], SHORT[1::2], strict=True)
          if not pair[0].startswith("--model.encoder") for word in pair),
        "--trainer.limit_train_batches", "3",
    )  # fmt: skip
    straight = launch(*common, "--name", "straight", cwd=tmp_path, ranks=ranks)
    assert straight.code == 0, straight.everything
    launch(*common, "--name", "killed", cwd=tmp_path, ranks=ranks, kill_at=5)
    killed = only_run(tmp_path, "killed")
    assert launch("fit", "--resume", str(killed), cwd=tmp_path, ranks=ranks).code == 0
    assert equal(only_run(tmp_path, "straight"), killed)
    metrics = [(only_run(tmp_path, name) / "metrics.csv").read_bytes()
               for name in ("straight", "killed")]  # fmt: skip
    assert metrics[0] == metrics[1]


def test_another_seed_gives_other_weights(tmp_path):
    """A planted fault: if two seeds were equal here, the test above would be asleep."""
    fit(tmp_path, "mpp", "single", name="a")
    fit(tmp_path, "mpp", "single", "--seed_everything", "1", name="b")
    assert not equal(only_run(tmp_path, "a"), only_run(tmp_path, "b"))


@pytest.mark.parametrize("group", ["ddp", "fsdp"])
def test_two_processes_train_as_one_does(tmp_path, group):
    def losses(name: str) -> list[float]:
        rows = csv.DictReader((only_run(tmp_path, name) / "metrics.csv").read_text().splitlines())
        return [float(row["value"]) for row in rows if row["name"] == "train/loss"]

    still = ("--model.encoder.dropout", "0", "--model.encoder.drop_path", "0",
             "--model.objective.corruption.partner", "image")  # fmt: skip
    whole = ("--trainer.strategy.compute", "float32") if group == "fsdp" else ()
    assert fit(tmp_path, "mpp", "single", *still, name="one").code == 0
    assert fit(tmp_path, "mpp", group, *still, *whole, name="two").code == 0
    assert losses("two") == pytest.approx(losses("one"), rel=1e-4)


@pytest.mark.parametrize("ranks", [2, 3])
def test_evaluation_is_exact_on_any_number_of_processes(tmp_path, ranks):
    """360 test images in batches of 7 divide by neither."""
    run = fit(tmp_path, "supervised", "single", name="run").run
    found = {}
    for count in (1, ranks):
        strategy = ("--trainer.strategy", "ddp", "--trainer.devices", str(count))
        ended = launch(
            "test", "--from", str(run), "--data.eval_batch_size", "7",
            *(strategy if count > 1 else ()), cwd=tmp_path, ranks=count,
        )  # fmt: skip
        assert ended.code == 0, ended.everything
        found[count] = json.loads((tmp_path / run / "summary.test.json").read_text())
    assert found[1]["test/accuracy"] == found[ranks]["test/accuracy"]
    assert found[1]["test/loss"] == pytest.approx(found[ranks]["test/loss"], rel=1e-6)


def test_masks_are_the_same_on_one_and_two_processes(tmp_path):
    run = fit(tmp_path, "mpp", "single", name="run").run
    found = []
    for ranks in (1, 2):
        strategy = ("--trainer.strategy", "ddp", "--trainer.devices", "2") if ranks > 1 else ()
        launch("validate", "--from", str(run), *strategy, cwd=tmp_path, ranks=ranks)
        found.append(json.loads((tmp_path / run / "summary.validate.json").read_text()))
    assert found[0]["val/accuracy"] == found[1]["val/accuracy"]
    assert found[0]["val/always_most_common"] == found[1]["val/always_most_common"]


def test_a_sharded_model_predicts_what_a_whole_one_does(tmp_path):
    run = fit(tmp_path, "supervised", "fsdp", name="run").run
    tables = []
    for ranks, strategy in (GROUPS["single"], GROUPS["fsdp"]):
        whole = ("--trainer.strategy.compute", "float32") if ranks > 1 else (
            "--trainer.strategy", "auto", "--trainer.devices", "1")  # fmt: skip
        ended = launch("predict", "--from", str(run), *strategy, *whole, cwd=tmp_path, ranks=ranks)
        assert ended.code == 0, ended.everything
        tables.append(
            list(csv.DictReader((tmp_path / run / "predictions.csv").read_text().splitlines()))
        )
    assert len(tables[0]) == 360
    assert [row["prediction"] for row in tables[0]] == [row["prediction"] for row in tables[1]]
    for one, two in zip(*tables, strict=True):
        assert float(one["confidence"]) == pytest.approx(float(two["confidence"]), abs=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_twenty_kills_at_random_instants(tmp_path, objective):
    """Also while a checkpoint is written: one is written after every step."""
    generator = torch.Generator().manual_seed(OBJECTIVES.index(objective))
    often = ("--checkpoint_every", "1")
    started = time.monotonic()
    assert fit(tmp_path, objective, "single", *often, name="straight").code == 0
    whole = time.monotonic() - started
    survived = 0
    for number in range(20):
        delay = float(torch.rand(1, generator=generator)) * whole
        fit(tmp_path, objective, "single", *often, name=str(number), kill_after=delay)
        folder = tmp_path / "logs" / str(number)
        runs = list(folder.iterdir()) if folder.exists() else []
        if not runs or not (runs[0] / "config.yaml").exists():
            survived += 1  # killed before there was anything to resume
            continue
        assert launch("fit", "--resume", str(runs[0]), cwd=tmp_path).code == 0
        straight = only_run(tmp_path, "straight")
        same = equal(straight, runs[0])
        metrics = (straight / "metrics.csv").read_bytes() == (runs[0] / "metrics.csv").read_bytes()
        survived += same and metrics
    assert survived == 20


EVERY = sorted(f.stem for f in (ROOT / "configs/objective").glob("*.yaml"))
LONG = ("--trainer.limit_train_batches", "10", "--checkpoint_every", "3")  # two epochs, 20 steps


@pytest.mark.slow
@pytest.mark.parametrize("objective", EVERY)
@pytest.mark.parametrize("group", ["single", "ddp", "fsdp"])
def test_every_objective_survives_kills_in_bf16(tmp_path, group, objective, request):
    """Twenty steps, killed at random ones (--kills times): equal to a run never killed."""
    words = ["--model.objective", f"configs/objective/{objective}.yaml", *LONG]
    words += [] if group == "fsdp" else ["--trainer.precision", "bf16-mixed"]
    if objective.endswith("distillation"):  # needs a run to learn from
        teacher = fit(tmp_path, "supervised", "single", name="teacher")
        words += ["--model.objective.teacher", str(teacher.run)]
    straight = fit(tmp_path, "supervised", group, *words, name="straight")
    assert straight.code == 0, straight.everything
    assert "arning" not in straight.everything
    generator = torch.Generator().manual_seed(sum(map(ord, objective + group)))
    kills = request.config.getoption("--kills")
    first, *more = torch.randint(1, 20, (kills,), generator=generator).sort().values.tolist()
    ended = fit(tmp_path, "supervised", group, *words, name="killed", kill_at=first)
    assert ended.code == 9, ended.everything
    killed, whole = only_run(tmp_path, "killed"), only_run(tmp_path, "straight")
    resume = ("fit", "--resume", str(killed))
    for kill in more:
        ended = launch(*resume, cwd=tmp_path, ranks=GROUPS[group][0], kill_at=kill)
        assert ended.code == 9, ended.everything
    resumed = launch(*resume, cwd=tmp_path, ranks=GROUPS[group][0])
    assert resumed.code == 0, resumed.everything
    assert equal(whole, killed)
    assert (whole / "metrics.csv").read_bytes() == (killed / "metrics.csv").read_bytes()


ENDINGS = {  # how a run's length is told, and when it is validated
    "epochs, validated each": ("--trainer.max_epochs", "3"),
    "epochs, validated every second": (
        *("--trainer.max_epochs", "3", "--trainer.check_val_every_n_epoch", "2"),
    ),
    "epochs, validated by steps": (
        *("--trainer.max_epochs", "2", "--trainer.check_val_every_n_epoch", "null"),
        *("--trainer.val_check_interval", "5"),
    ),
    "epochs, never validated": ("--trainer.max_epochs", "2", "--trainer.limit_val_batches", "0"),
    "epochs, accumulated": (
        *("--trainer.max_epochs", "3", "--trainer.accumulate_grad_batches", "2"),
    ),
    "steps inside an epoch": ("--trainer.max_epochs", "-1", "--trainer.max_steps", "8"),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_run_that_dies_in_its_test_makes_no_step_more(tmp_path, ending):
    """All steps are done and saved; what is missing is the test and the summary."""
    words = (*ENDINGS[ending], "--test_after_fit", "true", "--checkpoint_every", "100")
    done = fit(tmp_path, "supervised", "single", *words, name="end")
    assert done.code == 0, done.everything
    run = tmp_path / done.run
    metrics, summary = (run / "metrics.csv").read_bytes(), json.loads(
        (run / "summary.json").read_text())  # fmt: skip
    before = weights(run)
    (run / "summary.json").unlink()
    resumed = launch("fit", "--resume", str(run), cwd=tmp_path)
    assert resumed.code == 0, resumed.everything
    assert all(torch.equal(before[name], value) for name, value in weights(run).items())
    assert (run / "metrics.csv").read_bytes() == metrics
    again = json.loads((run / "summary.json").read_text())
    assert again["images_seen"] == summary["images_seen"]
    assert again["test/accuracy"] == summary["test/accuracy"]
