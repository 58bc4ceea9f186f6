"""Google's archives in all their layouts give the numbers of timm's own reader."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from released import close, loaded, logits, pictures
from vit.models.weights import stored_encoder
from vit.models.weights.google_files import is_google
from vit.models.weights.opening import open_weights

SIZES = [(32, 2, 2, 4), (64, 4, 3, 8), (96, 3, 2, 6)]  # width, heads, depth, patch


def published(width: int, heads: int, depth: int, patch: int, side: int = 24) -> dict:
    """Arrays by the names and shapes of the released files."""
    draw = np.random.default_rng(0)

    def drawn(*shape: int) -> np.ndarray:
        return (0.1 * draw.standard_normal(shape)).astype(np.float32)

    d, count = width // heads, (side // patch) ** 2
    arrays = {
        "embedding/kernel": drawn(patch, patch, 3, width),
        "embedding/bias": drawn(width),
        "cls": drawn(1, 1, width),
        "Transformer/posembed_input/pos_embedding": drawn(1, count + 1, width),
        "Transformer/encoder_norm/scale": 1 + drawn(width),
        "Transformer/encoder_norm/bias": drawn(width),
        "head/kernel": drawn(width, 5),
        "head/bias": drawn(5),
    }
    for number in range(depth):
        block = f"Transformer/encoderblock_{number}"
        attention = f"{block}/MultiHeadDotProductAttention_1"
        for part in ("query", "key", "value"):
            arrays[f"{attention}/{part}/kernel"] = drawn(width, heads, d)
            arrays[f"{attention}/{part}/bias"] = drawn(heads, d)
        arrays[f"{attention}/out/kernel"] = drawn(heads, d, width)
        arrays[f"{attention}/out/bias"] = drawn(width)
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            arrays[f"{block}/{norm}/scale"] = 1 + drawn(width)
            arrays[f"{block}/{norm}/bias"] = drawn(width)
        for dense, shape in (("Dense_0", (width, 4 * width)), ("Dense_1", (4 * width, width))):
            arrays[f"{block}/MlpBlock_3/{dense}/kernel"] = drawn(*shape)
            arrays[f"{block}/MlpBlock_3/{dense}/bias"] = drawn(shape[1])
    return arrays


def todays(arrays: dict) -> dict:
    """The same by the names that today's flax gives: each kind is counted from zero."""
    renamed = (("Attention_1", "Attention_0"), ("MlpBlock_3", "MlpBlock_0"),
               ("LayerNorm_2", "LayerNorm_1"))  # fmt: skip
    out = {}
    for name, array in arrays.items():
        new = name
        for old, other in renamed:
            new = new.replace(old, other)
        out[new] = array
    return out


def big_visions(arrays: dict, scan: bool) -> dict:
    """As big_vision writes: positions at the top, none of the class token; scan: stacked blocks."""
    out = todays(arrays)
    table = out.pop("Transformer/posembed_input/pos_embedding")
    out["pos_embedding"] = table[:, 1:]
    if scan:
        for name in [n for n in out if "encoderblock_0/" in n]:
            depth = sum(name.replace("_0/", f"_{i}/", 1) in out for i in range(20))
            parts = [out.pop(name.replace("encoderblock_0/", f"encoderblock_{i}/"))
                     for i in range(depth)]  # fmt: skip
            out[name.replace("encoderblock_0/", "encoderblock/")] = np.stack(parts)
    return {f"params/{name}": array for name, array in out.items()}


def saved(arrays: dict, folder: Path, name: str = "B_16.npz") -> Path:
    np.savez(folder / name, **arrays)
    return folder / name


def timms(file: Path, width: int, heads: int, depth: int, patch: int, **more) -> VisionTransformer:
    """timm's model with the weights that timm's reader takes out of the file."""
    settings = {"embed_dim": width, "depth": depth, "num_heads": heads, "patch_size": patch}
    act = partial(nn.GELU, approximate="tanh")
    model = VisionTransformer(24, num_classes=5, act_layer=act, **settings, **more)
    model.load_pretrained(str(file))
    return model.eval()


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("prefix", ["", "opt/target/"])
def test_the_released_names_give_timms_numbers(tmp_path, shape, prefix):
    arrays = {f"{prefix}{name}": array for name, array in published(*shape).items()}
    file = saved(arrays, tmp_path)
    encoder, stored = loaded(file)
    model, images = timms(file, *shape), pictures(24, 24)
    close(logits(encoder, stored, images), model(images))
    for name, tensor in stored.state.items():
        assert torch.equal(tensor, model.state_dict()[name]), name
    assert (stored.settings["heads"], stored.settings["gelu"]) == (shape[1], "tanh")
    assert stored.settings["resize"] == "bilinear_corners"
    assert stored.spec.mean == (0.5, 0.5, 0.5)
    assert not any("heads" in note for note in stored.notes)


@pytest.mark.parametrize("shape", SIZES)
def test_todays_names_give_the_same_tensors(tmp_path, shape):
    first = stored_encoder(saved(published(*shape), tmp_path, "a.npz"))
    again = stored_encoder(saved(todays(published(*shape)), tmp_path, "b.npz"))
    assert again.state.keys() == first.state.keys()
    for name, tensor in first.state.items():
        assert torch.equal(again.state[name], tensor), name


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize("token", [True, False])
def test_big_visions_names_give_timms_numbers(tmp_path, shape, scan, token):
    arrays = published(*shape)
    if not token:
        del arrays["cls"]
    file = saved(big_visions(arrays, scan), tmp_path)
    encoder, stored = loaded(file)
    pool = {} if token else {"class_token": False, "global_pool": "avg", "fc_norm": False}
    model = timms(file, *shape, no_embed_class=True, **pool)
    images = pictures(24, 24)
    close(logits(encoder, stored, images), model(images))
    assert stored.settings["pool"] == ("cls" if token else "mean")


def test_the_exact_gelu_would_be_noticed(tmp_path):
    encoder, stored = loaded(saved(published(*SIZES[0]), tmp_path))
    model = timms(tmp_path / "B_16.npz", *SIZES[0])
    for block in model.blocks:
        block.mlp.act = nn.GELU()
    images = pictures(24, 24)
    assert (logits(encoder, stored, images) - model(images)).abs().max() > 1e-5


def test_bfloat16_is_read(tmp_path):
    arrays = published(*SIZES[0])
    halves = {n: torch.from_numpy(a).bfloat16().view(torch.int16).numpy().view("V2")
              for n, a in arrays.items()}  # fmt: skip
    stored = stored_encoder(saved(halves, tmp_path))
    expected = torch.from_numpy(arrays["embedding/bias"]).bfloat16()
    assert torch.equal(stored.state["patch_embed.proj.bias"], expected)


def test_the_layer_before_the_head_is_left_out_and_said(tmp_path):
    arrays = published(*SIZES[0])
    arrays |= {"pre_logits/kernel": np.zeros((32, 32), np.float32)}
    stored = stored_encoder(saved(arrays, tmp_path))
    assert stored.classifier == {}
    assert any("pre_logits" in note for note in stored.notes)


@pytest.mark.parametrize(("name", "message"), [
    ("conv_root/kernel", "has a ResNet in front (a hybrid), which our ViT does not have"),
    ("MAPHead_0/probe", "has an attention pooling head, which our ViT does not have"),
    ("Transformer/encoderblock_0/Gate_0/scale", "holds blocks.0.Gate_0/scale, which our ViT"),
])  # fmt: skip
def test_what_our_vit_does_not_have_is_named(tmp_path, name, message):
    file = saved(published(*SIZES[0]) | {name: np.zeros(3, np.float32)}, tmp_path)
    with pytest.raises(ValueError, match=re.escape(message)):
        stored_encoder(file)


@pytest.mark.parametrize(("name", "message"), [
    ("Transformer/encoderblock_1/MlpBlock_3/Dense_0/bias", "lacks blocks.1.mlp.fc1.bias"),
    ("Transformer/encoderblock_0/MultiHeadDotProductAttention_1/key/kernel",
     "has blocks.0.attn.qkv.weight of shape (64, 32); the rest of it needs (96, 32)"),
    ("Transformer/posembed_input/pos_embedding", "lacks pos_embed"),
    ("embedding/kernel", "holds 0 patch embeddings"),
])  # fmt: skip
def test_what_a_file_lacks_is_named(tmp_path, name, message):
    arrays = published(*SIZES[0])
    del arrays[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        stored_encoder(saved(arrays, tmp_path))


def test_another_archive_is_not_taken_for_googles(tmp_path):
    assert not is_google(open_weights(saved({"a": np.zeros(3)}, tmp_path)))


@pytest.mark.parametrize(("name", "data", "labels"), [
    ("B_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0", "ImageNet-21k", 14_197_122),
    ("B_16-i21k-300ep-lr_0.001-aug_medium1--imagenet2012-steps_20k-lr_0.03-res_384",
     "ImageNet-21k, then ImageNet-1k", 14_197_122),
    ("Ti_16-i1k-300ep-lr_0.001-aug_light1-wd_0.1-do_0.0-sd_0.0", "ImageNet-1k", 1_281_167),
])  # fmt: skip
def test_augregs_names_say_what_was_learned_from(tmp_path, name, data, labels):
    link = stored_encoder(saved(published(*SIZES[0]), tmp_path, f"{name}.npz")).lineage[0]
    assert f"data: {data}\n" in link.config
    assert f"labels: {labels}\n" in link.config
    assert link.uses_labels
