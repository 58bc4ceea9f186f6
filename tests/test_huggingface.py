"""Hugging Face's folders against transformers: the same numbers from the same pictures."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import PreTrainedModel

from vit.models import ViT
from vit.models.base import Encoder
from vit.models.weights import load_into, stored_encoder
from vit.models.weights.card import card_of
from vit.models.weights.hub_cards import hub_name, known_on_hub
from vit.models.weights.huggingface_names import theirs_by_ours
from vit.models.weights.opening import open_weights
from vit.models.weights.recognise import format_of
from vit.models.weights.stored import Stored

SIZES = [(32, 2, 2), (48, 3, 4), (64, 2, 1)]  # width, depth, heads: none has 64 numbers a head
CLOSE = {"atol": 1e-5, "rtol": 0}


def built(kind: str, size: tuple[int, int, int] = SIZES[0], **settings: Any) -> PreTrainedModel:
    """A tiny model with random numbers everywhere."""
    width, depth, heads = size
    base = kind.partition("For")[0].removesuffix("Model")
    config = getattr(transformers, f"{base}Config")(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        **{"image_size": 32, "patch_size": 8} | settings,
    )
    torch.manual_seed(0)
    model = getattr(transformers, kind)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model


def stored(folder: Path) -> Stored:
    assert format_of(open_weights(folder)).name == "Hugging Face"
    return stored_encoder(folder)


def encoder_of(held: Stored) -> ViT:
    encoder = held.build(held.spec)
    load_into(encoder, held, held.spec.channels)
    return encoder.eval()


def images(height: int = 32, width: int = 32) -> torch.Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


def same_tokens(encoder: Encoder, theirs: torch.Tensor, pictures: torch.Tensor) -> None:
    """The class token and the patches; registers stand between."""
    with torch.no_grad():
        ours = encoder(pictures)
    torch.testing.assert_close(ours.cls, theirs[:, 0], **CLOSE)
    torch.testing.assert_close(ours.tokens, theirs[:, -ours.tokens.shape[1] :], **CLOSE)


MODELS = {
    "vit": ("ViTModel", {"intermediate_size": 80}),
    "vit_tanh": ("ViTModel", {"intermediate_size": 80, "hidden_act": "gelu_pytorch_tanh"}),
    "vit_no_bias": ("ViTModel", {"intermediate_size": 80, "qkv_bias": False}),
    "deit": ("DeiTModel", {"intermediate_size": 80}),
    "dinov2": ("Dinov2Model", {"mlp_ratio": 2}),
    "dinov2_swiglu": ("Dinov2Model", {"mlp_ratio": 4, "use_swiglu_ffn": True}),
    "registers": ("Dinov2WithRegistersModel", {"mlp_ratio": 2, "num_register_tokens": 3}),
    "dinov3": ("DINOv3ViTModel", {"intermediate_size": 80, "num_register_tokens": 2}),
    "dinov3_gated": (
        "DINOv3ViTModel",
        {"intermediate_size": 80, "num_register_tokens": 2, "use_gated_mlp": True,
         "hidden_act": "silu", "rope_theta": 50.0},
    ),
}  # fmt: skip


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_a_folder_gives_the_numbers_of_transformers(tmp_path, name, size):
    kind, settings = MODELS[name]
    model = built(kind, size, **settings)
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        theirs = model(images()).last_hidden_state
    same_tokens(encoder_of(stored(tmp_path)), theirs, images())


@pytest.mark.parametrize("name", MODELS)
def test_another_grid_is_resampled_as_transformers_does_it(tmp_path, name):
    kind, settings = MODELS[name]
    model = built(kind, **settings)
    model.save_pretrained(tmp_path)
    more = {"interpolate_pos_encoding": True} if kind in ("ViTModel", "DeiTModel") else {}
    pictures = images(48, 64)
    with torch.no_grad():
        theirs = model(pictures, **more).last_hidden_state
    same_tokens(encoder_of(stored(tmp_path)), theirs, pictures)


def test_pictures_that_are_not_square(tmp_path):
    model = built("ViTModel", image_size=[16, 40])
    model.save_pretrained(tmp_path)
    held = stored(tmp_path)
    assert held.grid == (2, 5)
    with torch.no_grad():
        theirs = model(images(16, 40)).last_hidden_state
    same_tokens(encoder_of(held), theirs, images(16, 40))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("kind", ["ViTMAEModel", "ViTMAEForPreTraining"])
def test_the_encoder_of_mae_gives_the_numbers_of_transformers(tmp_path, kind, size):
    decoder = {"decoder_hidden_size": 32, "decoder_num_hidden_layers": 1}
    model = built(kind, size, mask_ratio=0.0, **decoder, decoder_num_attention_heads=2)
    model.save_pretrained(tmp_path)
    encoder = getattr(model, "vit", model)
    with torch.no_grad():
        theirs = encoder(images(), noise=torch.arange(16.0).expand(2, 16)).last_hidden_state
    same_tokens(encoder_of(stored(tmp_path)), theirs, images())


def test_the_positions_of_dinov2_may_be_of_a_larger_grid_than_its_pictures(tmp_path):
    """Released: positions of 37 x 37 patches, pictures of 224 px, which are 16 x 16."""
    model = built("Dinov2Model", image_size=56)
    model.save_pretrained(tmp_path)
    write_preprocessor(tmp_path, size={"shortest_edge": 37}, crop_size={"height": 32, "width": 32})
    held = stored(tmp_path)
    assert held.grid == (7, 7)
    assert held.spec.image_size == (32, 32)
    with torch.no_grad():
        theirs = model(images()).last_hidden_state
    same_tokens(encoder_of(held), theirs, images())


def write_preprocessor(folder: Path, **changes: Any) -> None:
    usual = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "resample": 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(usual | changes))


def test_a_classifier_comes_with_its_class_names(tmp_path):
    names = {0: "cat", 1: "dog", 2: "a fox"}
    model = built("ViTForImageClassification", num_labels=3, id2label=names)
    model.save_pretrained(tmp_path)
    held = stored(tmp_path)
    assert held.spec.classes == ("cat", "dog", "a fox")
    with torch.no_grad():
        theirs = model(images()).logits
        pooled = encoder_of(held)(images()).pooled
    ours = pooled @ held.classifier["weight"].T + held.classifier["bias"]
    torch.testing.assert_close(ours, theirs, **CLOSE)


def test_deit_s_second_classifier_is_left_out_and_said(tmp_path):
    model = built("DeiTForImageClassificationWithTeacher", num_labels=3)
    model.save_pretrained(tmp_path)
    held = stored(tmp_path)
    assert "distillation_classifier is not used" in held.notes
    assert held.settings["registers"] == 1
    with torch.no_grad():
        theirs = model(images()).cls_logits
        pooled = encoder_of(held)(images()).pooled
    ours = pooled @ held.classifier["weight"].T + held.classifier["bias"]
    torch.testing.assert_close(ours, theirs, **CLOSE)


def test_a_head_over_class_token_and_patches_is_left_out_and_said(tmp_path):
    built("Dinov2ForImageClassification", num_labels=3).save_pretrained(tmp_path)
    held = stored(tmp_path)
    assert held.classifier == {}
    assert held.notes[0] == "classifier reads 64 numbers, class token and patches; not used"


CUT = {"size": {"shortest_edge": 64}, "crop_size": {"height": 56, "width": 56}}


@pytest.mark.parametrize(
    ("about", "size", "ratio"),
    [
        ({"size": {"height": 48, "width": 40}}, (48, 40), None),
        ({"size": 48}, (48, 48), None),
        (CUT, (56, 56), 0.875),
        ({"size": {"shortest_edge": 48}, "crop_size": 48}, (48, 48), 1.0),
        (CUT | {"do_center_crop": False}, (64, 64), None),
    ],
)
def test_pictures_are_shown_as_its_preprocessor_says(tmp_path, about, size, ratio):
    built("ViTModel", resample=2).save_pretrained(tmp_path)
    write_preprocessor(tmp_path, resample=2, **about)
    held = stored(tmp_path)
    assert (held.spec.image_size, held.preprocessing["center_crop_ratio"]) == (size, ratio)
    assert held.preprocessing["interpolation"] == "bilinear"
    assert (held.spec.mean, held.spec.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_without_a_preprocessor_the_normalisation_is_assumed_and_said(tmp_path):
    built("ViTModel").save_pretrained(tmp_path)
    held = stored(tmp_path)
    assert held.spec.mean == (0.5, 0.5, 0.5)
    assert "no preprocessor_config.json" in held.notes[0]


def test_shards_and_pickled_files_give_the_same_numbers(tmp_path):
    model = built("ViTModel")
    model.save_pretrained(tmp_path / "whole")
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert (tmp_path / "shards" / "model.safetensors.index.json").is_file()
    whole = stored(tmp_path / "whole")
    (tmp_path / "bin").mkdir()
    torch.save(
        {name: open_weights(tmp_path / "whole").tensors[name] for name in whole_names(tmp_path)},
        tmp_path / "bin" / "pytorch_model.bin",
    )
    (tmp_path / "bin" / "config.json").write_text((tmp_path / "whole/config.json").read_text())
    for other in ("shards", "bin"):
        held = stored(tmp_path / other)
        assert held.settings == whole.settings
        assert all(torch.equal(held.state[name], whole.state[name]) for name in whole.state)


def whole_names(folder: Path) -> list[str]:
    return list(open_weights(folder / "whole").tensors)


def test_what_a_model_of_transformers_5_holds_in_memory_loads_too(tmp_path):
    model = built("ViTModel")
    model.save_pretrained(tmp_path / "disk")
    model.config.save_pretrained(tmp_path / "memory")
    torch.save(model.state_dict(), tmp_path / "memory" / "pytorch_model.bin")
    assert "layers.0.attention.q_proj.weight" in open_weights(tmp_path / "memory").tensors
    disk, memory = stored(tmp_path / "disk"), stored(tmp_path / "memory")
    assert all(torch.equal(memory.state[name], disk.state[name]) for name in disk.state)


@pytest.mark.parametrize("name", MODELS)
def test_a_file_without_its_config_is_known_by_its_names(tmp_path, name):
    """Only where a head has 64 numbers and the rest is usual can it give the same numbers."""
    kind, settings = MODELS[name]
    model = built(kind, (64, 2, 1), **settings)
    model.save_pretrained(tmp_path)
    alone = (tmp_path / "model.safetensors").rename(tmp_path / "alone.safetensors")
    held = stored(alone)
    assert held.notes[0].startswith("no config.json: epsilon 1e-")
    if name in ("vit_tanh", "dinov3_gated"):
        return
    with torch.no_grad():
        theirs = model(images()).last_hidden_state
    same_tokens(encoder_of(held), theirs, images())


def edited(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    built("ViTModel").save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "swin"}, "holds a swin, which no encoder of this project is; known: vit, "),
        ({"hidden_act": "quick_gelu"}, "uses quick_gelu; known: gelu, "),
        ({"hidden_size": 768}, "config.json says hidden_size 768, the tensors say 32"),
        ({"num_hidden_layers": 12}, "num_hidden_layers 12, the tensors say 2"),
        ({"layer_norm_eps": []}, "is damaged"),
        ({"id2label": 3}, None),
    ],
)  # fmt: skip
def test_a_config_that_contradicts_the_tensors_is_refused(tmp_path, change, message):
    folder = edited(tmp_path, lambda config: config.update(change))
    if message is None:  # without a classifier nobody reads the names
        assert stored(folder).spec.classes == ()
        return
    with pytest.raises(ValueError, match=message) as caught:
        stored(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pixel_scale_that_is_not_known_is_refused(tmp_path):
    built("ViTModel").save_pretrained(tmp_path)
    write_preprocessor(tmp_path, rescale_factor=0.00784)
    with pytest.raises(ValueError, match=r"multiplies pixels by 0\.00784; only 1 / 255"):
        stored(tmp_path)


def test_a_tensor_that_has_no_place_here_is_named():
    names = ["embeddings.cls_token", "encoder.layer.0.attention.attention.relative_position_bias.t"]
    with pytest.raises(ValueError, match=r"relative_position_bias\.t, for which this project"):
        theirs_by_ours(names, "")


def test_a_missing_key_matrix_is_named(tmp_path):
    model = built("ViTModel")
    state = model.state_dict()
    del state["layers.1.attention.k_proj.weight"]
    torch.save(state, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(ValueError, match=r"blocks\.1\.attn has no k beside its q"):
        stored(tmp_path)


def test_a_name_on_the_hub_comes_from_the_cache_and_not_from_what_a_model_began_as(tmp_path):
    cached = tmp_path / "models--facebook--dinov2-small" / "snapshots" / "abc"
    assert hub_name(cached) == "facebook/dinov2-small"
    tuned = edited(
        tmp_path / "mine", lambda c: c.update(_name_or_path="google/vit-base-patch16-224")
    )
    assert hub_name(tuned) == "mine"
    card = card_of(stored(tuned).lineage[0])
    assert card is not None
    assert (card.name, card.data) == ("mine", "")


def test_a_known_name_brings_its_card_and_an_unknown_one_nothing(tmp_path):
    known = known_on_hub("facebook/dinov2-small", ()).card
    assert (known.uses_labels, known.data, known.licence) == (False, "LVD-142M", "apache-2.0")
    tuned = known_on_hub("google/vit-base-patch16-224", ("a", "b")).card
    assert (tuned.data, tuned.classes) == ("ImageNet-21k, then ImageNet-1k", ("a", "b"))
    assert known_on_hub("google/vit-base-patch16-224-in21k", ()).card.data == "ImageNet-21k"
    assert known_on_hub("facebook/vit-mae-base", ()).card.objective == "masked pixels (MAE)"
    unknown = known_on_hub("mine", ("a", "b")).card
    assert (unknown.uses_labels, unknown.data, unknown.classes) == (None, "", ("a", "b"))
    folder = tmp_path / "models--facebook--dino-vits16" / "snapshots" / "abc"
    card = card_of(stored(edited(folder, dict)).lineage[0])
    assert card is not None
    assert (card.objective, card.name) == ("DINO", "facebook/dino-vits16")
