"""timm's models give the same numbers here, out of files that timm itself writes."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import LayerNorm, SwiGLUPacked
from timm.models import save_for_hf
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from released import close, loaded, logits, pictures, shaken
from vit.models.weights import load_into, stored_encoder
from vit.models.weights.timm_files import is_timm, size_pair

SIZES = [(32, 2, 2, 4), (64, 4, 3, 8), (96, 3, 2, 6)]  # width, heads, depth, patch
SMALL = {"patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 5}


def saved(model: nn.Module, folder: Path, **more) -> Path:
    """A folder of the Hub, as timm writes it."""
    save_for_hf(model, str(folder), model_config=more, safe_serialization=True)
    return folder


def written(model: nn.Module, folder: Path, arguments: dict, **about) -> Path:
    """The same by hand, for models that timm's factory did not make."""
    folder.mkdir(exist_ok=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    config = {"architecture": "vit_tiny", "model_args": arguments, "pretrained_cfg": about}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(("width", "heads", "depth", "patch"), SIZES)
@pytest.mark.parametrize("size", [(24, 24), (48, 24)])
def test_a_folder_of_timms_hub_gives_timms_features_and_logits(
    tmp_path, width, heads, depth, patch, size
):
    model = timm.create_model(
        "vit_tiny_patch16_224", pretrained=False, img_size=size, patch_size=patch, num_classes=7,
        embed_dim=width, depth=depth, num_heads=heads,
    )  # fmt: skip
    encoder, stored = loaded(saved(shaken(model), tmp_path / "hub"))
    images = pictures(*size)
    close(encoder(images).tokens, model.forward_features(images)[:, 1:])
    close(logits(encoder, stored, images), model(images))
    assert (stored.spec.image_size, stored.spec.mean) == (size, (0.5, 0.5, 0.5))
    assert stored.preprocessing["center_crop_ratio"] == 0.9
    assert stored.preprocessing["interpolation"] == "bicubic"


@pytest.mark.parametrize("size", [(16, 16), (24, 40), (32, 32)])
def test_positions_are_resized_as_timm_does(tmp_path, size):
    model = shaken(VisionTransformer(24, **SMALL, dynamic_img_size=True))
    stored = stored_encoder(written(model, tmp_path / "a", {"num_heads": 2}))
    spec = replace(stored.spec, image_size=size)
    encoder = stored.build(spec)
    assert load_into(encoder, stored, 3).count("positions resized from (6, 6)") == 1
    images = pictures(*size)
    close(encoder.eval()(images).pooled, model.forward_head(model.forward_features(images), True))


GATED = {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU, "mlp_ratio": 4.0}
KINDS = {
    "LayerScale": {"init_values": 0.1},
    "registers with positions": {"reg_tokens": 3},
    "DINOv2 with registers": {"reg_tokens": 4, "no_embed_class": True, "init_values": 1e-5},
    "the giant DINOv2": {"reg_tokens": 4, "no_embed_class": True, "init_values": 1.0} | GATED,
    "SigLIP-like": {"class_token": False, "global_pool": "avg", "fc_norm": False},
    "BEiT-like": {"global_pool": "avg"},
    "DeiT III": {"no_embed_class": True, "init_values": 1e-6},
    "normalised queries": {"qk_norm": True},
    "tanh": {"act_layer": partial(nn.GELU, approximate="tanh")},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(16, 16), (12, 20)])
def test_every_kind_of_timms_vit_gives_timms_logits(tmp_path, kind, size):
    model = shaken(VisionTransformer(size, **SMALL, **KINDS[kind]))
    pool = KINDS[kind].get("global_pool", "token")
    arguments = {"num_heads": 2, "img_size": size, "global_pool": pool}
    arguments |= {"act_layer": "gelu_tanh"} if kind == "tanh" else {}
    encoder, stored = loaded(written(model, tmp_path / "a", arguments))
    images = pictures(*size)
    close(logits(encoder, stored, images), model(images))
    settings = stored.settings
    assert settings["mlp"] == ("swiglu" if kind == "the giant DINOv2" else "gelu")
    assert settings["norm"] == ("pooled" if kind == "BEiT-like" else "tokens")
    assert settings["qk_norm"] == (kind == "normalised queries")


def test_the_other_gelu_would_be_noticed(tmp_path):
    model = shaken(VisionTransformer(16, **SMALL, **KINDS["tanh"]))
    images = pictures(16, 16)
    wrong, stored = loaded(written(model, tmp_path / "a", {"num_heads": 2}))
    assert stored.settings["gelu"] == "exact"
    assert (logits(wrong, stored, images) - model(images)).abs().max() > 1e-4


@pytest.mark.parametrize(("name", "gelu"), [
    ("vit_base_patch16_siglip_gap_224.webli", "exact"),
    ("vit_base_patch32_siglip_gap_256.v2_webli", "tanh"),
])  # fmt: skip
def test_names_whose_gelu_is_the_other_one_are_known(tmp_path, name, gelu):
    model = VisionTransformer(16, **SMALL)
    save_file(model.state_dict(), tmp_path / f"{name}.safetensors")
    assert stored_encoder(tmp_path / f"{name}.safetensors").settings["gelu"] == gelu
    made = timm.create_model(name.partition(".")[0], embed_dim=32, depth=1, num_heads=2)
    assert getattr(made.blocks[0].mlp.act, "approximate", "none") == (
        "tanh" if gelu == "tanh" else "none"
    ) or type(made.blocks[0].mlp.act).__name__ == ("GELUTanh" if gelu == "tanh" else "GELU")


@pytest.mark.parametrize("size", [(16, 16), (12, 20)])
def test_deits_distillation_token_becomes_a_register(tmp_path, size):
    model = timm.create_model(
        "deit_tiny_distilled_patch16_224", img_size=size, patch_size=4, embed_dim=64, depth=3,
        num_heads=4, num_classes=5,
    )  # fmt: skip
    encoder, stored = loaded(saved(shaken(model), tmp_path / "hub"))
    images = pictures(*size)
    features = encoder(images)
    close(features.tokens, model.forward_features(images)[:, 2:])
    close(features.pooled, model.forward_features(images)[:, 0])
    close(logits(encoder, stored, images), model.head(model.forward_features(images)[:, 0]))
    assert stored.settings["registers"] == 1
    assert any("two heads" in note for note in stored.notes)


@pytest.mark.parametrize("size", [(16, 16), (24, 40)])
@pytest.mark.parametrize("name", ["vit_small_patch16_dinov3", "vit_small_plus_patch16_dinov3_qkvb"])
def test_dinov3_rotates_queries_and_keys_as_timm_does(tmp_path, name, size):
    model = timm.create_model(
        name, img_size=16, patch_size=4, embed_dim=64, depth=2, num_heads=4, global_pool="token",
        num_classes=5,
    )  # fmt: skip
    stored = stored_encoder(saved(shaken(model), tmp_path / "hub"))
    encoder = stored.build(replace(stored.spec, image_size=size)).eval()
    load_into(encoder, stored, 3)
    assert stored.settings["position"] == "rope"
    images = pictures(*size)
    close(encoder(images).tokens, model.forward_features(images)[:, 5:])
    close(logits(encoder, stored, images), model(images))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(tmp_path, dtype):
    model = shaken(VisionTransformer(16, **SMALL))
    folder = written(model.to(dtype), tmp_path / "a", {"num_heads": 2})
    encoder, stored = loaded(folder)
    close(logits(encoder, stored, pictures(16, 16)), model.float()(pictures(16, 16)))


@pytest.mark.parametrize("name", ["a.pth", "pytorch_model.bin", "a.safetensors"])
@pytest.mark.parametrize("nest", ["{}", "state_dict", "model"])
def test_a_file_alone_says_what_was_assumed(tmp_path, name, nest):
    model = shaken(VisionTransformer(16, **SMALL | {"embed_dim": 64, "num_heads": 1}))
    state = model.state_dict()
    if name.endswith(".safetensors"):
        save_file(state, tmp_path / name)
    else:
        torch.save(state if nest == "{}" else {nest: state, "epoch": 3}, tmp_path / name)
    encoder, stored = loaded(tmp_path / name)
    close(logits(encoder, stored, pictures(16, 16)), model(pictures(16, 16)))
    assert stored.settings["heads"] == 1
    assert "1 head of 64 is assumed" in stored.notes
    assert any("mean and deviation are assumed" in note for note in stored.notes)


def test_a_name_that_is_known_needs_no_assumption(tmp_path):
    model = VisionTransformer(16, **SMALL | {"embed_dim": 64, "num_heads": 1})
    file = tmp_path / "vit_tiny_patch16_224.augreg_in21k_ft_in1k.safetensors"
    save_file(model.state_dict(), file)
    stored = stored_encoder(file)
    assert stored.spec.mean == (0.5, 0.5, 0.5)
    assert not any("deviation" in note for note in stored.notes)


def test_an_activation_that_is_not_offered_is_named(tmp_path):
    folder = written(VisionTransformer(16, **SMALL), tmp_path / "a", {"act_layer": "relu"})
    with pytest.raises(ValueError, match="needs the activation relu, ours is GELU"):
        stored_encoder(folder)


def test_norms_without_bias_are_named(tmp_path):
    model = VisionTransformer(16, **SMALL, norm_layer=partial(LayerNorm, bias=False))
    with pytest.raises(ValueError, match=r"a lacks blocks\.0\.norm1\.bias and 4 more"):
        stored_encoder(written(model, tmp_path / "a", {}))


def test_an_attention_pooling_head_is_named(tmp_path):
    model = VisionTransformer(16, **SMALL, global_pool="map")
    with pytest.raises(ValueError, match=r"holds attn_pool\.\S+ and \d+ more, which our ViT"):
        stored_encoder(written(model, tmp_path / "a", {}))


def test_classes_and_licence_come_from_the_config(tmp_path):
    model = VisionTransformer(16, **SMALL)
    folder = written(
        model, tmp_path / "a", {"num_heads": 2}, label_names=list("abcde"), license="mit"
    )
    stored = stored_encoder(folder)
    assert stored.spec.classes == tuple("abcde")
    assert "licence: mit" in stored.lineage[0].config


@pytest.mark.parametrize(("size", "pair"), [
    (224, (224, 224)), ([224, 192], (224, 192)), (None, None), ((None, None), None), ([-1, 2], None)
])  # fmt: skip
def test_a_size_is_a_number_or_a_pair(size, pair):
    assert size_pair(size) == pair


def test_names_of_others_are_not_taken_for_timms(tmp_path):
    torch.save({"conv1.weight": torch.zeros(2)}, tmp_path / "a.pth")
    from vit.models.weights.opening import open_weights

    assert not is_timm(open_weights(tmp_path / "a.pth"))
