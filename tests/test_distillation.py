"""Distillation against DeiT's formulas; the teacher stays outside, whole and the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch import nn
from torchvision import models

from builders import RGB, batch_of, grouped, small_vit
from launch import launch
from vit.flops import training_flops
from vit.models.classifier import IMAGENET, Classifier, classifier
from vit.objectives import distillation
from vit.objectives.distillation import Distillation
from vit.objectives.parts.mixing import Mixing

WIDE = replace(RGB, image_size=(32, 32))


@pytest.fixture
def teacher(monkeypatch) -> Classifier:
    """A small network with a normalisation of its own."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(768, 3))
    found = Classifier(network, *IMAGENET)
    monkeypatch.setattr(distillation, "classifier", lambda *_: found)
    return found


def learner(**settings) -> Distillation:
    torch.manual_seed(0)
    objective = Distillation(small_vit(RGB), RGB, "somewhere", **grouped(Distillation, **settings))
    for head in (objective.head, objective.taught_head):
        nn.init.normal_(head.weight)
    return objective


def parts(objective: Distillation, batch) -> tuple[np.ndarray, ...]:
    own, taught = objective.both(batch.images)
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (RGB.mean, RGB.std))
    pixels = batch.images * std + mean
    theirs, deviation = (torch.tensor(x).view(1, 3, 1, 1) for x in IMAGENET)
    answers = objective.teacher.module.network((pixels - theirs) / deviation)
    return tuple(x.detach().double().numpy() for x in (own, taught, answers))


def test_the_hard_loss_is_deits(teacher):
    objective, batch = learner(), batch_of(RGB)
    own, taught, answers = parts(objective, batch)
    rows, labels = np.arange(4), batch.labels.numpy()
    expected = -0.5 * log_softmax(own, 1)[rows, labels]
    expected -= 0.5 * log_softmax(taught, 1)[rows, answers.argmax(1)]
    losses = objective(batch, 0.0)
    np.testing.assert_allclose(losses.per_image["loss"].detach().numpy(), expected, rtol=1e-5)
    assert losses.loss.item() == pytest.approx(expected.mean(), rel=1e-5)


def test_the_soft_loss_is_the_papers(teacher):
    objective, batch = learner(kind="soft", weight=0.1, temperature=3.0), batch_of(RGB)
    own, taught, answers = parts(objective, batch)
    target = softmax(answers / 3, 1)
    gap = (target * (np.log(target) - log_softmax(taught / 3, 1))).sum(1) * 9
    expected = -0.9 * log_softmax(own, 1)[np.arange(4), batch.labels.numpy()] + 0.1 * gap
    ours = objective(batch, 0.0).per_image["loss"].detach().numpy()
    np.testing.assert_allclose(ours, expected, rtol=1e-4)


def test_the_teacher_sees_the_blended_images(teacher):
    objective = learner(mixing=Mixing())
    batch, seen = batch_of(RGB), []
    teacher.network.register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0]))
    objective(batch, 0.0)
    mixed = objective.mixing(batch.images, batch.keys("mixing")).images
    theirs, deviation = (torch.tensor(x).view(1, 3, 1, 1) for x in IMAGENET)
    torch.testing.assert_close(seen[0], (objective.pixels(mixed) - theirs) / deviation)


def test_pictures_show_blended_images_where_there_are_any(teacher):
    batch = batch_of(RGB)
    assert learner().pictures(batch) == {}
    objective = learner(mixing=Mixing())
    mixed = objective.mixing(batch.images, batch.keys("mixing")).images
    shown = objective.pictures(batch)["mixed"]
    torch.testing.assert_close(shown, objective.pixels(mixed).clamp(0, 1))


def test_the_answer_is_the_mean_of_both_heads_and_the_token_reads_the_image(teacher):
    objective, batch = learner(), batch_of(RGB)
    own, taught = objective.both(batch.images)
    torch.testing.assert_close(objective.predict(batch.images)["logits"], (own + taught) / 2)
    plain = objective.head(objective.encoder(batch.images).pooled)
    assert not torch.allclose(own, plain), "tokens attend to the token of the teacher"
    objective(batch, 0.0).loss.backward()
    assert objective.token.grad.abs().max() > 0


def test_the_teacher_is_no_part_of_what_is_saved_trained_or_copied(teacher):
    objective = learner()
    assert not any("teacher.module" in name for name, _ in objective.named_modules())
    assert [k for k in objective.state_dict() if "teacher" in k] == ["teacher_key"]
    before = teacher.key()
    objective.train()(batch_of(RGB), 0.0).loss.backward()
    assert not any(part.training for part in teacher.modules())
    assert all(p.grad is None for p in teacher.parameters())
    assert teacher.key() == before


def test_the_teachers_pass_counts_as_compute(teacher):
    objective = learner()
    without = training_flops(objective, RGB)
    deeper = nn.Sequential(nn.Flatten(), nn.Linear(768, 768), nn.Linear(768, 3))
    objective.teacher = distillation.Held(Classifier(deeper, *IMAGENET))
    assert training_flops(objective, RGB) - without == 2 * 768 * 768


def test_another_teacher_is_noticed_on_resume(teacher):
    state = learner().state_dict()
    learner().load_state_dict(state)
    with torch.no_grad():
        teacher.network[2].bias += 1
    with pytest.raises(ValueError, match="the teacher has changed since the run began"):
        learner().load_state_dict(state)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"weight": 1.5}, r"TeacherLoss: weight must be in \[0, 1\], got 1.5"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), got 1.0"),
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
    ],
)
def test_a_wrong_setting_is_named(teacher, settings, words):
    with pytest.raises(ValueError, match=words):
        learner(**settings)


# ---- where teachers come from ---------------------------------------------------------------


def test_torchvisions_networks_come_from_a_file_of_weights(tmp_path):
    torch.manual_seed(0)
    network = models.resnet18(num_classes=3).eval()
    torch.save(network.state_dict(), tmp_path / "net.pth")
    found = classifier("torchvision/resnet18", str(tmp_path / "net.pth"), WIDE)
    pixels = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in IMAGENET)
    with torch.no_grad():
        torch.testing.assert_close(found(pixels), network((pixels - mean) / std))
    ten = replace(WIDE, classes=tuple("0123456789"))
    with pytest.raises(ValueError, match="does not fit torchvision/resnet18 with 10 classes"):
        classifier("torchvision/resnet18", str(tmp_path / "net.pth"), ten)


@pytest.mark.parametrize(
    ("source", "weights", "words"),
    [
        ("torchvision/resnet19", None, "torchvision has no classifier 'resnet19'"),
        ("torchvision/resnet18", None, "needs weights"),
        ("torchvision/resnet18", "nowhere.pth", "no such file: nowhere.pth"),
        ("torchvision/resnet18", "IMAGENET1K_V1", "knows 1000 classes, the data has 3"),
        ("nowhere", None, "no such file or run folder: nowhere"),
        ("nowhere", "x.pth", "weights belong to torchvision"),
    ],
)
def test_a_teacher_that_cannot_be_is_one_line(source, weights, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        classifier(source, weights, WIDE)


def short(cwd: Path, *words: str):
    small = ("--trainer.max_steps", "8", "--trainer.val_check_interval", "4",
             "--model.encoder.width", "32", "--model.encoder.depth", "1",
             "--model.encoder.heads", "2", "--checkpoint_every", "2")  # fmt: skip
    return launch("fit", "--config", "configs/pretrain/supervised.yaml", *small, *words, cwd=cwd)


def test_a_run_teaches_another_which_resumes(tmp_path):
    first = short(tmp_path, "--name", "first", "--model.ema", "0.9")
    assert first.code == 0, first.everything
    objective = ("--model.objective", "configs/objective/distillation.yaml",
                 "--model.objective.teacher", str(first.run))  # fmt: skip
    second = short(tmp_path, *objective, "--name", "second", "--test_after_fit", "true")
    assert second.code == 0, second.everything
    assert "test/teacher_accuracy" in (tmp_path / second.run / "summary.json").read_text()
    (tmp_path / second.run / "summary.json").unlink()
    resumed = launch("fit", "--resume", str(second.run), cwd=tmp_path)
    assert resumed.code == 0, resumed.everything
    missing = short(tmp_path, *objective[:2])
    assert missing.code == 2
    assert "teacher must name a supervised run" in missing.out
    other = short(tmp_path, "--model.objective", "configs/objective/mpp.yaml", "--name", "other")
    wrong = short(tmp_path, *objective[:3], str(other.run))
    assert "holds no classifier; take a supervised run" in wrong.out
