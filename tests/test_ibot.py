"""iBOT against its formulas in NumPy; hidden patches never reach the student's answer."""

import numpy as np
import pytest
import torch
from torch import Tensor

from builders import GREY, grouped, small_vit
from vit.batch import Batch, ViewSpec
from vit.objectives.ibot import IBOT, PatchBranch
from vit.patches import patchify

SMALL = {"prototypes": 16, "hidden_width": 24, "bottleneck": 8, "local_crops": 2}


def ibot(**settings) -> IBOT:
    torch.manual_seed(0)
    return IBOT(small_vit(), GREY, **grouped(IBOT, **SMALL | {"probability": 1.0} | settings))


def crops(count: int = 3, seed: int = 0, local: int = 2, epoch: int | None = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    sides = [8, 8] + [4] * local
    views = [torch.randn(count, 1, side, side, generator=generator) for side in sides]
    return Batch(views, torch.zeros(count).long(), torch.arange(count), epoch=epoch)


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def everything(objective: IBOT, images: Tensor, mask: Tensor | None) -> tuple[np.ndarray, ...]:
    """Logits of images and of all their patches, from the encoder's public steps."""
    encoder, head = objective.encoder, objective.head
    patches = encoder.embed(images)
    if mask is not None:
        patches = torch.where(mask[..., None], objective.mask_token, patches)
    tokens = encoder.encode(encoder.add_position(patches))
    return tuple(x.detach().double().numpy() for x in (head(tokens[:, 0]), head(tokens[:, 1:])))


def test_the_loss_is_the_papers_image_by_image():
    objective, batch = ibot(patch_weight=0.5), crops()
    objective.centre.mean.normal_(std=0.1)
    objective.patch_centre.mean.normal_(std=0.1)
    mask, images = objective.mask(batch), torch.cat(batch.views[:2])
    losses = objective(batch, 1.0)
    t_cls, t_patch = everything(objective, images, None)
    s_cls, s_patch = everything(objective, images, mask)
    small = objective.head(objective.encoder(torch.cat(batch.views[2:])).pooled)
    views = [*s_cls.reshape(2, 3, -1), *small.detach().double().numpy().reshape(2, 3, -1)]
    centre = objective.centre.mean.double().numpy()
    of_patches = objective.patch_centre.mean.double().numpy()
    targets = softmax((t_cls.reshape(2, 3, -1) - centre) / 0.07)
    answers = softmax((t_patch - of_patches) / 0.07)
    said = np.log(softmax(s_patch / 0.1))
    for image in range(3):
        pairs = [
            -(targets[q][image] * np.log(softmax(views[v][image] / 0.1))).sum()
            for q in range(2) for v in range(4) if v != q
        ]  # fmt: skip
        hidden = []
        for view in range(2):
            row = view * 3 + image
            places = mask[row].numpy()
            hidden.append(-(answers[row] * said[row]).sum(-1)[places].mean())
        expected = np.mean(pairs) + 0.5 * np.mean(hidden)
        assert losses.per_image["loss"][image].item() == pytest.approx(expected, rel=1e-4)


def test_hidden_pixels_do_not_reach_the_student_and_the_teacher_sees_them():
    objective, batch = ibot(), crops(local=0)
    for view in batch.views:
        view.requires_grad_()
    mask = objective.mask(batch)
    objective(batch, 0.5).loss.backward()
    felt = patchify(torch.cat([view.grad for view in batch.views]), 2).abs().amax(-1)
    assert felt[mask].max() == 0
    assert felt[~mask].min() > 0
    images = torch.cat(batch.views).detach()
    other = images * (1 - mask.view(6, 1, 4, 4).float().repeat_interleave(2, 2)
                          .repeat_interleave(2, 3))  # fmt: skip
    assert not torch.allclose(objective.teacher(other)[1], objective.teacher(images)[1])


def test_the_patches_centre_is_the_mean_of_all_patches_hidden_or_not():
    objective, batch = ibot(center_momentum=0.0, probability=0.5), crops()
    _, patches = everything(objective, torch.cat(batch.views[:2]), None)
    objective(batch, 0.0)
    objective.after_step(0.0)
    found = objective.patch_centre.mean.double().numpy()
    np.testing.assert_allclose(found, patches.mean((0, 1)), atol=1e-6)


@pytest.mark.parametrize(("monitor", "shown"), [("teacher", "images"), ("patch", "patches")])
def test_a_collapse_of_images_or_of_patches_is_told(monitor, shown):
    healthy = {f"val/{name}": 1.0 for name in ibot()(crops(), 0.0).monitors}
    assert ibot().collapse_message(healthy) is None
    told = ibot().collapse_message(healthy | {f"val/{monitor}_entropy": np.log(16)})
    assert told.startswith(f"the teacher finds all prototypes alike for {shown}")
    told = ibot().collapse_message(healthy | {f"val/{monitor}_marginal_entropy": 0.0})
    assert told.startswith(f"the teacher puts all {shown} on about one prototype")


def test_half_of_the_views_have_hidden_patches_between_a_tenth_and_a_half():
    objective = ibot(probability=0.5, ratio=(0.1, 0.5))
    count = 2000
    batch = Batch([torch.zeros(count, 1, 8, 8)] * 2, torch.zeros(count).long(),
                  torch.arange(count), epoch=0)  # fmt: skip
    share = objective.mask(batch).float().mean(1)
    assert (share > 0).float().mean() == pytest.approx(0.5, abs=0.03)
    hidden = share[share > 0]
    assert hidden.min() >= 1 / 16
    assert hidden.max() <= 0.5
    assert hidden.mean() == pytest.approx(0.3, abs=0.02)


def test_views_without_hidden_patches_cost_nothing_for_patches():
    losses = ibot(probability=0.0)(crops(), 0.5)
    assert losses.per_image["patch_loss"].tolist() == [0, 0, 0]
    torch.testing.assert_close(losses.per_image["loss"], losses.per_image["image_loss"])


def test_the_teacher_gets_no_gradient_and_both_centres_follow_after_the_step():
    objective = ibot(center_momentum=0.0, momentum=0.9)
    batch = crops()
    start = [p.detach().clone() for p in objective.teacher.parameters()]
    objective(batch, 0.0).loss.backward()
    assert all(p.grad is None for p in objective.teacher.parameters())
    assert objective.mask_token.grad.abs().max() > 0
    with torch.no_grad():
        for parameter in objective.encoder.parameters():
            parameter.add_(1.0)
    objective.after_step(0.0)
    student = list(PatchBranch(objective.encoder, objective.head).parameters())
    for teacher, before, now in zip(objective.teacher.parameters(), start, student, strict=True):
        torch.testing.assert_close(teacher, 0.9 * before + 0.1 * now)
    assert objective.centre.mean.abs().max() > 0
    assert objective.patch_centre.mean.abs().max() > 0


def test_the_views_are_the_papers():
    large, small = ibot(local_crops=10, local_size=4).views
    assert large == ViewSpec(count=2, size=None, area=(0.25, 1.0), photometric=0.5)
    assert small == ViewSpec(count=10, size=4, area=(0.05, 0.25), photometric=0.5)


def test_pictures_show_what_is_hidden():
    pictures = ibot().pictures(crops())
    assert tuple(pictures["seen"].shape) == (3, 1, 8, 8)
    assert tuple(pictures["views"].shape) == (3, 1, 8, 32)
    assert all(p.min() >= 0 and p.max() <= 1 for p in pictures.values())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ratio": (0.5, 0.1)}, r"ViewMasking: ratio must rise within \(0, 1\), got \(0.5, 0.1\)"),
        ({"probability": 2.0}, r"ViewMasking: probability must be in \[0, 1\], got 2.0"),
        (
            {"student_temperature": 0.0},
            "student_temperature and teacher_temperature must be above 0",
        ),
        ({"prototypes": 1}, "prototypes must be at least 2"),
        ({"patch_weight": -1.0}, "IBOT: patch_weight must be at least 0, got -1.0"),
        ({"local_size": 3}, "MultiCrop: local_size must be a multiple of patch_size 2 up to"),
    ],
)
def test_a_wrong_setting_is_named(settings, words):
    with pytest.raises(ValueError, match=words):
        ibot(**settings)
