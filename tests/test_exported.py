"""An export that is opened again answers as the run it was made of, file by file."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import vit
from launch import launch
from pictures import picture
from test_predict import odd, run  # noqa: F401  fixtures
from vit.exported import check_several

NAMES = ("plain.jpg", "grey.png", "inks.jpg", "deep/turned.jpg", "clear.png", "dot.png", "wide.jpg")


EXPORT = """
import sys
from pathlib import Path

from vit.export.subject import subject_of
from vit.export.writing import export_model

run = Path(sys.argv[1])
places = {kind: run / "export" / kind for kind in ("onnx", "safetensors", "timm")}
export_model(subject_of(run), places, [])
"""


@pytest.fixture(scope="module")
def exports(run) -> dict[str, Path]:  # noqa: F811
    """Written in a process of its own: what checks the types of tests cannot be traced."""
    places = {kind: run / "export" / kind for kind in ("onnx", "safetensors", "timm")}
    subprocess.run([sys.executable, "-c", EXPORT, str(run)], check=True)
    return places


@pytest.mark.parametrize(("kind", "off"), [("safetensors", 1e-6), ("timm", 1e-6), ("onnx", 1e-4)])
def test_load_opens_an_export_with_its_classes_and_transform(run, odd, exports, kind, off):  # noqa: F811
    expected, model = vit.load(run), vit.load(exports[kind])
    assert model.classes == expected.classes
    for name in NAMES:
        chances = model.predict([odd / name, odd / name])
        torch.testing.assert_close(
            chances[1:], expected.predict([odd / name]), atol=off, rtol=0, msg=name
        )
        opened = [model.preprocess(odd / name)]
        torch.testing.assert_close(chances[:1], model.predict(opened))


def test_predict_asks_an_exported_graph(odd, exports, tmp_path):  # noqa: F811
    ended = launch("predict", "--from", str(exports["onnx"]), "--images", str(odd), cwd=tmp_path)
    assert ended.code == 0, ended.everything
    rows = list(csv.DictReader((tmp_path / "predictions.csv").read_text().splitlines()))
    model = vit.load(exports["onnx"])
    for row in rows:
        if not row["error"]:
            best = model.predict([row["file"]])[0].max().item()
            assert float(row["probability_1"]) == pytest.approx(best, abs=1e-6)
    assert sum(bool(row["error"]) for row in rows) == 2


def test_pictures_in_memory_are_taken_too(odd, exports):  # noqa: F811
    model = vit.load(exports["onnx"])
    opened = Image.open(odd / "plain.jpg")
    torch.testing.assert_close(model.predict([opened]), model.predict([odd / "plain.jpg"]))


@pytest.mark.parametrize("single", ["a.png", Path("a.png"), Image.new("L", (2, 2))])
def test_one_picture_is_told_to_come_in_a_list(single):
    with pytest.raises(ValueError, match="is one picture, and a list is needed"):
        check_several(single)
    check_several([single])


@pytest.mark.parametrize("kind", ["safetensors", "onnx"])
def test_an_empty_list_is_named_by_every_model(exports, kind):
    with pytest.raises(ValueError, match="no picture in the list"):
        vit.load(exports[kind]).predict([])


@pytest.mark.parametrize("kind", ["safetensors", "timm"])
def test_an_export_inside_its_run_s_folder_is_exported_again(odd, exports, kind, tmp_path):  # noqa: F811
    out = tmp_path / "again"
    ended = launch(
        *("export", str(exports[kind]), "--to", "safetensors", "--out", str(out)), cwd=tmp_path
    )
    assert ended.code == 0, ended.everything
    expected = vit.load(exports[kind]).predict([odd / "plain.jpg"])
    torch.testing.assert_close(vit.load(out).predict([odd / "plain.jpg"]), expected)


def test_a_damaged_description_is_one_line(exports, tmp_path):
    folder = tmp_path / "export"
    folder.mkdir()
    about = json.loads((exports["onnx"] / "export.json").read_text())
    del about["classes"]
    (folder / "export.json").write_text(json.dumps(about))
    (folder / "model.onnx").write_bytes((exports["onnx"] / "model.onnx").read_bytes())
    picture().save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"export.json is damaged .*; export it again"):
        vit.load(folder)
    told = launch("predict", "--from", "export", "--images", "a.png", cwd=tmp_path)
    assert told.code == 2
    assert "export it again" in told.out
