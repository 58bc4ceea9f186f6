"""`vit.load` says what `predict` says, of files and of pictures; its README example runs."""

import csv
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from timm.models.vision_transformer import VisionTransformer

import vit
from launch import ROOT, launch
from pictures import folder
from vit.data import Digits

TINY = (
    *("--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"),
    *("--trainer.check_val_every_n_epoch", "1", "--trainer.val_check_interval", "1.0"),
    *("--model.encoder.width", "32", "--model.encoder.depth", "2", "--model.encoder.heads", "2"),
)


def trained(where: Path, *argv: str) -> Path:
    ended = launch("fit", *argv, *TINY, cwd=where)
    assert ended.code == 0, ended.everything
    return where / ended.run


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[Path, Path]:
    """A run on pictures that evaluation shows by their middle, and where they lie."""
    where = tmp_path_factory.mktemp("files")
    folder(where / "pictures", {"a": 20, "b": 20}, width=50, height=40)
    run = trained(
        where, "--config", "configs/finetune/default.yaml", "--data",
        "configs/data/image_folder.yaml", "--data.root", str(where / "pictures"),
        "--data.image_size", "24", "--data.center_crop_ratio", "0.875", "--data.batch_size", "8",
        "--data.workers", "0", "--model.encoder", "configs/encoder/tiny.yaml",
    )  # fmt: skip
    return run, where / "pictures"


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    where = tmp_path_factory.mktemp("digits")
    return trained(where, "--config", "configs/quickstart.yaml", "--model.ema", "0.9")


def predictions(run: Path) -> list[dict[str, str]]:
    ended = launch("predict", "--from", str(run), cwd=run.parents[2])
    assert ended.code == 0, ended.everything
    with (run / "predictions.csv").open() as file:
        return list(csv.DictReader(file))


def test_files_get_the_probabilities_of_the_verb(files):
    run, root = files
    model, rows = vit.load(run), predictions(run)
    assert model.classes == ("a", "b")
    chances = model.predict([root / row["file"] for row in rows])
    expected = torch.tensor([[float(row["p_a"]), float(row["p_b"])] for row in rows])
    torch.testing.assert_close(chances, expected, atol=2e-6, rtol=0)  # six digits are written


def test_pictures_without_the_runs_presentation_would_be_told_apart_otherwise(files):
    """A planted fault: squeezed instead of cut, which is what an export easily forgets."""
    run, root = files
    model, rows = vit.load(run), predictions(run)
    names = [root / row["file"] for row in rows]
    honest = model.predict(names)
    model.preprocess = type(model.preprocess)(model.preprocess.spec)
    assert (model.predict(names) - honest).abs().max() > 1e-5


def test_averaged_weights_are_the_ones_that_are_used(digits):
    model, rows = vit.load(digits), predictions(digits)
    images = Digits().open("test").images
    pictures = [Image.fromarray(images[int(row["index"])][0].numpy()) for row in rows[:50]]
    expected = [[float(row[f"p_{name}"]) for name in model.classes] for row in rows[:50]]
    torch.testing.assert_close(model.predict(pictures), torch.tensor(expected), atol=2e-6, rtol=0)


def test_features_are_those_of_the_encoder_and_nothing_learns(digits):
    model = vit.load(digits / "checkpoints" / "last.ckpt")
    pictures = [Image.new("L", (8, 8), shade) for shade in (0, 200)]
    pooled = model.features(pictures).pooled
    shown = torch.stack([model.preprocess(picture) for picture in pictures])
    assert torch.equal(pooled, model.encoder(shown).pooled)
    assert not pooled.requires_grad
    assert not model.training


def test_a_training_without_classes_says_what_to_do(tmp_path):
    run = trained(tmp_path, "--config", "configs/pretrain/mpp.yaml", "--trainer.callbacks", "null")
    model = vit.load(run)
    assert model.features([Image.new("L", (8, 8))]).pooled.shape == (1, 32)
    with pytest.raises(ValueError, match="predicts no classes; fine-tune it first"):
        model.predict([Image.new("L", (8, 8))])


def test_released_weights_with_a_head_tell_its_classes(tmp_path):
    """timm's own network says what they are; nobody named the five classes."""
    torch.manual_seed(0)
    size = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 1}
    network = VisionTransformer(**size, num_classes=5).eval().requires_grad_(False)
    torch.nn.init.normal_(network.head.weight)
    torch.save(network.state_dict(), tmp_path / "released.pth")
    model = vit.load(tmp_path / "released.pth")
    assert model.classes == tuple("01234")
    image = Image.effect_noise((50, 40), 90).convert("RGB")
    shown = model.preprocess(image)[None]
    torch.testing.assert_close(model.predict([image]), network(shown).softmax(-1))


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="checkpoint: no such file or run folder"):
        vit.load(tmp_path / "nothing")


def test_the_readmes_lines_run(files, monkeypatch):
    run, root = files
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    assert len(code.strip().splitlines()) <= 10
    pictures = [str(root / "a" / "0000.jpg"), str(root / "b" / "0020.jpg")]
    code = code.replace("logs/default/<run>", str(run)).replace(
        '"a.png", "b.png"', str(pictures)[1:-1]
    )
    scope: dict = {}
    exec(code, scope)
    assert scope["chances"].shape == (2, 2)
    assert set(scope["best"]) <= {"a", "b"}
    assert scope["pooled"].shape == (2, 32)
    assert scope["pixels"].shape == (3, 24, 24)


def test_the_package_itself_loads_nothing():
    import subprocess
    import sys

    code = "import sys, vit; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
