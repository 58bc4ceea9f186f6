"""Loose pictures get the answers of `vit.load`, whatever they are and wherever they lie."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vit
from launch import ROOT, launch
from pictures import folder, picture
from vit.cli.predict import named_pictures

TINY = (
    *("--trainer.max_epochs", "2", "--trainer.enable_progress_bar", "false"),
    *("--trainer.check_val_every_n_epoch", "1", "--trainer.val_check_interval", "1.0"),
    *("--model.encoder.width", "32", "--model.encoder.depth", "2", "--model.encoder.heads", "2"),
    *("--data.workers", "0", "--data.batch_size", "8", "--data.image_size", "24"),
)


def trained(where: Path, *argv: str) -> Path:
    ended = launch(
        "fit", "--config", "configs/finetune/default.yaml", "--data",
        "configs/data/image_folder.yaml", "--model.encoder", "configs/encoder/tiny.yaml", *TINY,
        *argv, cwd=where,
    )  # fmt: skip
    assert ended.code == 0, ended.everything
    return where / ended.run


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run whose pictures are gone: prediction needs none of them."""
    where = tmp_path_factory.mktemp("work")
    folder(where / "pets", {"cat": 20, "dog": 20, "fox": 20}, width=50, height=40)
    made = trained(where, "--data.root", "pets", "--data.center_crop_ratio", "0.875")
    for path in (where / "pets").rglob("*.jpg"):
        path.unlink()
    return made


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> Path:
    """Pictures as people have them: grey, four inks, turned, clear, tiny, and two that lie."""
    where = tmp_path_factory.mktemp("odd") / "holiday"
    (where / "deep").mkdir(parents=True)
    picture(0).save(where / "plain.jpg")
    picture(1, mode="L").save(where / "grey.png")
    picture(2, mode="CMYK").save(where / "inks.jpg")
    exif = Image.Exif()
    exif[274] = 6
    picture(3).save(where / "deep" / "turned.jpg", exif=exif)
    clear = picture(4).convert("RGBA")
    clear.putalpha(Image.fromarray(np.full((30, 40), 90, np.uint8)))
    clear.save(where / "clear.png")
    picture(5, 1, 1).save(where / "dot.png")
    picture(1, 300, 7).save(where / "wide.jpg")
    (where / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    (where / "notes.txt").write_text("no picture")
    (where / ".hidden.jpg").write_bytes(b"")
    (where / "phone.heic").write_bytes(b"\0\0\0\x20ftypheic")
    return where


def predict(*argv: str, cwd: Path):
    return launch("predict", *argv, cwd=cwd)


def rows_of(table: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(table.read_text().splitlines()))


def test_odd_pictures_get_the_answers_of_load(run, odd):
    ended = predict("--from", str(run), "--images", str(odd), "--top", "3", cwd=run.parents[2])
    assert ended.code == 0, ended.everything
    rows = {Path(row["file"]).name: row for row in rows_of(run / "predictions.images.csv")}
    assert sorted(rows) == [
        "clear.png", "dot.png", "grey.png", "inks.jpg", "phone.heic", "plain.jpg", "torn.jpg",
        "turned.jpg", "wide.jpg",
    ]  # fmt: skip
    model = vit.load(run)
    for name, row in rows.items():
        if name in ("torn.jpg", "phone.heic"):
            assert row["error"].startswith("cannot be read as an image")
            assert row["class_1"] == row["probability_3"] == ""
            assert f"{row['file']}: cannot be read as an image" in ended.everything
            continue
        chances = model.predict([row["file"]])[0]
        order = chances.argsort(descending=True).tolist()
        assert [row[f"class_{i}"] for i in (1, 2, 3)] == [model.classes[i] for i in order]
        written = torch.tensor([float(row[f"probability_{i}"]) for i in (1, 2, 3)])
        torch.testing.assert_close(written, chances[order], atol=1e-6, rtol=0)
    assert ended.out.splitlines()[-1] == (
        f"9 pictures, 2 of them unreadable; predictions: {run / 'predictions.images.csv'}"
    )


def test_a_picture_that_is_not_turned_would_be_told_otherwise(run, odd):
    """A planted fault: the same pixels without their EXIF tag get other chances."""
    model = vit.load(run)
    turned = odd / "deep" / "turned.jpg"
    upright = Image.open(turned).convert("RGB")
    upright.info.clear()
    plain = Image.fromarray(np.asarray(upright))
    assert (model.predict([turned]) - model.predict([plain])).abs().max() > 1e-5


def test_json_names_the_best_classes_of_single_files(run, odd, tmp_path):
    files = [str(odd / "plain.jpg"), str(odd / "torn.jpg")]
    out = tmp_path / "told.json"
    ended = predict("--images", *files, "--from", str(run / "checkpoints" / "last.ckpt"),
                    "--out", str(out), "--top", "2", cwd=tmp_path)  # fmt: skip
    assert ended.code == 0, ended.everything
    first, second = json.loads(out.read_text())
    chances = vit.load(run).predict(files[:1])[0]
    assert first["file"] == files[0]
    assert [p["class"] for p in first["predictions"]] == [
        vit.load(run).classes[i] for i in chances.topk(2).indices.tolist()
    ]
    assert first["predictions"][0]["probability"] == pytest.approx(chances.max().item(), abs=1e-6)
    assert second == {"file": files[1], "error": "cannot be read as an image (no image)"}


def test_a_file_s_answers_stand_in_the_working_folder(run, odd, tmp_path):
    file = run / "checkpoints" / "last.ckpt"
    ended = predict("--from", str(file), "--images", str(odd / "plain.jpg"), cwd=tmp_path)
    assert ended.out.splitlines()[-1] == "1 picture; predictions: predictions.csv"
    assert (tmp_path / "predictions.csv").is_file()


def test_of_several_labels_every_one_has_its_own_probability(tmp_path):
    folder(tmp_path / "pets", {"": 40})
    names = sorted(path.name for path in (tmp_path / "pets").glob("*.jpg"))
    kinds = ("red;big", "red", "big", "green;big")
    rows = [f"{name},{kinds[i % 4]}" for i, name in enumerate(names)]
    (tmp_path / "pets" / "labels.csv").write_text("\n".join(["file,labels", *rows]))
    run = trained(tmp_path, "--data.root", "pets", "--model.objective.loss", "sigmoid")
    image = tmp_path / "pets" / names[0]
    ended = predict("--from", str(run), "--images", str(image), "--top", "1", cwd=tmp_path)
    assert ended.code == 0, ended.everything
    (row,) = rows_of(run / "predictions.images.csv")
    expected = vit.load(run).predict([image])[0]
    written = torch.tensor([float(row[f"p_{name}"]) for name in ("big", "green", "red")])
    torch.testing.assert_close(written, expected, atol=1e-6, rtol=0)


def test_an_encoder_that_tells_no_classes_says_what_to_do(tmp_path):
    ended = launch("fit", "--config", "configs/pretrain/mpp.yaml", "--trainer.callbacks", "null",
                   *TINY[:10], "--trainer.max_epochs", "1", "--model.encoder.heads", "2",
                   cwd=tmp_path)  # fmt: skip
    assert ended.code == 0, ended.everything
    picture().save(tmp_path / "a.png")
    told = predict("--from", str(ended.run), "--images", "a.png", cwd=tmp_path)
    assert told.code == 2
    assert "tells no classes; fine-tune it first: python train.py fit --config" in told.out


MISTAKES = {
    "--images needs files or a folder": ("--from", "x.ckpt", "--images"),
    "--from needs a run, a checkpoint": ("--images", "."),
    "--data is not needed: the model knows its classes": (
        "--from", "x", "--images", ".", "--data", "configs/data/digits.yaml"),
    "no such file or run folder: x.ckpt": ("--from", "x.ckpt", "--images", "."),
    "no picture below empty": ("--from", "blank.ckpt", "--images", "empty"),
    "gone.jpg: no such file or folder": ("--from", "blank.ckpt", "--images", "gone.jpg"),
    "--top counts classes from 1, got 0": ("--from", "x", "--images", ".", "--top", "0"),
    "--to: 'xml' is not written; known: csv, json": ("--from", "x", "--images", ".", "--to=xml"),
    "needs to be a file in a folder that is there": (
        "--from", "blank.ckpt", "--images", "a.png", "--out", "gone/x.csv"),
    "--out: a.png is one of the pictures": (
        "--from", "blank.ckpt", "--images", "empty/../a.png", "--out", "./a.png"),
    "notes.txt is a text file; give a run folder": ("--from", "notes.txt", "--images", "a.png"),
    "--images needs files": ("--from", "x", "--top", "3"),
}  # fmt: skip


@pytest.mark.parametrize("message", MISTAKES, ids=lambda m: m[:30])
def test_a_mistake_is_one_line_before_torch_is_loaded(tmp_path, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "blank.ckpt").write_bytes(b"PK\x03\x04 not yet looked into")
    (tmp_path / "notes.txt").write_text("my weights")
    picture().save(tmp_path / "a.png")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from vit.cli import main;"
        "code = main(sys.argv[2:]); assert 'torch' not in sys.modules; sys.exit(code)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "src"), "predict", *MISTAKES[message]],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 2, told.stderr
    assert message in told.stderr
    assert told.stderr.count("\n") == 1, told.stderr


def test_a_first_answer_waits_for_no_lightning(run, odd):
    """Seconds that nobody needs: what loads is torch, Pillow, and a tenth of this project."""
    code = (
        "import sys; from vit.cli import main; code = main(sys.argv[1:]);"
        "heavy = {'lightning', 'torchvision', 'torchmetrics', 'sklearn', 'scipy', 'matplotlib'};"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys(); sys.exit(code)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, "predict", "--from", str(run), "--images",
         str(odd / "plain.jpg")], cwd=odd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert "plain.jpg: " in told.stdout


def test_files_are_told_once_and_folders_in_order(odd):
    files = named_pictures([str(odd / "wide.jpg"), str(odd)])
    assert files[0] == str(odd / "wide.jpg")
    assert files[1:] == sorted(set(files[1:]))
    assert str(odd / "deep" / "turned.jpg") in files
    assert files.count(str(odd / "wide.jpg")) == 1


def test_a_picture_among_broken_ones_keeps_its_own_answer(run, odd, tmp_path):
    """Answers stay with their files where others of the batch are left out."""
    names = [odd / "torn.jpg", odd / "plain.jpg", odd / "torn.jpg", odd / "grey.png"]
    for number, name in enumerate(names):
        (tmp_path / f"{number}{name.suffix}").write_bytes(name.read_bytes())
    out = tmp_path / "told.csv"
    predict("--from", str(run), "--images", str(tmp_path), "--out", str(out), cwd=tmp_path)
    rows = rows_of(out)
    assert [bool(row["error"]) for row in rows] == [True, False, True, False]
    for row, name in ((rows[1], names[1]), (rows[3], names[3])):
        best = vit.load(run).predict([name])[0].max().item()
        assert float(row["probability_1"]) == pytest.approx(best, abs=1e-6)


def test_tensors_pictures_and_paths_are_one_to_the_model(run, odd):
    model, path = vit.load(run), odd / "plain.jpg"
    shown = model.preprocess(path)
    together = model.predict([shown, Image.open(path).convert("RGB"), path])
    torch.testing.assert_close(together[0], together[2])
    torch.testing.assert_close(together[0], model.predict(shown[None])[0])
