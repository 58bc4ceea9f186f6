"""Every config is a document that parses, and every objective file has its config and its test."""

import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from lightning import LightningDataModule
from torch.nn import functional as F

from launch import ROOT, launch
from vit.batch import DataSpec
from vit.models import ViT

CONFIGS = ROOT / "configs"
LEAVES = sorted(f for kind in ("data", "augmentation", "encoder", "objective", "trainer")
                for f in (CONFIGS / kind).glob("*.yaml"))  # fmt: skip
RECIPES = sorted([*CONFIGS.glob("*.yaml"), *(CONFIGS / "pretrain").glob("*.yaml"),
                  *(CONFIGS / "finetune").glob("*.yaml"),
                  *(CONFIGS / "imagenet").glob("*.yaml")])  # fmt: skip
OBJECTIVES = sorted(f.stem for f in (ROOT / "src/vit/objectives").glob("*.py")
                    if f.stem not in ("__init__", "base"))  # fmt: skip


def name(file: Path) -> str:
    return str(file.relative_to(CONFIGS))


@pytest.mark.parametrize("file", LEAVES, ids=name)
def test_a_leaf_is_short_and_says_what_it_is(file):
    lines = file.read_text().splitlines()
    assert len(lines) <= 25
    assert lines[0].startswith("# ")


@pytest.mark.parametrize("file", RECIPES, ids=name)
def test_a_recipe_carries_its_header(file):
    header = "\n".join(line for line in file.read_text().splitlines() if line.startswith("#"))
    for word in ("Paper:", "Here:", "Run:"):
        assert word in header, f"{file.name} lacks {word}"
    command = re.search(r"Run: +python train.py fit --config (\S+)", header)
    assert command, f"{file.name}: no command"
    assert (ROOT / command[1]) == file


@pytest.mark.parametrize("file", RECIPES, ids=name)
def test_a_recipe_parses(tmp_path, file):
    ended = launch(
        "fit", "--config", f"configs/{name(file)}", "--print_config=skip_null", cwd=tmp_path
    )
    assert ended.code == 0, ended.out
    settings = yaml.safe_load(ended.out)
    assert settings["seed_everything"] == 0
    if "imagenet" in str(settings["data"].get("class_path")).lower():
        assert built(settings["data"], tmp_path).spec.classes == ("n01", "n02")


def built(node: dict, folder: Path) -> LightningDataModule:
    """The recipe's data on two classes of four files."""
    for part in ("", "train/", "val/"):
        for wnid in ("n01", "n02"):
            (folder / part / wnid).mkdir(parents=True)
            for number in range(4):
                (folder / part / wnid / f"{wnid}_{number}.JPEG").write_bytes(b"")
    if not node["class_path"].endswith("ImageNet"):
        shutil.rmtree(folder / "train")
        shutil.rmtree(folder / "val")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data")
    node["init_args"]["root"] = str(folder)
    return parser.instantiate(parser.parse_object({"data": node})).data


@pytest.mark.parametrize("recipe", ["dino_s16", "ibot_s16"])
def test_small_views_have_the_positions_of_dinos_code(recipe):
    """Bicubic, by a scale that is a tenth of a patch too large (its interpolate_pos_encoding)."""
    file = CONFIGS / f"imagenet/{recipe}.yaml"
    if not file.is_file():
        pytest.skip("the objective was removed")
    settings = yaml.safe_load(file.read_text())["model"]["encoder"]["init_args"]
    spec = DataSpec(("a", "b"), (224, 224), 3, (0.5,) * 3, (0.5,) * 3)
    encoder = ViT(spec, **settings | {"size": None, "width": 8, "depth": 1, "patch_size": 16,
                                      "heads": 2})  # fmt: skip
    table = encoder.pos_embed[:, 1:].reshape(1, 14, 14, 8).permute(0, 3, 1, 2)
    expected = F.interpolate(table, scale_factor=(6.1 / 14, 6.1 / 14), mode="bicubic")
    found = encoder.add_position(torch.zeros(1, 36, 8), (6, 6))
    torch.testing.assert_close(found[0], expected.flatten(2)[0].T)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_objective_has_its_config_and_its_test(objective):
    config, test = f"configs/objective/{objective}.yaml", f"tests/test_{objective}.py"
    assert (ROOT / config).is_file(), f"{objective} wants a config: {config}"
    assert (ROOT / test).is_file(), f"{objective} wants a test: {test}"


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("encoder", ["tiny", "resnet18"])
def test_every_objective_trains_on_every_encoder_or_refuses_it_in_one_line(
    tmp_path, objective, encoder
):
    ended = launch(
        "fit", "--config", "configs/pretrain/supervised.yaml",
        "--trainer", "configs/trainer/debug.yaml",
        "--model.objective", f"configs/objective/{objective}.yaml",
        "--model.encoder", f"configs/encoder/{encoder}.yaml",
        "--trainer.limit_train_batches", "2", "--data.batch_size", "16", cwd=tmp_path,
    )  # fmt: skip
    if ended.code == 2:
        refusals = ("needs a TokenEncoder, got a ResNet", "teacher must name a ")
        assert any(line in ended.out for line in refusals), ended.out
    else:
        assert ended.code == 0, ended.everything
        assert "run: " in ended.out


def keys_of(settings: dict, above: str = "") -> set[str]:
    found = set()
    for key, value in settings.items():
        path = above + key
        found.add(path)
        if isinstance(value, dict):
            found |= keys_of(value, path.replace(".init_args", "") + ".")
    return {path.replace(".init_args", "") for path in found}


def test_every_key_of_the_guide_is_there(tmp_path):
    rows = re.findall(r"^\| `([\w.]+)` \|", (CONFIGS / "README.md").read_text(), re.MULTILINE)
    unknown, words = set(rows), ("fit", "--config", "configs/quickstart.yaml", "--print_config")
    for data in ("digits", "flowers102", "imagenet"):  # in memory, and files
        ended = launch(*words, "--data", f"configs/data/{data}.yaml", cwd=tmp_path)
        unknown -= keys_of(yaml.safe_load(ended.out))
    assert len(rows) > 30
    assert not unknown


@pytest.mark.parametrize("leaf", sorted((CONFIGS / "augmentation").glob("*.yaml")), ids=name)
def test_a_leaf_of_augmentation_replaces_what_the_data_has(tmp_path, leaf):
    words = ("--data", "configs/data/cifar10.yaml", "--data.augmentation", str(leaf))
    ended = launch("fit", "--config", "configs/pretrain/supervised.yaml", *words,
                   "--print_config", cwd=tmp_path)  # fmt: skip
    assert ended.code == 0, ended.out
    merged = yaml.safe_load(ended.out)["data"]["init_args"]["augmentation"]
    for key, value in yaml.safe_load(leaf.read_text()).items():
        whole = merged[key] if not isinstance(value, dict) else {k: merged[key][k] for k in value}
        assert whole == value
