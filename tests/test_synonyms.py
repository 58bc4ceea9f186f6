"""Habits from other programs are answered with the key that is meant, and that key is there."""

import inspect

import pytest
import torch

from launch import launch
from vit.batch import ViewSpec
from vit.cli.synonyms import SYNONYMS
from vit.data import ImageFolder
from vit.data.base import Images
from vit.data.file_images import FileImages
from vit.data.transforms import Augmentation
from vit.models import ViT
from vit.module import ViTModule
from vit.objectives.parts.mixing import Mixing
from vit.objectives.parts.multi_crop import MultiCrop
from vit.objectives.supervised import Supervised
from vit.optim.schedules import Cosine, WarmupStableDecay

CHECKPOINT = {  # enough of one that options are what is wrong
    "format": 1, "config": "model: {}", "encoder": {}, "global_step": 0,
    "state_dict": {"w": torch.ones(1)},
}  # fmt: skip
HOMES = {  # where the last part of a key is an argument
    "data": (Images, FileImages, ImageFolder),
    "data.augmentation": (Augmentation,),
    "model": (ViTModule,),
    "model.encoder": (ViT,),
    "model.objective": (Supervised,),
    "model.objective.mixing": (Mixing,),
    "model.objective.crops": (ViewSpec, MultiCrop),
    "model.schedule": (Cosine, WarmupStableDecay),
}


@pytest.mark.parametrize("meant", sorted({key.split(",")[0] for key in SYNONYMS.values()}))
def test_the_key_that_is_named_is_there(meant):
    home, _, last = meant.partition(" ")[0].rpartition(".")
    if home in HOMES:
        known = {name for kind in HOMES[home] for name in inspect.signature(kind).parameters}
        assert last in known
    else:
        assert home in ("trainer", "model.clip", "model.optimizer", "")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (("--model.optimizer.learning_rate", "0.1"), "model.optimizer.lr"),
        (("--learning_rate", "0.1"), "model.optimizer.lr"),
        (("--lr=0.1",), "model.optimizer.lr"),
        (("--epochs", "3"), "trainer.max_epochs"),
        (("--data.batch", "8"), "data.batch_size"),
        (("--data.augmentation.colour", "0.4"), "model.objective.crops.photometric"),
        (("--model.objective.color_jitter", "0.4"), "model.objective.crops.photometric"),
        (
            ("--trainer.patience", "3"),
            "model.schedule.patience (WarmupStableDecay; see configs/README.md)",
        ),
    ],
)
def test_a_habit_is_answered_with_our_key(tmp_path, typed, meant):
    told = launch("fit", "--config", "configs/quickstart.yaml", *typed, cwd=tmp_path)
    assert told.code == 2
    assert f"did you mean {meant}?" in told.everything
    assert told.everything.count("\n") == 1


def test_help_all_shows_the_keys_of_augmentation(tmp_path):
    told = launch("fit", "--help-all", cwd=tmp_path)
    assert told.code == 0
    for key in ("crop_area", "flip", "randaugment.magnitude", "erasing.probability"):
        assert f"--data.augmentation.{key}" in told.out
    assert "--trainer.max_epochs" in told.out
    assert "--data.help ImageFolder" in told.out


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (("fit", "--config", "configs/quickstart.yaml", "--weigths", "x"), "model.pretrained?"),
        (("fit", "--config", "configs/quickstart.yaml", "--resmue", "x"), "'resume'?"),
        (("compare", "--config", "configs/compare/released.yaml", "--weigths", "a", "b"),
         "--weights?"),
        (("export", "x.ckpt", "--too", "onnx"), "--to?"),
        (("evaluate", "x.ckpt", "--protocol", "knn"), "--protocols?"),
        (("predict", "--from", "x.ckpt", "--image", "."), "--images?"),
        (("predict", "--form", "x.ckpt", "--images", "."), "--from?"),
    ],
)  # fmt: skip
def test_a_slip_in_an_option_of_ours_is_answered_with_the_option(tmp_path, typed, meant):
    torch.save(CHECKPOINT, tmp_path / "x.ckpt")
    told = launch(*typed, cwd=tmp_path)
    assert told.code == 2
    assert told.everything.rstrip().endswith(f"did you mean {meant}"), told.everything
    assert told.everything.count("\n") == 1
