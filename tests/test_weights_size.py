"""Where nobody gave a size, pictures are as large as the weights are used to."""

from types import SimpleNamespace

import pytest
import yaml

from launch import launch
from pictures import folder
from vit.cli import weights_size
from vit.cli.weights_size import size_for_weights


@pytest.mark.parametrize(
    ("side", "patch", "expected"),
    [(32, 4, 32), (224, 16, 224), (518, 14, 224), (384, 16, 224), (256, 32, 224), (40, 16, 32)],
)
def test_it_is_the_weights_size_in_whole_patches_and_at_most_224(
    monkeypatch, side, patch, expected
):
    stored = SimpleNamespace(
        spec=SimpleNamespace(image_size=(side, side)), settings={"patch_size": patch}
    )
    monkeypatch.setattr(weights_size, "stored_encoder", lambda path: stored)
    data = {"class_path": "vit.data.ImageFolder", "init_args": {"image_size": None}}
    assert size_for_weights(data, "some weights") == expected
    assert size_for_weights(data, None) is None
    given = data | {"init_args": {"image_size": 64}}
    assert size_for_weights(given, "some weights") is None
    assert size_for_weights(data | {"class_path": "vit.data.Digits"}, "some weights") is None


def test_a_fit_on_weights_of_16_px_shows_16_px_and_its_config_says_so(tmp_path):
    folder(tmp_path / "mine", {"a": 30, "b": 30}, kind="PNG")
    small = ("--data.root", "mine", "--data.workers", "0", "--trainer.max_epochs", "1")
    small += ("--trainer.callbacks", "null", "--trainer.accelerator", "cpu")
    recipe = ("fit", "--config", "configs/finetune/own_images.yaml", *small)
    first = launch(
        *recipe, "--model.encoder", "configs/encoder/mini.yaml", "--data.image_size", "16",
        "--name", "before", cwd=tmp_path,
    )  # fmt: skip
    assert first.code == 0, first.out
    ended = launch(*recipe, "--model.pretrained", str(first.run), cwd=tmp_path)
    assert ended.code == 0, ended.out
    assert "16x16x3 pixels" in ended.out
    settings = yaml.safe_load((tmp_path / ended.run / "config.yaml").read_text())
    assert settings["data"]["init_args"]["image_size"] == 16
    assert ended.out.index("group:") < ended.out.index("estimate: at most about")
