"""Released weights load whole, into the right architecture, in little memory, or not at all."""

import argparse
import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

from builders import RGB, small_vit
from released import close, loaded, pictures, shaken
from vit.models import ViT
from vit.models.weights import describe, load_into, stored_encoder
from vit.models.weights.architecture import HEADS
from vit.models.weights.card import card_of
from vit.models.weights.known_cards import imagenet_classes, known_by
from vit.models.weights.npz_file import open_npz
from vit.models.weights.opening import file_kind, open_weights
from vit.models.weights.parameter_names import by_our_names, prefix_in
from vit.models.weights.recognise import FORMATS, format_of
from vit.models.weights.released import Origin, Tensors, in_memory
from vit.models.weights.torch_file import open_torch
from vit.module import ViTModule
from vit.objectives.supervised import Supervised

SMALL = {"patch_size": 4, "embed_dim": 64, "depth": 3, "num_heads": 1, "num_classes": 5}


def state(**more) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return shaken(VisionTransformer(16, **SMALL | more)).state_dict()


def saved(tensors: object, folder: Path, name: str = "a.pth") -> Path:
    torch.save(tensors, folder / name)
    return folder / name


# ---- whole or not at all ------------------------------------------------------------------------


def without(tensors: dict, begin: str) -> dict:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(begin)}


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda s: without(s, "blocks.1."), "a.pth lacks block 1"),
    (lambda s: without(s, "blocks.2."), None),  # a shallower one, and whole
    (lambda s: without(s, "blocks.2.norm1"), "lacks blocks.2.norm1.weight and 1 more"),
    (lambda s: without(s, "pos_embed"), "lacks pos_embed"),
    (lambda s: without(s, "norm."), "lacks norm.weight and 1 more"),
    (lambda s: s | {"blocks.1.mlp.fc1.weight": torch.zeros(8, 64)},
     "has blocks.1.mlp.fc1.weight of shape (8, 64); the rest of it needs (256, 64)"),
    (lambda s: s | {"cls_token": torch.zeros(1, 1, 63)},
     "has cls_token of shape (1, 1, 63); the rest of it needs (1, 1, 64)"),
    (lambda s: s | {"blocks.0.attn.gate.weight": torch.zeros(3)},
     "holds blocks.0.attn.gate.weight, which our ViT does not have"),
    (lambda s: s | {"pos_embed": torch.zeros(1, 12, 64)},
     "has 12 positions, which make no square grid, and nothing says its rows and columns"),
    (lambda s: s | {"patch_embed.proj.weight": torch.zeros(64, 3, 4, 2)},
     "has patches of [4, 2]; only square ones load"),
    (lambda s: {f"my_net.{n}": t for n, t in s.items()},
     "the names in {path} begin with 'my_net.', which is no prefix that is known"),
    (lambda s: s | {f"second.{n}": t for n, t in s.items()},
     "holds several encoders: , second.; save the one that is meant alone"),
    (lambda s: {"fc.weight": torch.zeros(2), "fc.bias": torch.zeros(2)},
     "holds 2 tensors (fc.weight, fc.bias, ...), which are no Vision Transformer by names"),
    (lambda s: {"epoch": 3}, "holds no table of tensors"),
    (lambda s: s | {"norm.weight": torch.full((64,), torch.nan)},
     "norm.weight in {path} holds numbers that are not finite"),
])  # fmt: skip
def test_what_does_not_fit_is_named(tmp_path, spoil, message):
    file = saved(spoil(state()), tmp_path)
    if message is None:
        assert loaded(file)[1].settings["depth"] == 2
        return
    with pytest.raises(ValueError, match=re.escape(message.replace("{path}", str(file)))) as raised:
        loaded(file)
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_config_that_contradicts_the_file_is_refused(tmp_path):
    stored = stored_encoder(saved(state(), tmp_path))
    encoder = ViT(stored.spec, **stored.settings | {"gelu": "tanh"})
    with pytest.raises(ValueError, match=r"gelu is tanh in the config and exact in .*a\.pth; set "):
        load_into(encoder, stored, 3)


def module_of(file: Path, **more) -> ViTModule:
    return ViTModule(partial(Supervised), pretrained=str(file), spec=RGB, **more)


def test_a_fit_takes_architecture_and_normalisation_from_the_file(tmp_path):
    file = saved(state(), tmp_path, "vit_x.augreg_in1k.pth")
    module = module_of(file)
    assert (module.spec.mean, module.spec.classes) == ((0.5, 0.5, 0.5), RGB.classes)
    assert "100 % of the encoder" in module.coverage
    assert card_of(module.lineage[0]).data == "ImageNet-1k"
    explicit = partial(ViT, width=64, depth=3, heads=1, patch_size=4, gelu="exact")
    again = module_of(file, encoder=explicit)
    assert torch.equal(again.objective.encoder.pos_embed, module.objective.encoder.pos_embed)
    with pytest.raises(ValueError, match="depth is 2 in the config and 3"):
        module_of(file, encoder=partial(explicit, depth=2))


def test_a_checkpoint_that_starts_from_released_weights_keeps_their_settings(tmp_path):
    encoder, stored = loaded(saved(state(qk_norm=True, init_values=0.1), tmp_path))
    about = describe(encoder, stored.spec)
    assert about["settings"] == encoder.settings
    assert about["settings"]["qk_norm"]
    assert about["settings"]["resize"] == "bicubic_antialias"
    assert ViT(stored.spec, **about["settings"]).load_state_dict(encoder.state_dict())


@pytest.mark.parametrize("settings", [
    {}, {"registers": 2}, {"layer_scale": 0.1}, {"mlp": "swiglu"}, {"qk_norm": True},
    {"pool": "mean", "norm": "pooled"}, {"pool": "mean", "class_token": False},
])  # fmt: skip
def test_ours_to_timms_names_and_back_is_bit_for_bit(tmp_path, settings):
    encoder = shaken(small_vit(RGB, width=64, heads=1, patch_size=4, gelu="exact", **settings))
    save_file(encoder.state_dict(), tmp_path / "a.safetensors")
    again, _ = loaded(tmp_path / "a.safetensors")
    assert again.state_dict().keys() == encoder.state_dict().keys()
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    differing = {k for k, v in again.settings.items() if v != encoder.settings[k]}
    assert differing <= {"resize", "layer_scale"}


def test_heads_of_another_width_are_known_for_the_sizes_that_have_them():
    assert HEADS == {32: 2, 1152: 16, 1280: 16, 1408: 16, 1664: 16}


# ---- opening ------------------------------------------------------------------------------------


def test_what_a_file_is_does_not_depend_on_its_name(tmp_path):
    torch.save(state(), tmp_path / "torch.npz")
    save_file(state(), tmp_path / "safe.pth")
    with (tmp_path / "numpy.bin").open("wb") as file:
        np.savez(file, a=np.zeros(3))
    kinds = {name: file_kind(tmp_path / name) for name in ("torch.npz", "safe.pth", "numpy.bin")}
    assert kinds == {"torch.npz": "torch", "safe.pth": "safetensors", "numpy.bin": "npz"}
    assert loaded(tmp_path / "torch.npz")[1].spec == loaded(tmp_path / "safe.pth")[1].spec


@pytest.mark.parametrize("begin", [b"", b"hello, I am a text", b"\xff\xd8\xff\xe0" * 9])
def test_another_file_is_named(tmp_path, begin):
    (tmp_path / "a.pth").write_bytes(begin)
    with pytest.raises(ValueError, match=r"a\.pth is no file of weights; what loads: torch files"):
        stored_encoder(tmp_path / "a.pth")


def test_an_old_torch_file_is_read(tmp_path):
    torch.save(state(), tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    encoder, _ = loaded(tmp_path / "a.pth")
    torch.save(state(), tmp_path / "b.pth")
    close(encoder(pictures(16, 16)).pooled, loaded(tmp_path / "b.pth")[0](pictures(16, 16)).pooled)


@pytest.mark.parametrize("old", [True, False])
def test_settings_in_a_namespace_are_read_and_nothing_else_is(tmp_path, old):
    content = {"model": state(), "args": argparse.Namespace(lr=0.1), "epoch": 7}
    file = tmp_path / "a.pth"
    torch.save(content, file, _use_new_zipfile_serialization=not old)
    tensors, about = open_torch(file)
    assert (about["epoch"], about["nest"]) == (7, "model")
    assert tensors.shapes["cls_token"] == (1, 1, 64)
    torch.save(content | {"path": Path("x")}, file, _use_new_zipfile_serialization=not old)
    with pytest.raises(ValueError, match=r"a\.pth is damaged or foreign \(Weights only load"):
        open_torch(file)


def test_an_average_comes_before_what_trained(tmp_path):
    trained, averaged = state(), state()
    averaged["cls_token"] = averaged["cls_token"] + 1
    file = saved({"state_dict": trained, "state_dict_ema": averaged}, tmp_path)
    assert torch.equal(stored_encoder(file).state["cls_token"], averaged["cls_token"])


def test_tensors_are_the_files_whatever_was_read_before(tmp_path, monkeypatch):
    """The file is mapped anew after so many bytes: here after each tensor."""
    monkeypatch.setattr("vit.models.weights.torch_file.AT_ONCE", 0)
    tensors, _ = open_torch(saved(state(), tmp_path))
    for _ in range(2):
        for name, tensor in state().items():
            assert torch.equal(tensors[name], tensor), name


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_brings_its_config(tmp_path, name):
    save = save_file if name.endswith("safetensors") else torch.save
    save(state(embed_dim=48), tmp_path / name)
    shown = {"mean": [0, 0, 0], "std": [1, 1, 1]}
    config = {"model_args": {"num_heads": 3}, "pretrained_cfg": shown}
    (tmp_path / "config.json").write_text(json.dumps(config))
    for path in (tmp_path, tmp_path / name):
        stored = stored_encoder(path)
        assert (stored.settings["heads"], stored.spec.mean) == (3, (0, 0, 0))


def test_shards_are_one_file(tmp_path):
    whole = state()
    names = sorted(whole)
    listed = {}
    for number, part in enumerate((names[::2], names[1::2])):
        save_file({n: whole[n] for n in part}, tmp_path / f"part{number}.safetensors")
        listed |= dict.fromkeys(part, f"part{number}.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": listed}))
    encoder, _ = loaded(tmp_path)
    assert torch.equal(encoder.cls_token, whole["cls_token"])
    for wrong, message in (
        ({"a": "../part0.safetensors"}, "lists ../part0.safetensors, which is not beside it"),
        ({"a": "part0.safetensors"}, "lists a, which its files do not hold"),
        ([], "is damaged or foreign (no weight_map)"),
    ):
        index.write_text(json.dumps({"weight_map": wrong}))
        with pytest.raises(ValueError, match=re.escape(message)):
            open_weights(tmp_path)


@pytest.mark.parametrize("text", ["[1]", "{", "[" * 10**5])
def test_a_config_that_is_none_is_named(tmp_path, text):
    save_file(state(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json (is no JSON|holds no object)"):
        open_weights(tmp_path)


@pytest.mark.parametrize(("arrays", "message"), [
    ({"a": np.array([{}], object)}, "a.npy holds object, no numbers"),
    ({"a": np.array(["x"])}, "a.npy holds <U1, no numbers"),
])  # fmt: skip
def test_an_archive_of_something_else_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=re.escape(message)):
        open_npz(tmp_path / "a.npz")


def test_our_checkpoint_is_ours_under_any_name(tmp_path):
    encoder = small_vit(RGB)
    weights = {f"objective.encoder.{n}": t for n, t in encoder.state_dict().items()}
    content = {"format": 1, "config": "", "global_step": 1, "state_dict": weights,
               "encoder": describe(encoder, RGB)}  # fmt: skip
    for name in ("a.ckpt", "a.pth"):
        stored = stored_encoder(saved(content, tmp_path, name))
        assert stored.settings == encoder.settings


def test_somebody_elses_lightning_checkpoint_is_looked_into(tmp_path):
    content = {"state_dict": {f"model.{n}": t for n, t in state().items()}, "epoch": 3}
    encoder, _ = loaded(saved(content, tmp_path, "a.ckpt"))
    assert encoder.depth == 3


def test_the_first_format_that_recognises_a_file_is_named(tmp_path):
    assert format_of(open_weights(saved(state(), tmp_path))).name == "timm"
    assert len({known.name for known in FORMATS}) == len(FORMATS)


def test_a_prefix_is_what_stands_before_the_patch_embedding(tmp_path):
    wrapped = {f"module.backbone.{n}": t for n, t in state().items()}
    file = open_weights(saved(wrapped | {"module.head.weight": torch.zeros(2)}, tmp_path))
    assert prefix_in(file) == "module.backbone."
    assert by_our_names(file)[0].shapes == {n: tuple(t.shape) for n, t in state().items()}


# ---- tensors and cards --------------------------------------------------------------------------


def test_tensors_are_made_when_they_are_asked_for():
    read = []

    def reading(name: str) -> torch.Tensor:
        read.append(name)
        return torch.full((2, 3), float(len(read)))

    tensors = Tensors({"a": (2, 3), "b": (2, 3)}, reading)
    made = tensors.made({"c": Origin(("a", "b"), lambda a, b: torch.cat([a, b]))})
    both = made | in_memory({"d": torch.zeros(1)})
    assert (both.shapes, read) == ({"c": (4, 3), "d": (1,)}, [])
    assert both["c"].shape == (4, 3)
    assert read == ["a", "b"]
    with pytest.raises(KeyError):
        tensors["c"]


@pytest.mark.parametrize(("name", "objective", "data"), [
    ("vit_base_patch16_224.mae", "masked pixels (MAE)", "ImageNet-1k"),
    ("vit_small_patch16_224.dino", "DINO", "ImageNet-1k"),
    ("vit_small_patch14_dinov2.lvd142m", "DINOv2", "LVD-142M"),
    ("dinov2_vits14_reg4_pretrain", "DINOv2", "LVD-142M"),
    ("vit_base_patch16_224.orig_in21k_ft_in1k", "labels", "ImageNet-21k, then ImageNet-1k"),
    ("deit_base_distilled_patch16_224.fb_in1k", "labels and a RegNetY-16GF's answers",
     "ImageNet-1k"),
    ("deit3_small_patch16_224.fb_in22k_ft_in1k", "labels", "ImageNet-21k, then ImageNet-1k"),
    ("vit_b_16_swag-9ac1b537", "hashtags (SWAG), then labels",
     "Instagram, hashtags, then ImageNet-1k"),
    ("my_weights", "", ""),
])  # fmt: skip
def test_a_published_name_says_what_was_learned_from(name, objective, data):
    card = known_by(name).card
    assert (card.name, card.objective, card.data) == (name, objective, data)
    if not objective:
        assert card.images is card.labels is card.uses_labels is None


def test_the_training_of_deit_b_took_what_its_multiplications_say(tmp_path):
    """17.56e9 a picture (DeiT, table 1: 17.6), forward and twice that backward, 300 epochs."""
    model = VisionTransformer(32, depth=12, num_classes=0)
    with torch.no_grad():
        small = {n: t[:1, :1].expand(t.shape) if t.ndim > 1 else t
                 for n, t in model.state_dict().items()}  # fmt: skip
    file = saved({"model": small}, tmp_path, "deit_base_patch16_224-b5f2ef4d.pth")
    card = card_of(stored_encoder(file).lineage[0])
    assert card.flops == pytest.approx(6 * 17.56e9 * 1_281_167 * 300, rel=2e-3)


def test_imagenets_classes_are_a_thousand():
    assert len(imagenet_classes()) == 1000
    assert imagenet_classes()[999] == "toilet tissue"


# ---- memory -------------------------------------------------------------------------------------

PEAK = """
import sys
from vit.models.weights import load_into, stored_encoder

def most():  # ru_maxrss would count the process that started this one, too
    lines = open("/proc/self/status").read().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

loaded = most()
stored = stored_encoder(sys.argv[1])
recognised = most()
encoder = stored.build(stored.spec)
load_into(encoder, stored, 3)
print(loaded, recognised, most())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", ["pth", "safetensors", "npz"])
def test_loading_takes_hardly_more_memory_than_the_encoder(tmp_path, kind):
    """300 MB of weights; 128 MB of a torch file stay mapped at once."""
    model = VisionTransformer(32, embed_dim=1024, depth=6, num_heads=16, num_classes=0)
    file, size = tmp_path / f"a.{kind}", sum(p.nbytes for p in model.parameters())
    if kind == "npz":
        from test_google_files import published

        arrays = published(1024, 16, 6, 16, side=32)
        np.savez(file, **arrays)
    else:
        (save_file if kind == "safetensors" else torch.save)(model.state_dict(), file)
    del model

    command = [sys.executable, "-c", PEAK, str(file)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    before, recognised, after = map(int, done.stdout.split())
    assert recognised - before < 0.3 * size  # no tensor is read
    assert after - before < 1.6 * size
