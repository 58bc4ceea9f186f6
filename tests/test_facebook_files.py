"""Facebook's files, in the nests and names they are published in, give timm's numbers."""

import argparse
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch.nn import functional as F

from released import close, loaded, logits, pictures, shaken
from vit.models.weights import load_into, stored_encoder
from vit.models.weights.facebook_files import is_facebook
from vit.models.weights.opening import open_weights
from vit.patches import resize_grid

SMALL = {"patch_size": 4, "embed_dim": 64, "depth": 2, "num_heads": 1}


def dinov2(registers: int, gated: bool = False, width: int = 64) -> tuple[dict, VisionTransformer]:
    """A state as Facebook writes it, and timm's model of the same weights by timm's own reader."""
    torch.manual_seed(0)
    more = {"mlp_layer": timm.layers.SwiGLUPacked, "act_layer": torch.nn.SiLU} if gated else {}
    settings = SMALL | {"embed_dim": width, "num_heads": width // 64}
    model = VisionTransformer(
        24, **settings, num_classes=0, init_values=1e-5, reg_tokens=registers,
        no_embed_class=registers > 0, **more,
    )  # fmt: skip
    state = {n: torch.randn_like(t) * 0.1 for n, t in model.state_dict().items()}
    if registers:
        state["pos_embed"] = torch.randn(1, 37, width)
        state["register_tokens"] = state.pop("reg_token")
    state["mask_token"] = torch.randn(1, width)
    if gated:
        state = {n.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): t
                 for n, t in state.items()}  # fmt: skip
    model.load_state_dict(checkpoint_filter_fn(dict(state), model))
    return state, model.eval()


@pytest.mark.parametrize("width", [64, 128, 192])
@pytest.mark.parametrize(("registers", "gated"), [(0, False), (4, False), (4, True)])
def test_dinov2_gives_timms_features(tmp_path, width, registers, gated):
    state, model = dinov2(registers, gated, width)
    torch.save(state, tmp_path / "dinov2_vits14_pretrain.pth")
    encoder, stored = loaded(tmp_path / "dinov2_vits14_pretrain.pth")
    images = pictures(24, 24)
    close(encoder(images).pooled, model(images))
    close(encoder(images).tokens, model.forward_features(images)[:, 1 + registers :])
    assert stored.settings["resize"] == ("bicubic_antialias" if registers else "bicubic_offset")
    assert "data: LVD-142M" in stored.lineage[0].config
    assert not stored.lineage[0].uses_labels


def test_blocks_in_chunks_are_put_in_a_row(tmp_path):
    state, model = dinov2(0)
    chunked = {n.replace("blocks.", "blocks.0."): t for n, t in state.items()}
    torch.save({"teacher": {f"backbone.{n}": t for n, t in chunked.items()}}, tmp_path / "a.pth")
    encoder, _ = loaded(tmp_path / "a.pth")
    close(encoder(pictures(24, 24)).pooled, model(pictures(24, 24)))


@pytest.mark.parametrize("new", [(5, 5), (8, 6), (3, 9)])
def test_dinos_positions_are_resized_by_a_tenth_of_a_patch_more(new):
    """As written in both repositories: scale factors of (size + 0.1) / 37, bicubic."""
    table = torch.randn(36, 8)
    image = table.reshape(1, 6, 6, 8).permute(0, 3, 1, 2)
    factors = ((new[0] + 0.1) / 6, (new[1] + 0.1) / 6)
    expected = F.interpolate(image, scale_factor=factors, mode="bicubic")
    found = resize_grid(table, (6, 6), new, "bicubic_offset")
    assert expected.shape[-2:] == new
    torch.testing.assert_close(found, expected.flatten(2)[0].T)
    assert (found - resize_grid(table, (6, 6), new, "bicubic")).abs().max() > 1e-3


@pytest.mark.parametrize("wrapped", ["module.backbone.", "backbone.", "module.", ""])
def test_dinos_teacher_is_taken_out_of_a_whole_checkpoint(tmp_path, wrapped):
    student, teacher = (shaken(VisionTransformer(16, **SMALL, num_classes=0)) for _ in range(2))
    with torch.no_grad():
        teacher.cls_token.add_(1)
    content = {
        who: {f"{wrapped}{n}": t for n, t in model.state_dict().items()}
        for who, model in (("student", student), ("teacher", teacher))
    }
    if wrapped.endswith("backbone."):
        for who in content:
            head = f"{wrapped.removesuffix('backbone.')}head.mlp.0.weight"
            content[who][head] = torch.ones(3, 64)
    arguments = argparse.Namespace(arch="vit_small", lr=0.1)
    file = tmp_path / "dino_deitsmall16_pretrain.pth"
    torch.save(content | {"epoch": 3, "args": arguments}, file)
    encoder, stored = loaded(file)
    close(encoder(pictures(16, 16)).pooled, teacher(pictures(16, 16)))
    assert stored.lineage[0].config.count("objective: DINO") == 1


@pytest.mark.parametrize("size", [(16, 16), (24, 40)])
def test_mae_without_its_decoder_gives_timms_features(tmp_path, size):
    model = shaken(VisionTransformer(16, **SMALL, num_classes=0, dynamic_img_size=True))
    state = model.state_dict() | {
        "mask_token": torch.zeros(1, 1, 32), "decoder_pos_embed": torch.zeros(1, 17, 32),
        "decoder_embed.weight": torch.zeros(32, 64),
    }  # fmt: skip
    torch.save({"model": state}, tmp_path / "mae_pretrain_vit_base.pth")
    stored = stored_encoder(tmp_path / "mae_pretrain_vit_base.pth")
    encoder = stored.build(replace(stored.spec, image_size=size)).eval()
    load_into(encoder, stored, 3)
    assert stored.settings["resize"] == "bicubic"
    assert "masked pixels" in stored.lineage[0].config
    if size == (16, 16):
        close(encoder(pictures(*size)).pooled, model(pictures(*size)))


def test_mae_fine_tuned_norms_the_mean(tmp_path):
    model = shaken(VisionTransformer(16, **SMALL, num_classes=5, global_pool="avg"))
    torch.save({"model": model.state_dict()}, tmp_path / "mae_finetuned_vit_base.pth")
    encoder, stored = loaded(tmp_path / "mae_finetuned_vit_base.pth")
    close(logits(encoder, stored, pictures(16, 16)), model(pictures(16, 16)))
    assert (stored.settings["norm"], stored.settings["pool"]) == ("pooled", "mean")


def test_deit_with_its_distillation_token_gives_timms_tokens(tmp_path):
    model = timm.create_model(
        "deit_tiny_distilled_patch16_224", img_size=16, num_classes=5,
        **SMALL | {"num_heads": 2, "embed_dim": 128},
    )  # fmt: skip
    file = tmp_path / "deit_tiny_distilled_patch16_224-b40b3cf7.pth"
    torch.save({"model": shaken(model).state_dict()}, file)
    encoder, stored = loaded(file)
    close(encoder(pictures(16, 16)).tokens, model.forward_features(pictures(16, 16))[:, 2:])
    assert (stored.settings["registers"], stored.settings["resize"]) == (1, "bicubic")
    assert "RegNetY" in stored.lineage[0].config


def dinov3(folder: Path) -> tuple[Path, torch.nn.Module]:
    model = timm.create_model(
        "vit_small_patch16_dinov3_qkvb", img_size=16, patch_size=4, embed_dim=128, depth=2,
        num_heads=2, num_classes=0, global_pool="token",
    )  # fmt: skip
    state = {}
    for name, tensor in shaken(model).state_dict().items():
        new = name.replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma")
        state[new.replace("reg_token", "storage_tokens")] = tensor
    for block in ("blocks.0.attn.", "blocks.1.attn."):
        query, value = state.pop(f"{block}q_bias"), state.pop(f"{block}v_bias")
        unused = torch.full_like(query, 7)  # the bias of keys, which the mask takes out
        state[f"{block}qkv.bias"] = torch.cat([query, unused, value])
        ones = torch.ones_like(query)
        state[f"{block}qkv.bias_mask"] = torch.cat([ones, 0 * ones, ones])
    state |= {"mask_token": torch.zeros(1, 128), "rope_embed.periods": torch.zeros(16)}
    torch.save(state, folder / "dinov3_vits16_pretrain_lvd1689m-08c60483.pth")
    return folder / "dinov3_vits16_pretrain_lvd1689m-08c60483.pth", model


def test_dinov3_gives_timms_features(tmp_path):
    file, model = dinov3(tmp_path)
    stored = stored_encoder(file)
    encoder = stored.build(replace(stored.spec, image_size=(16, 24))).eval()
    load_into(encoder, stored, 3)
    images = pictures(16, 24)
    close(encoder(images).pooled, model(images))
    assert stored.settings["norm_eps"] == 1e-5


def test_what_the_name_does_not_say_the_tokens_do(tmp_path):
    torch.save(dinov2(4)[0], tmp_path / "epoch_3.pth")
    assert is_facebook(open_weights(tmp_path / "epoch_3.pth"))
    assert "objective: DINOv2" in stored_encoder(tmp_path / "epoch_3.pth").lineage[0].config
