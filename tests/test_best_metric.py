"""What is best: balanced accuracy where classes differ in size, and the first of equal ones."""

from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch
from lightning.pytorch import Trainer
from sklearn.metrics import balanced_accuracy_score

from builders import RGB, small_vit
from launch import launch
from pictures import folder
from vit.callbacks.best_metric import BestMetric
from vit.callbacks.checkpoints import Checkpoints
from vit.callbacks.interruption import Interruption
from vit.callbacks.run_log import RunLog
from vit.data.base import Images
from vit.data.splits import uneven
from vit.models.weights import open_checkpoint
from vit.module import ViTModule
from vit.objectives.parts.classification import class_averages, class_counts
from vit.objectives.supervised import Supervised

EVEN, SKEWED = [0, 1, 2] * 4, [0] * 9 + [1, 1, 2]


def trained(labels: list[int], results: dict[str, float], **objective):
    """Data with this training split, and a module after a validation."""
    data, module = MagicMock(spec=Images), MagicMock(spec=ViTModule)
    data.open.return_value = SimpleNamespace(labels=torch.tensor(labels))
    module.spec, module.results = RGB, results
    module.objective = Supervised(small_vit(RGB), RGB, **objective)
    return data, module


def test_classes_that_differ_by_more_than_half_are_uneven():
    assert not uneven(torch.tensor([0, 0, 0, 1, 1, -1, -1, -1]))
    assert uneven(torch.tensor([0, 0, 0, 0, 1, 1]))
    assert not uneven(torch.tensor([2, 2]))


def test_the_best_metric_follows_the_sizes_of_the_classes():
    results = {"val/accuracy": 0.9, "val/balanced_accuracy": 0.4, "val/loss": 1.0}
    assert BestMetric().value(*trained(EVEN, results)) == 0.9
    assert BestMetric().value(*trained(SKEWED, results)) == 0.4
    assert BestMetric("val/accuracy").value(*trained(SKEWED, results)) == 0.9
    assert BestMetric().name(*trained(SKEWED, {"val/accuracy": 0.9})) == "val/accuracy"


def test_equal_is_not_better_and_a_loss_is_better_when_it_falls():
    _, module = trained(EVEN, {})
    assert BestMetric().is_better(0.5, None, module)
    assert not BestMetric().is_better(0.5, 0.5, module)
    assert BestMetric().is_better(0.6, 0.5, module)
    assert BestMetric("val/loss").is_better(0.4, 0.5, module)
    module.objective = SimpleNamespace(best=("val/loss", "min"))  # as of masked patches
    assert BestMetric().is_better(0.4, 0.5, module)
    assert not BestMetric().is_better(0.6, 0.5, module)


def test_a_figure_that_cannot_tell_trainings_apart_is_refused():
    with pytest.raises(ValueError, match="val/top5 is always 1 with 3 classes; use val/accuracy"):
        BestMetric("val/top5").name(*trained(EVEN, {}))
    with pytest.raises(ValueError, match="no figure val/f1; this run has val/accuracy, val/loss"):
        BestMetric("val/f1").value(*trained(EVEN, {"val/loss": 1.0, "val/accuracy": 1.0}))
    with pytest.raises(ValueError, match="a figure of validation"):
        BestMetric("test/accuracy")
    assert BestMetric().value(*trained(EVEN, {"val/accuracy": float("nan")})) is None


def test_balanced_accuracy_is_scikit_learns_however_the_split_is_cut():
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor(SKEWED * 5)
    guessed = torch.randint(0, 3, (len(labels),), generator=generator)
    sums = sum(
        class_counts(guessed[part], labels[part], 3).sum(0) for part in torch.arange(60).split(7)
    )
    expected = balanced_accuracy_score(labels, guessed)
    ours = class_averages(sums / len(labels))["balanced_accuracy"]
    assert ours.item() == pytest.approx(expected, abs=1e-6)


def test_the_first_of_equally_good_weights_is_kept(tmp_path):
    saved = []
    (data, module), trainer = trained(EVEN, {}), MagicMock(spec=Trainer)
    trainer.datamodule = data
    trainer.save_checkpoint = lambda path: saved.append((trainer.global_step, Path(path).name))
    trainer.state, trainer.sanity_checking = SimpleNamespace(fn="fit"), False
    trainer.accumulate_grad_batches, module.consumed = 1, 0
    module.finite_check = SimpleNamespace(check=lambda: None)
    files = RunLog()
    files.folder = tmp_path
    checkpoints = Checkpoints(files, Interruption(), keep_best=True, metric=BestMetric())
    checkpoints.save = lambda trainer: None
    for step, accuracy in enumerate([0.5, 0.75, 0.75, 0.25, 0.75]):
        trainer.global_step, module.results = step, {"val/accuracy": accuracy}
        checkpoints.on_validation_end(trainer, module)
    assert saved == [(0, "best.ckpt"), (1, "best.ckpt")]


def test_a_run_on_uneven_classes_keeps_the_best_by_balanced_accuracy(tmp_path):
    folder(tmp_path / "mine", {"a": 40, "b": 10})
    words = ["fit", "--config", "configs/pretrain/supervised.yaml", "--data", "ImageFolder"]
    words += ["--data.root", "mine", "--data.image_size", "16", "--data.workers", "0"]
    words += ["--data.batch_size", "8", "--trainer.max_steps", "6", "--keep_best", "true"]
    words += ["--model.encoder", "configs/encoder/mini.yaml", "--trainer.val_check_interval", "2"]
    ended = launch(*words, "--trainer", "configs/trainer/cpu.yaml", cwd=tmp_path)
    assert ended.code == 0, ended.out
    best = open_checkpoint(tmp_path / ended.run / "checkpoints/best.ckpt", whole=True)
    rows = (tmp_path / ended.run / "metrics.csv").read_text().splitlines()
    figures = [float(row.split(",")[3]) for row in rows if ",val/balanced_accuracy," in row]
    assert best["callbacks"]["Checkpoints"]["best"] == max(figures)
    assert best["global_step"] == 2 * (figures.index(max(figures)) + 1)
    refused = launch(*words, "--best_metric", "val/top5", cwd=tmp_path)
    assert refused.code == 2
    assert "val/top5 is always 1 with 2 classes" in refused.out
