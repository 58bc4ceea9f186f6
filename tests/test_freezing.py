"""Frozen layers stay bit for bit, in eval mode, and out of the optimiser; the others learn."""

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from builders import GREY, batch_of, small_vit
from launch import launch
from vit.data import Digits
from vit.models import ResNet
from vit.module import ViTModule
from vit.objectives.supervised import Supervised
from vit.optim.groups import freeze, parameter_groups

INPUT = {"cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"}


class Modes(Callback):
    """Which encoder modules were training at each batch."""

    def __init__(self) -> None:
        self.training: list[set[str]] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        parts = pl_module.objective.encoder.named_modules()
        self.training.append({name for name, part in parts if part.training})


def module_with(frozen, build=small_vit) -> ViTModule:
    return ViTModule(
        Supervised,
        build,
        lambda groups: torch.optim.AdamW(groups, lr=0.01, weight_decay=0.5),
        frozen_layers=frozen,
        spec=Digits().spec,
    )


def trained(module: ViTModule) -> tuple[dict[str, torch.Tensor], list[set[str]]]:
    """The state before a fit of four steps with a validation in the middle; modes during it."""
    before = {name: tensor.clone() for name, tensor in module.objective.state_dict().items()}
    modes = Modes()
    Trainer(
        max_steps=4,
        val_check_interval=2,
        check_val_every_n_epoch=None,
        limit_val_batches=1,
        accelerator="cpu",
        callbacks=[modes],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    ).fit(module, Digits(batch_size=16, eval_batch_size=16))
    assert len(modes.training) == 4
    return before, modes.training


def unmoved(module: ViTModule, before: dict[str, torch.Tensor]) -> set[str]:
    """Names of what is as it was."""
    after = module.objective.state_dict()
    return {name for name in before if torch.equal(before[name], after[name])}


def inside(names: set[str]) -> set[str]:
    return {f"encoder.{name}" for name in names}


@pytest.mark.parametrize("frozen", [0, 1, 2, "all"])
def test_frozen_layers_stay_bit_for_bit_and_the_others_move(frozen):
    module = module_with(frozen)
    names = set(module.objective.encoder.state_dict())
    block = {name for name in names if name.startswith("blocks.0.")}
    expected = {0: set(), 1: INPUT, 2: INPUT | block, "all": names}[frozen]
    before, _ = trained(module)
    assert unmoved(module, before) == inside(expected)


def test_frozen_parts_are_in_eval_mode_all_through_a_fit():
    whole, all_modes = module_with("all"), {name for name, _ in small_vit().named_modules()}
    for training in trained(whole)[1]:
        assert training == set()
    for training in trained(module_with(0))[1]:
        assert training == all_modes
    for training in trained(module_with(2))[1]:
        assert "blocks.0.attn" not in training
        assert "patch_embed" not in training
        assert {"blocks.1", "blocks.1.attn", "norm"} <= training


def test_a_frozen_encoder_drops_nothing():
    module = module_with("all", lambda spec: small_vit(spec, dropout=0.5))
    module.train()
    encoder, images = module.objective.encoder, batch_of().images
    assert torch.equal(encoder(images).pooled, encoder(images).pooled)
    loose = module_with(0, lambda spec: small_vit(spec, dropout=0.5)).train().objective.encoder
    assert not torch.equal(loose(images).pooled, loose(images).pooled)


@pytest.mark.parametrize("frozen", [1, "all"])
def test_running_statistics_of_frozen_stages_stay(frozen):
    module = module_with(frozen, lambda spec: ResNet(spec, "resnet18"))
    before, _ = trained(module)
    statistics = {name for name in before if "running" in name or "num_batches" in name}
    stem = {name for name in statistics if name.startswith("encoder.net.bn1.")}
    assert len(stem) == 3
    assert unmoved(module, before) & statistics == (stem if frozen == 1 else statistics)


def test_parameters_without_gradient_are_in_no_group():
    for frozen, left in ((0, 1.0), (2, None), ("all", 0.0)):
        objective = Supervised(small_vit(), GREY)
        freeze(objective.encoder, frozen)
        grouped = {id(p) for group in parameter_groups(objective) for p in group["params"]}
        wanted = {id(p) for p in objective.parameters() if p.requires_grad}
        assert grouped == wanted
        inner = {id(p) for p in objective.encoder.parameters()}
        share = len(grouped & inner) / len(inner)
        assert share == left if left is not None else 0 < share < 1
        assert {id(p) for p in objective.head.parameters()} <= grouped


def test_freezing_everything_but_counting_is_all():
    counted, named = small_vit(), small_vit()
    freeze(counted, 4)
    freeze(named, "all")
    for encoder in (counted, named):
        assert not any(parameter.requires_grad for parameter in encoder.parameters())


@pytest.mark.parametrize("frozen", [-1, 5])
def test_a_wrong_number_of_layers_is_named(frozen):
    with pytest.raises(
        ValueError, match=rf"frozen_layers must be in \[0, 4\] or all, got {frozen}"
    ):
        module_with(frozen)


def test_a_head_learns_on_the_frozen_encoder_of_another_run(tmp_path):
    tiny = ("--trainer", "configs/trainer/debug.yaml", "--trainer.enable_progress_bar", "false")
    first = launch("fit", "--config", "configs/quickstart.yaml", *tiny, cwd=tmp_path)
    second = launch(
        "fit", "--config", "configs/finetune/default.yaml", *tiny,
        "--model.pretrained", str(first.run), "--model.frozen_layers", "all", cwd=tmp_path,
    )  # fmt: skip
    assert second.code == 0, second.everything
    assert "arning" not in second.everything
    states = [
        torch.load(tmp_path / run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for run in (first.run, second.run)
    ]
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]) == name.startswith("objective.encoder.")
