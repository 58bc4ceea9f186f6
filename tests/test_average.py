"""The averaged weights: the average of a hand loop, read by evaluation and later runs, resumed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch.nn import functional as F

from builders import small_vit
from launch import launch
from vit.data import Digits
from vit.data.normalisation import normalise
from vit.ema import ema_warmup
from vit.models.weights import load_into, stored_encoder
from vit.module import ViTModule
from vit.objectives.supervised import Supervised

TINY = (
    *("--trainer.max_epochs", "2", "--trainer.limit_train_batches", "4"),
    *("--trainer.check_val_every_n_epoch", "1", "--trainer.val_check_interval", "1.0"),
    *("--trainer.log_every_n_steps", "1", "--trainer.accelerator", "cpu"),
    *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
    *("--checkpoint_every", "2", "--data.batch_size", "24", "--model.ema", "0.9"),
    *("--model.encoder.width", "32", "--model.encoder.depth", "2", "--model.encoder.heads", "2"),
)
FSDP = ("--trainer", "configs/trainer/fsdp.yaml", "--trainer.devices", "2")


class Steps(Callback):
    """The objective's parameters after each optimiser step, in float64."""

    def __init__(self) -> None:
        self.seen: list[list[np.ndarray]] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == len(self.seen):
            return
        self.seen.append(numbers(pl_module.objective))


def numbers(module: torch.nn.Module) -> list[np.ndarray]:
    return [parameter.detach().double().numpy().copy() for parameter in module.parameters()]


def trained(ema: float, steps: int, accumulate: int = 1) -> tuple[ViTModule, Trainer, Steps, list]:
    """A short fit that changes weights a lot; also the weights before it."""
    data, recorder = Digits(batch_size=8), Steps()
    module = ViTModule(
        Supervised,
        small_vit,
        lambda groups: torch.optim.AdamW(groups, lr=0.01),
        ema=ema,
        spec=data.spec,
    )
    before = numbers(module.objective)
    trainer = Trainer(
        max_steps=steps,
        accumulate_grad_batches=accumulate,
        accelerator="cpu",
        callbacks=[recorder],
        logger=False,
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data)
    return module, trainer, recorder, before


def far(first: list[np.ndarray], second: list[np.ndarray]) -> float:
    return max(np.abs(a - b).max() for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_average_is_that_of_a_hand_loop(accumulate):
    module, _, recorder, expected = trained(0.35, 6, accumulate)
    assert len(recorder.seen) == 6
    for n, weights in enumerate(recorder.seen, start=1):
        momentum = min(0.35, (1 + n) / (10 + n))  # 2/11, 3/12, 4/13, then 5/14 and more: 0.35
        expected = [
            momentum * old + (1 - momentum) * new
            for old, new in zip(expected, weights, strict=True)
        ]
    found = numbers(module.average.copy)
    assert far(found, expected) < 1e-6
    assert far(found, recorder.seen[-1]) > 1e-4


def test_an_average_that_is_a_step_late_would_be_noticed(monkeypatch):
    """A planted fault: it follows before the optimiser's step instead of after it."""
    honest = ViTModule.optimizer_step

    def late(self, *positional, **named):
        average, self.average = self.average, None
        average.follow(self.objective, ema_warmup(self.ema, self.trainer.global_step + 1))
        honest(self, *positional, **named)
        self.average = average

    monkeypatch.setattr(ViTModule, "optimizer_step", late)
    with pytest.raises(AssertionError):
        test_the_average_is_that_of_a_hand_loop(1)


def test_evaluation_and_prediction_read_the_average():
    module, trainer, _, _ = trained(0.9, 12)
    data = trainer.datamodule
    split = data.open("val")
    images = normalise(split.images, data.spec)

    def loss_of(objective: Supervised) -> float:
        with torch.no_grad():
            logits = objective.eval().predict(images)["logits"]
        return F.cross_entropy(logits, split.labels).item()

    trainer.limit_val_batches = 1.0
    trainer.validate(module, data, verbose=False)
    assert module.results["val/loss"] == pytest.approx(loss_of(module.average.copy), rel=1e-5)
    assert module.results["val/loss"] != pytest.approx(loss_of(module.objective), rel=1e-3)
    rows = torch.cat([chances for _, _, chances in trainer.predict(module, data)])
    shown = normalise(data.open("test").images, data.spec)
    expected = module.average.copy.predict(shown)["logits"].softmax(-1)
    torch.testing.assert_close(rows, expected, atol=1e-5, rtol=0)


def test_without_it_evaluation_reads_what_was_trained():
    module = ViTModule(Supervised, small_vit, spec=Digits().spec)
    assert module.average is None
    assert module.eval_objective is module.objective


@pytest.mark.parametrize("ema", [0.0, 1.0, 1.5, -0.1])
def test_a_wrong_ema_is_named(ema):
    with pytest.raises(ValueError, match=rf"ema must be in \(0, 1\) or null, got {ema}"):
        ViTModule(Supervised, small_vit, ema=ema, spec=Digits().spec)


# ---- runs -----------------------------------------------------------------------------------


def fit(cwd: Path, name: str, *strategy: str, **how) -> Path:
    """The folder of a run of the supervised yardstick, however it ended."""
    launch(
        "fit", "--config", "configs/pretrain/supervised.yaml", *strategy, *TINY,
        "--name", name, cwd=cwd, **how,
    )  # fmt: skip
    (run,) = (cwd / "logs" / name).iterdir()
    return run


def saved(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def part(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    """A run that nobody stopped."""
    return fit(tmp_path_factory.mktemp("work"), "straight")


def test_a_later_run_starts_from_the_averaged_encoder(straight):
    state, spec = saved(straight), Digits().spec
    stored = stored_encoder(str(straight))
    assert same(stored.classifier, part(state, "average.copy.head."))
    encoder = stored.build(spec)
    load_into(encoder, stored, spec.channels)
    assert same(encoder.state_dict(), part(state, "average.copy.encoder."))
    assert not same(encoder.state_dict(), part(state, "objective.encoder."))
    for average, name in ((True, "average.copy.encoder."), (False, "objective.encoder.")):
        later = ViTModule(
            Supervised, pretrained=str(straight), pretrained_average=average, spec=spec
        )
        assert same(later.objective.encoder.state_dict(), part(state, name))


def test_the_command_line_tests_the_average(straight):
    told = launch("test", "--from", str(straight), cwd=straight.parents[2])
    assert told.code == 0, told.everything
    data, spec = Digits().open("test"), Digits().spec
    learner = Supervised(stored_encoder(str(straight)).build(spec), spec)
    learner.load_state_dict(part(saved(straight), "average.copy."))
    logits = learner.eval().predict(normalise(data.images, spec))["logits"]
    found = json.loads((straight / "summary.test.json").read_text())
    expected = F.cross_entropy(logits, data.labels).item()
    assert found["test/loss"] == pytest.approx(expected, rel=1e-5)


def test_a_checkpoint_says_where_its_weights_lie(straight):
    content = torch.load(straight / "checkpoints/last.ckpt", weights_only=True)
    assert content["encoder"]["prefixes"] == {
        "trained": "objective.", "average": "average.copy.", "encoder": "encoder.",
        "head": "head.", "head_kind": "linear",
    }  # fmt: skip


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_killed_run_resumes_with_the_same_average(straight, tmp_path, ranks):
    strategy = FSDP if ranks > 1 else ()
    whole = fit(tmp_path, "straight", *strategy, ranks=ranks) if ranks > 1 else straight
    killed = fit(tmp_path, "killed", *strategy, ranks=ranks, kill_at=7)
    resumed = launch("fit", "--resume", str(killed), cwd=tmp_path, ranks=ranks)
    assert resumed.code == 0, resumed.everything
    assert "resumed at step 6" in resumed.out
    assert "arning" not in resumed.everything
    assert any(name.startswith("average.copy.") for name in saved(killed))
    assert same(saved(whole), saved(killed))
    assert (whole / "metrics.csv").read_bytes() == (killed / "metrics.csv").read_bytes()
