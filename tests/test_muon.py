"""Muon steps the blocks' matrices, AdamW the rest, as torch's two do side by side."""

import copy
import io

import pytest
import torch

from builders import GREY, batch_of, small_vit
from launch import launch
from vit.models import ResNet
from vit.objectives.supervised import Supervised
from vit.optim.groups import note_base_values, parameter_groups
from vit.optim.muon import Muon


def built(objective: Supervised, **settings) -> Muon:
    optimizer = Muon(parameter_groups(objective), lr=1e-2, **settings)
    note_base_values(optimizer, 1.0)
    return optimizer


def train(objective: Supervised, optimizers: list, steps: int, first: int = 0) -> None:
    for step in range(first, first + steps):
        objective.zero_grad()
        objective(batch_of(count=8, seed=step), 0.0).loss.backward()
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = 1e-2 / (1 + step)
            optimizer.step()


def same(first: Supervised, second: Supervised) -> bool:
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_the_two_are_torchs_own():
    ours = Supervised(small_vit(), GREY)
    theirs = copy.deepcopy(ours)
    matrices = [p for name, p in theirs.named_parameters() if ".blocks." in name and p.ndim == 2]
    rest = [p for p in theirs.parameters() if all(p is not other for other in matrices)]
    plain = [p for p in rest if p.ndim == 1 or p.shape[0] == 1]  # biases, norms, token, positions
    kernels = [p for p in rest if all(p is not other for other in plain)]
    assert len(matrices) == 2 * 4
    muon = torch.optim.Muon(matrices, weight_decay=0.1, momentum=0.95,
                            adjust_lr_fn="match_rms_adamw")  # fmt: skip
    adamw = torch.optim.AdamW([{"params": kernels}, {"params": plain, "weight_decay": 0.0}],
                              betas=(0.9, 0.95), weight_decay=0.1)  # fmt: skip
    train(ours, [built(ours)], 4)
    train(theirs, [muon, adamw], 4)
    assert same(ours, theirs)


def test_a_saved_optimiser_goes_on_as_if_never_stopped():
    straight = Supervised(small_vit(), GREY)
    stopped = copy.deepcopy(straight)
    train(straight, [built(straight)], 6)
    first = built(stopped)
    train(stopped, [first], 3)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = built(stopped)
    second.load_state_dict(torch.load(file, weights_only=True))
    train(stopped, [second], 3, first=3)
    assert same(straight, stopped)


def test_without_matrices_in_blocks_it_refuses():
    objective = Supervised(ResNet(GREY, name="resnet18"), GREY)
    with pytest.raises(ValueError, match="Muon: the encoder has no matrices in blocks that learn"):
        built(objective)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_killed_run_resumes_bit_for_bit(tmp_path, ranks):
    words = (
        "fit", "--config", "configs/pretrain/supervised_muon.yaml",
        "--trainer", "configs/trainer/debug.yaml", "--checkpoint_every", "1",
        "--trainer.limit_train_batches", "4", "--data.batch_size", "16",
    )  # fmt: skip
    if ranks > 1:
        words += ("--trainer", "configs/trainer/fsdp.yaml", "--trainer.devices", "2")
        words += ("--trainer.accelerator", "cpu", "--trainer.strategy.compute", "float32")
    assert launch(*words, "--name", "straight", cwd=tmp_path, ranks=ranks).code == 0
    assert launch(*words, "--name", "killed", cwd=tmp_path, ranks=ranks, kill_at=2).code == 9
    (killed,) = (tmp_path / "logs/killed").iterdir()
    resumed = launch("fit", "--resume", str(killed), cwd=tmp_path, ranks=ranks)
    assert resumed.code == 0, resumed.everything
    (straight,) = (tmp_path / "logs/straight").iterdir()
    first, second = (
        torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for run in (straight, killed)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
