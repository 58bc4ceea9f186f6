"""Weights by name, from caches in the layout of each library; no network is asked."""

import builtins
import os
import socket
import sys
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision.models import VisionTransformer, ViT_B_16_Weights

from test_huggingface import built
from vit.models.weights import fetch, stored_encoder
from vit.models.weights.card import card_of
from vit.models.weights.fetch import hub_cache, is_published_name, weights_by_name


@pytest.fixture(autouse=True)
def away(tmp_path, monkeypatch):
    """Empty caches, and a network that is not there."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(fetch, "getproxies", dict)

    def refused(*_: Any) -> None:
        raise OSError("no route")

    monkeypatch.setattr(socket, "create_connection", refused)


def cached(root: Path, repository: str, files: dict[str, Path], revision: str = "main") -> Path:
    """A repository in Hugging Face's cache: blobs, links to them below a commit, a reference."""
    home = root / "hf" / "hub" / f"models--{repository.replace('/', '--')}"
    snapshot = home / "snapshots" / "0123abcd"
    for folder in (home / "blobs", home / "refs", snapshot):
        folder.mkdir(parents=True, exist_ok=True)
    for name, file in files.items():
        blob = home / "blobs" / f"{len(name)}ff"
        blob.write_bytes(file.read_bytes())
        if os.name == "nt":  # without the right to make links the library copies
            (snapshot / name).write_bytes(blob.read_bytes())
        else:
            (snapshot / name).symlink_to(Path("../../blobs") / blob.name)
    (home / "refs" / revision).write_text("0123abcd\n")
    return snapshot


def hub_files(folder: Path) -> dict[str, Path]:
    built("Dinov2Model").save_pretrained(folder)
    return {file.name: file for file in folder.iterdir()}


def timm_file(folder: Path) -> Path:
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, embed_dim=64, depth=2, num_heads=1
    )
    save_file(model.state_dict(), folder / "model.safetensors")
    return folder / "model.safetensors"


def test_a_repository_is_taken_from_the_cache_with_its_card(tmp_path):
    snapshot = cached(tmp_path, "facebook/dinov2-small", hub_files(tmp_path / "made"))
    assert weights_by_name("hf:facebook/dinov2-small") == snapshot
    held = stored_encoder("hf:facebook/dinov2-small")
    card = card_of(held.lineage[0])
    assert card is not None
    assert (card.name, card.data) == ("facebook/dinov2-small", "LVD-142M")
    assert stored_encoder(Path("hf:facebook/dinov2-small")).settings == held.settings


def test_a_revision_is_taken_where_it_is_named(tmp_path):
    snapshot = cached(tmp_path, "a/b", hub_files(tmp_path / "made"), revision="v2")
    assert weights_by_name("hf:a/b@v2") == snapshot
    with pytest.raises(ValueError, match="hf:a/b is not on this machine"):
        weights_by_name("hf:a/b")


def test_timm_s_file_is_known_by_its_name_though_no_config_lies_beside_it(tmp_path):
    name = "vit_tiny_patch16_224.augreg_in21k"
    cached(tmp_path, f"timm/{name}", {"model.safetensors": timm_file(tmp_path)})
    held = stored_encoder(f"timm:{name}")
    assert held.spec.mean == (0.5, 0.5, 0.5)
    card = card_of(held.lineage[0])
    assert card is not None
    assert (card.data, card.uses_labels) == ("ImageNet-21k", True)


def test_without_a_tag_timm_s_default_is_meant(tmp_path):
    snapshot = cached(
        tmp_path,
        "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k",
        {"model.safetensors": timm_file(tmp_path)},
    )
    assert weights_by_name("timm:vit_tiny_patch16_224") == snapshot
    with pytest.raises(ValueError, match=r"timm:vit_none_such is no name of pre-trained weights"):
        weights_by_name("timm:vit_none_such")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("torchvision:vit_b_16", "vit_b_16-c867db91.pth"),
        ("torchvision:vit_b_16.IMAGENET1K_SWAG_E2E_V1", "vit_b_16_swag-9ac1b537.pth"),
    ],
)
def test_torchvision_s_file_is_taken_from_torch_s_cache(tmp_path, name, file):
    place = tmp_path / "torch" / "hub" / "checkpoints" / file
    place.parent.mkdir(parents=True)
    model = VisionTransformer(32, 16, 2, 2, 64, 128)
    torch.save(model.state_dict(), place)
    assert weights_by_name(name) == place
    assert stored_encoder(name).settings["width"] == 64


@pytest.mark.parametrize(
    ("name", "host", "place"),
    [
        ("hf:facebook/dinov2-small", "huggingface.co",
         "hf/hub/models--facebook--dinov2-small/snapshots/main"),
        ("timm:vit_tiny_patch16_224.augreg_in21k", "huggingface.co",
         "hf/hub/models--timm--vit_tiny_patch16_224.augreg_in21k/snapshots/main"),
        ("torchvision:vit_b_16", "download.pytorch.org",
         "torch/hub/checkpoints/vit_b_16-c867db91.pth"),
    ],
)  # fmt: skip
def test_offline_one_line_says_which_file_to_put_where(tmp_path, name, host, place):
    start = time.monotonic()
    with pytest.raises(ValueError, match="is not on this machine") as caught:
        stored_encoder(name)
    assert time.monotonic() - start < 5
    text = str(caught.value)
    assert text.startswith(f"weights: {name} is not on this machine and {host} cannot be reached")
    assert str(tmp_path / place) in text
    assert "\n" not in text


def test_a_file_that_was_put_where_the_line_said_loads(tmp_path):
    place = hub_cache() / "models--a--b" / "snapshots" / "main"
    place.parent.mkdir(parents=True)
    built("ViTModel").save_pretrained(place)
    assert weights_by_name("hf:a/b") == place
    assert stored_encoder("hf:a/b").settings["width"] == 32


def test_a_resolver_that_never_answers_is_not_waited_for(monkeypatch):
    over = threading.Event()

    def silent(*_: Any) -> None:
        over.wait(30)
        raise OSError("no route")

    monkeypatch.setattr(socket, "create_connection", silent)
    monkeypatch.setattr(fetch, "SECONDS", 0.2)
    start = time.monotonic()
    with pytest.raises(ValueError, match="cannot be reached"):
        weights_by_name("hf:a/b")
    assert time.monotonic() - start < 20
    over.set()


def test_who_says_offline_is_not_asked_twice(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(socket, "create_connection", lambda *_: pytest.fail("it asked"))
    with pytest.raises(ValueError, match="cannot be reached"):
        weights_by_name("hf:a/b")


class Answering:
    def close(self) -> None: ...


def test_with_a_network_the_library_brings_the_file_and_we_read_it(tmp_path, monkeypatch):
    files, asked = hub_files(tmp_path / "made"), []
    monkeypatch.setattr(socket, "create_connection", lambda *_: Answering())

    def bring(repository: str, **how: Any) -> str:
        asked.append((repository, how["revision"], how["allow_patterns"]))
        assert how["cache_dir"] == hub_cache()
        return str(cached(tmp_path, repository, files))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", bring)
    assert stored_encoder("hf:a/b").settings["width"] == 32
    assert [(repository, revision) for repository, revision, _ in asked] == [("a/b", None)]
    assert not any("bin" in pattern for pattern in asked[0][2])  # safetensors first
    stored_encoder("hf:a/b")
    assert len(asked) == 1


def test_what_the_library_says_is_passed_on_in_one_line(monkeypatch):
    monkeypatch.setattr(socket, "create_connection", lambda *_: Answering())

    def gated(*_: Any, **__: Any) -> str:
        raise OSError("401 Client Error.\nAccess to model a/b is restricted.")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", gated)
    with pytest.raises(ValueError, match=r"hf:a/b cannot be fetched \(401 Client Error\.\); put"):
        weights_by_name("hf:a/b")


def test_torchvision_s_file_is_fetched_with_its_hash_and_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "create_connection", lambda *_: Answering())
    asked = []

    def bring(url: str, place: str, begin: str, progress: bool) -> None:
        asked.append((url, begin))
        torch.save(VisionTransformer(32, 16, 2, 2, 64, 128).state_dict(), place)

    monkeypatch.setattr(torch.hub, "download_url_to_file", bring)
    monkeypatch.setattr(ViT_B_16_Weights, "get_state_dict", lambda *_: pytest.fail("it opened it"))
    assert stored_encoder("torchvision:vit_b_16").settings["depth"] == 2
    assert asked == [("https://download.pytorch.org/models/vit_b_16-c867db91.pth", "c867db91")]


@pytest.mark.parametrize(("module", "name"), [("huggingface_hub", "hf:a/b"), ("timm", "timm:vit")])
def test_a_library_that_is_missing_is_one_line(monkeypatch, module, name):
    real = builtins.__import__

    def absent(target: str, *rest: Any, **more: Any) -> ModuleType:
        if target.split(".")[0] == module:
            raise ImportError(target)
        return real(target, *rest, **more)

    for loaded in [key for key in sys.modules if key.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setattr(builtins, "__import__", absent)
    message = (
        r'install -e "\.\[released\]" to fetch' if module != "timm" else "needs its tag, as in"
    )
    with pytest.raises(ValueError, match=message):
        weights_by_name(name)


@pytest.mark.parametrize("name", ["hf:dinov2", "hf:../../etc", "hf:a/b/c", "hf:a/b@../x", "hf:"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(ValueError, match="is no name; as in hf:facebook/dinov2-small"):
        weights_by_name(name)


@pytest.mark.parametrize("name", ["torchvision:vit_z_9", "torchvision:vit_b_16.NONE"])
def test_what_torchvision_does_not_know_is_refused(name):
    with pytest.raises(ValueError, match="is no name of weights in torchvision; as in"):
        weights_by_name(name)


def test_a_path_is_no_name(tmp_path):
    assert not any(map(is_published_name, (tmp_path, "runs/a", "C:/weights", "http://x/y.pth")))
    assert is_published_name("timm:vit_small_patch16_224")


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"HF_HUB_CACHE": "/x"}, "/x"),
        ({"HUGGINGFACE_HUB_CACHE": "/y"}, "/y"),
        ({"HF_HOME": "/z"}, "/z/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
    ],
)
def test_the_cache_is_where_the_library_looks(monkeypatch, variables, place):
    """Their own rule, in `huggingface_hub.constants`."""
    monkeypatch.delenv("HF_HOME")
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    assert hub_cache() == Path(place)
