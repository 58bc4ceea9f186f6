"""DINO against its formulas in NumPy; the teacher and the centre follow only after a step."""

from functools import partial
from math import log, prod

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from builders import GREY, RGB, grouped, small_vit
from launch import launch
from vit.batch import Batch, DataSpec, ViewSpec
from vit.callbacks import Probe
from vit.data import Digits
from vit.ema import EMA
from vit.flops import training_flops
from vit.models import ResNet
from vit.module import ViTModule
from vit.objectives.dino import DINO
from vit.objectives.parts.self_distillation import (
    Center,
    across_views,
    cosine_to_one,
    entropy,
    remaining,
)
from vit.objectives.supervised import Supervised

SMALL = {"prototypes": 16, "hidden_width": 24, "bottleneck": 8, "local_crops": 2}
PAPER = DataSpec(("a", "b"), (224, 224), 3, (0.5,) * 3, (0.5,) * 3)


def dino(encoder=None, **settings) -> DINO:
    """16 prototypes; seeded."""
    return DINO(encoder or small_vit(), GREY, **grouped(DINO, **SMALL | settings))


def crops(count: int = 3, seed: int = 0, local: int = 2) -> Batch:
    """Two views of 8 pixels and some of 4, of noise."""
    generator = torch.Generator().manual_seed(seed)
    sides = [8, 8] + [4] * local
    views = [torch.randn(count, 1, side, side, generator=generator) for side in sides]
    return Batch(views, torch.zeros(count).long(), torch.arange(count), epoch=0)


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def weights(module: torch.nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten().clone() for p in module.parameters()])


def self_distillation(student, taught, centre, student_temperature, teacher_temperature):
    """DINO's loss of each image and the entropy of its targets."""
    running = Center(len(centre), 0.9)
    running.mean.copy_(centre)
    target = running.targets(taught, teacher_temperature)
    return across_views(student, target, student_temperature), entropy(target).mean(0)


# ---- the loss -------------------------------------------------------------------------------


def by_formula(student: Tensor, taught: Tensor, centre: Tensor, image: int) -> tuple[float, float]:
    """Mean over pairs of different views of -sum p_t log p_s, and the mean entropy of p_t."""
    s, t, c = (x.double().numpy() for x in (student[:, image], taught[:, image], centre))
    targets = [softmax((logits - c) / 0.04) for logits in t]
    pairs = [(q, v) for q in range(len(t)) for v in range(len(s)) if v != q]
    costs = [-(targets[q] * np.log(softmax(s[v] / 0.1))).sum() for q, v in pairs]
    return np.mean(costs), np.mean([-(p * np.log(p + 1e-300)).sum() for p in targets])


def test_half_precision_does_not_reach_the_loss():
    student, target = torch.randn(4, 3, 7, requires_grad=True), torch.randn(2, 3, 7).softmax(-1)
    found = []
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = across_views(student, target, 0.1)
        found.append((loss, *torch.autograd.grad(loss.sum(), student)))
    for full, half in zip(*found, strict=True):
        assert half.dtype == torch.float32
        torch.testing.assert_close(half, full)


@pytest.mark.parametrize("views", [2, 4])
def test_the_loss_is_the_papers_formula_pair_by_pair(views):
    student, taught, centre = torch.randn(views, 3, 7), torch.randn(2, 3, 7), torch.randn(7)
    loss, own = self_distillation(student, taught, centre, 0.1, 0.04)
    expected = [by_formula(student, taught, centre, image) for image in range(3)]
    assert loss.tolist() == pytest.approx([cost for cost, _ in expected], rel=1e-5)
    assert own.tolist() == pytest.approx([own for _, own in expected], abs=1e-5)


def test_a_view_is_not_asked_to_agree_with_itself():
    first, second = torch.eye(2)[:, None] * 100  # each certain of another prototype
    taught, crossed = torch.stack([first, second]), torch.stack([second, first])
    assert self_distillation(crossed, taught, torch.zeros(2), 1.0, 1.0)[0].item() < 1e-30
    assert self_distillation(taught, taught, torch.zeros(2), 1.0, 1.0)[0].item() == 100


def test_uniform_logits_cost_the_log_of_the_prototypes():
    loss, own = self_distillation(
        torch.zeros(4, 2, 16), torch.zeros(2, 2, 16), torch.zeros(16), 0.1, 0.04
    )
    assert loss.tolist() == pytest.approx([log(16)] * 2)
    assert own.tolist() == pytest.approx([log(16)] * 2)


def test_targets_carry_no_gradient():
    student, taught = (torch.randn(2, 3, 5, requires_grad=True) for _ in range(2))
    self_distillation(student, taught, torch.zeros(5), 0.1, 0.04)[0].sum().backward()
    assert student.grad.abs().max() > 0
    assert taught.grad is None


def test_every_crop_reaches_the_student_and_only_large_ones_the_teacher():
    objective, batch = dino(), crops()
    objective.centre.mean.normal_()
    student = torch.stack([objective.student()(view) for view in batch.views])
    taught = torch.stack([objective.teacher(view) for view in batch.views[:2]])
    expected, _ = self_distillation(student, taught, objective.centre.mean, 0.1, 0.04)
    losses = objective(batch, 0.5)
    torch.testing.assert_close(losses.per_image["loss"], expected)
    torch.testing.assert_close(losses.loss, expected.mean())


def test_entropy_and_divergence_add_up_to_the_loss():
    losses = dino()(crops(), 0.0)
    total = losses.monitors["teacher_entropy"] + losses.monitors["divergence"]
    torch.testing.assert_close(total, losses.loss.detach())


def test_a_batch_with_large_views_alone_has_two_pairs():
    objective, batch = dino(local_crops=0), crops(local=0)
    student = torch.stack([objective.student()(view) for view in batch.views])
    taught = torch.stack([objective.teacher(view) for view in batch.views])
    expected, _ = self_distillation(student, taught, objective.centre.mean, 0.1, 0.04)
    torch.testing.assert_close(objective(batch, 0.0).per_image["loss"], expected)


# ---- the teacher and the centre -------------------------------------------------------------


def test_two_large_views_and_their_teacher_cost_eight_forwards():
    """Labels cost three: forward, and backward to weights and to inputs."""
    nothing_else = {"prototypes": 2, "hidden_width": 2, "bottleneck": 2, "local_crops": 0}
    labels = training_flops(Supervised(small_vit(), GREY), GREY)
    agreement = training_flops(dino(**nothing_else), GREY)
    assert agreement == pytest.approx(labels * 8 / 3, rel=0.05)


def test_the_teacher_starts_as_the_student():
    objective, batch = dino(), crops()
    assert torch.equal(objective.teacher(batch.images), objective.student()(batch.images))


def test_the_teacher_gets_no_gradient_and_moves_only_after_the_step():
    objective = dino(momentum=0.9)
    optimizer = torch.optim.SGD([p for p in objective.parameters() if p.requires_grad], lr=0.1)
    start = weights(objective.teacher)
    objective(crops(), 0.0).loss.backward()
    optimizer.step()
    assert all(p.grad is None for p in objective.teacher.parameters())
    assert torch.equal(weights(objective.teacher), start)
    objective.after_step(0.0)
    student = weights(objective.student())
    torch.testing.assert_close(weights(objective.teacher), 0.9 * start + 0.1 * student)


def test_a_teacher_that_learns_would_be_noticed(monkeypatch):
    """A planted fault: its copy takes gradients, and its targets pass them on."""
    honest = EMA.__init__

    def learning(self, student):
        honest(self, student)
        self.copy.requires_grad_(True)

    monkeypatch.setattr(EMA, "__init__", learning)
    monkeypatch.setattr(EMA, "forward", lambda self, *inputs: self.copy(*inputs))
    monkeypatch.setattr(Center, "targets", lambda self, taught, t: (taught / t).softmax(-1))
    with pytest.raises(AssertionError):
        test_the_teacher_gets_no_gradient_and_moves_only_after_the_step()


class Followed(Callback):
    """Student and teacher after each optimiser step."""

    def __init__(self) -> None:
        self.students: list[Tensor] = []
        self.teachers: list[Tensor] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        objective = pl_module.objective
        self.students.append(weights(objective.student()))
        self.teachers.append(weights(objective.teacher))


def test_in_a_fit_the_teacher_follows_the_student_that_has_just_stepped():
    data, seen = Digits(batch_size=8), Followed()
    learner = partial(DINO, **grouped(DINO, **SMALL, local_size=4, momentum=0.5))
    module = ViTModule(learner, small_vit, lambda groups: torch.optim.AdamW(groups, lr=0.01),
                       spec=data.spec)  # fmt: skip
    expected = weights(module.objective.teacher)
    Trainer(
        max_steps=4, accelerator="cpu", callbacks=[seen], logger=False, limit_val_batches=0,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    ).fit(module, data)  # fmt: skip
    for step, (student, teacher) in enumerate(zip(seen.students, seen.teachers, strict=True)):
        momentum = cosine_to_one(0.5, step / 4)
        expected = momentum * expected + (1 - momentum) * student
        torch.testing.assert_close(teacher, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "center_momentum", "words"),
    [
        ("[1000.0, 1000.0]", "0.9", "the teacher finds all prototypes alike"),
        (
            "[0.00001, 0.00001]",
            "1.0",
            "the teacher puts all images on about one prototype",
        ),  # no centre
    ],
)
def test_a_collapsed_run_is_told_once_with_what_to_change(
    tmp_path, settings, center_momentum, words
):
    ended = launch(
        "fit", "--config", "configs/pretrain/dino.yaml", "--trainer.max_steps", "12",
        "--trainer.val_check_interval", "4", "--trainer.callbacks", "null",
        "--model.encoder.depth", "1",
        "--model.objective.distillation.teacher_temperature", settings,
        "--model.objective.distillation.center_momentum", center_momentum, cwd=tmp_path,
    )  # fmt: skip
    assert ended.code == 0, ended.everything
    assert ended.everything.count("warning: collapsed at step") == 1
    assert words in ended.everything
    assert "teacher_temperature" in ended.everything


def fitted(steps: int = 4, **settings) -> tuple[ViTModule, Trainer]:
    """A module after some steps on digits."""
    data = Digits(batch_size=8)
    learner = partial(DINO, **grouped(DINO, **SMALL | {"local_size": 4} | settings))
    module = ViTModule(learner, small_vit, lambda groups: torch.optim.AdamW(groups, lr=0.01),
                       spec=data.spec)  # fmt: skip
    trainer = Trainer(
        max_steps=steps, accelerator="cpu", logger=False, limit_val_batches=0,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, data)
    return module, trainer


@pytest.mark.parametrize("evaluated", ["student", "teacher"])
def test_later_runs_start_from_the_one_that_is_evaluated(tmp_path, evaluated):
    module, trainer = fitted(evaluated=evaluated, momentum=0.5)
    trainer.save_checkpoint(file := tmp_path / "last.ckpt")
    taught = weights(module.objective.teacher.copy.encoder)
    student = weights(module.objective.encoder)
    assert not torch.equal(taught, student)
    for average in (True, False):
        later = ViTModule(
            Supervised, pretrained=str(file), pretrained_average=average, spec=Digits().spec
        )
        teachers = evaluated == "teacher" and average
        assert torch.equal(weights(later.objective.encoder), taught if teachers else student)
        assert ("averaged: objective.teacher.copy." in later.coverage) == teachers


def test_probes_read_the_one_that_is_evaluated(monkeypatch):
    class Seen(Exception):
        pass

    def see(self, trainer, module, encoder):
        raise Seen(encoder is module.objective.teacher.copy.encoder)

    monkeypatch.setattr(Probe, "features", see)
    monkeypatch.setattr("vit.callbacks.probe.callback_of", lambda *_: None)
    for evaluated in ("student", "teacher"):
        module, trainer = fitted(1, evaluated=evaluated)
        with pytest.raises(Seen, match=str(evaluated == "teacher")):
            Probe().look(trainer, module)


@pytest.mark.parametrize("steps", [78, 2000])
def test_what_is_left_of_the_random_start_is_the_product_of_all_momenta(steps):
    left = prod(cosine_to_one(0.99, step / steps) for step in range(steps))
    assert remaining(0.99, steps) == pytest.approx(left, rel=0.05)


@pytest.mark.parametrize(("steps", "momentum"), [(78, 0.8819), (390, 0.9764), (10_000, 0.996)])
def test_without_a_momentum_a_hundredth_of_the_start_is_left_at_most(steps, momentum):
    distillation = DINO(small_vit(), GREY, **grouped(DINO, **SMALL, momentum=None)).distillation
    assert distillation.teacher_momentum(0.0, steps) == pytest.approx(momentum, abs=1e-4)
    assert distillation.teacher_momentum(1.0, steps) == 1
    assert remaining(distillation.teacher_momentum(0.0, steps), steps) <= 0.0101


def test_a_fit_says_how_much_of_the_random_start_is_left():
    module, _ = fitted(4, momentum=0.99)
    assert module.length_note.startswith("teacher: 98% of its random start is left after 4 steps")
    assert module.objective.distillation.note(2000) is None  # exp(-10)
    module, _ = fitted(40, momentum=None)
    assert module.length_note == "teacher: momentum 0.7697 to 1, which 40 steps allow"
    assert module.objective.steps == 40


@pytest.mark.parametrize(("progress", "momentum"), [(0.0, 0.9), (0.5, 0.95), (1.0, 1.0)])
def test_the_teachers_momentum_rises_to_one(progress, momentum):
    objective = dino(momentum=0.9)
    objective(crops(), progress)
    torch.nn.init.zeros_(objective.head.prototypes)
    before = objective.teacher.copy.head.prototypes.clone()
    objective.after_step(progress)
    torch.testing.assert_close(objective.teacher.copy.head.prototypes, momentum * before)


def test_the_teacher_stays_in_eval_mode():
    objective = dino(small_vit(drop_path=0.5)).train()
    assert objective.encoder.training
    assert not any(part.training for part in objective.teacher.modules())


def test_the_centre_follows_the_mean_over_accumulated_batches():
    objective, start = dino(center_momentum=0.75), torch.linspace(-1, 1, 16)
    objective.centre.mean.copy_(start)
    logits = []
    for seed in (1, 2):
        batch = crops(seed=seed)
        logits.append(torch.stack([objective.teacher(view) for view in batch.views[:2]]))
        objective(batch, 0.0)
        assert torch.equal(objective.centre.mean, start)  # not before the step
    objective.after_step(0.0)
    mean = torch.stack(logits).mean((0, 1, 2))
    torch.testing.assert_close(objective.centre.mean, 0.75 * start + 0.25 * mean)


def test_each_step_centres_on_its_own_batches():
    objective = dino(center_momentum=0.0, momentum=1.0)
    for seed in (1, 2):
        objective(crops(seed=seed), 0.0)
        objective.after_step(0.0)
    large = torch.cat(crops(seed=2).views[:2])
    torch.testing.assert_close(objective.centre.mean, objective.teacher(large).mean(0))


def test_evaluation_leaves_the_centre_alone():
    objective = dino(center_momentum=0.0).eval()
    with torch.no_grad():
        objective(crops(seed=5), 0.0)
    objective.train()(crops(seed=1), 0.0)
    objective.after_step(1.0)
    large = torch.cat(crops(seed=1).views[:2])
    torch.testing.assert_close(objective.centre.mean, objective.teacher(large).mean(0))


def test_the_centre_is_kept_in_checkpoints():
    assert "centre.mean" in dino().state_dict()


def test_a_frozen_last_layer_stays_where_it_is_and_passes_gradients_on():
    objective = dino(last_layer_frozen=0.5)
    objective(crops(), 0.4).loss.backward()
    assert objective.head.prototypes.grad.abs().max() == 0
    assert all(p.grad.abs().max() > 0 for p in objective.head.mlp.parameters())
    same = dino()(crops(), 0.4).loss
    torch.testing.assert_close(objective(crops(), 0.4).loss, same)
    objective(crops(), 0.5).loss.backward()
    assert objective.head.prototypes.grad.abs().max() > 0


def test_the_optimiser_does_not_count_steps_while_the_last_layer_is_frozen():
    """So that its first update is Adam's first, of lr, and weight decay begins with it."""
    data, seen = Digits(batch_size=8), []
    learner = partial(DINO, **grouped(DINO, **SMALL, local_size=4, last_layer_frozen=0.5))
    module = ViTModule(learner, small_vit, lambda groups: torch.optim.AdamW(groups, lr=0.01),
                       spec=data.spec)  # fmt: skip

    class Seen(Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            rows = pl_module.objective.head.prototypes
            steps = trainer.optimizers[0].state.get(rows, {}).get("step", torch.zeros(()))
            seen.append((rows.detach().clone(), float(steps)))

    rows = module.objective.head.prototypes.detach().clone()
    Trainer(
        max_steps=4, accelerator="cpu", callbacks=[Seen()], logger=False, limit_val_batches=0,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    ).fit(module, data)  # fmt: skip
    assert [steps for _, steps in seen] == [0, 0, 1, 2]
    assert torch.equal(seen[1][0], rows)
    assert 0 < (seen[2][0] - rows).abs().max() < 1.1 * 0.01


def test_the_student_sees_views_of_one_size_in_one_pass():
    objective, seen = dino(), []
    objective.encoder.register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0].shape))
    objective(crops(count=3, local=4), 0.0)
    assert seen == [(6, 1, 8, 8), (12, 1, 4, 4)]


# ---- settings -------------------------------------------------------------------------------


def test_the_views_are_the_papers():
    encoder = small_vit(PAPER, patch_size=16)
    large, small = DINO(encoder, PAPER, **grouped(DINO, prototypes=16, hidden_width=24)).views
    assert large == ViewSpec(count=2, size=None, area=(0.4, 1.0), photometric=0.5)
    assert small == ViewSpec(count=8, size=96, area=(0.05, 0.4), photometric=0.5)


def test_distorted_views_are_those_of_the_papers_code():
    """data_augmentation in main_dino.py: blur 1.0; blur 0.1 and solarisation 0.2; blur 0.5."""
    encoder = small_vit(PAPER, patch_size=16)
    tiny = grouped(DINO, prototypes=16, hidden_width=24, distorted=True)
    views = DINO(encoder, PAPER, **tiny).views
    assert [(v.count, v.size, v.blur, v.solarise) for v in views] == [
        (1, None, 1.0, 0.0), (1, None, 0.1, 0.2), (8, 96, 0.5, 0.0)
    ]  # fmt: skip


def test_small_views_are_whole_patches():
    assert dino().views[1].size == 4  # 8 x 96 / 224 = 3.4 pixels, patches of 2
    assert DINO(small_vit(RGB, patch_size=4), RGB, **grouped(DINO, **SMALL)).views[1].size == 8
    assert dino(local_size=6).views[1].size == 6


def test_without_small_views_there_is_one_kind():
    assert [view.count for view in dino(local_crops=0).views] == [2]


@pytest.mark.parametrize(
    ("progress", "expected"), [(0.0, 0.04), (0.15, 0.055), (0.3, 0.07), (1.0, 0.07)]
)
def test_the_teachers_temperature_warms_up(progress, expected):
    objective = dino(teacher_temperature=(0.04, 0.07), temperature_warmup=0.3)
    assert objective.distillation.temperature(progress) == pytest.approx(expected)


def test_without_a_warm_up_the_temperature_is_the_last():
    objective = dino(teacher_temperature=(0.04, 0.07), temperature_warmup=0.0)
    assert objective.distillation.temperature(0.0) == 0.07


def test_thirty_steps_on_one_batch_bring_student_and_teacher_together():
    objective, batch = dino(momentum=0.9), crops(count=16)
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=3e-3)
    seen = []
    for _ in range(30):
        optimizer.zero_grad()
        losses = objective(batch, 0.0)
        losses.loss.backward()
        optimizer.step()
        objective.after_step(0.0)
        seen.append(losses.monitors["divergence"].item())
    assert seen[-1] < 0.5 * seen[0]


def test_a_resnet_can_be_taught_and_its_statistics_follow():
    objective = dino(ResNet(GREY))
    objective(crops(), 0.0).loss.backward()
    objective.after_step(0.0)
    ours, theirs = objective.teacher.copy.encoder.net.bn1, objective.encoder.net.bn1
    assert objective.encoder.net.conv1.weight.grad.abs().max() > 0
    assert theirs.running_mean.abs().max() > 0
    assert torch.equal(ours.running_mean, theirs.running_mean)


def test_pictures_show_all_crops_side_by_side_between_zero_and_one():
    pictures = dino().eval().pictures(crops())
    assert pictures["views"].shape == (3, 1, 8, 4 * 8)
    assert pictures["teacher_confidence"].shape == (3, 1, 8, 8)
    for picture in pictures.values():
        assert 0 <= picture.min() <= picture.max() <= 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"global_area": (0.0, 1.0)}, r"global_area must rise within \(0, 1\], got \(0.0, 1.0\)"),
        ({"global_area": (0.4, 1.1)}, r"global_area must rise within \(0, 1\], got \(0.4, 1.1\)"),
        ({"local_area": (0.4, 0.1)}, r"local_area must rise within \(0, 1\], got \(0.4, 0.1\)"),
        ({"momentum": 1.5}, r"momentum must be in \[0, 1\], got 1.5"),
        ({"center_momentum": 2.0}, "SelfDistillation: center_momentum .* got 2.0"),
        ({"student_temperature": 0.0}, "SelfDistillation: student_temperature .* got 0.0 and"),
        ({"teacher_temperature": (0.0, 0.04)}, r"teacher_temperature .* and \(0.0, 0.04\)"),
        ({"prototypes": 0}, "Projection: prototypes .* got 0"),
        ({"prototypes": 1}, "Projection: prototypes must be at least 2"),
        ({"global_crops": 3}, "MultiCrop: global_crops must be 2 for a teacher, got 3"),
        ({"local_crops": -1}, "MultiCrop: local_crops .* got -1"),
        ({"local_size": 3}, "MultiCrop: local_size .* 3"),  # patches of 2
    ],
)
def test_a_wrong_setting_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        dino(**settings)
