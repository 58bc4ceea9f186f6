"""`export` on a whole run: what lies in the folder, what it says, and what it refuses."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import vit
from launch import launch
from pictures import folder
from vit.cli.export import next_line
from vit.export.as_onnx import OnnxRunner
from vit.export.example import example_for
from vit.export.formats import FORMATS
from vit.export.int8 import Quantised
from vit.export.subject import subject_of
from vit.export.verify import ExportDifference
from vit.export.writing import Written, as_sentence

TINY = (
    *("--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"),
    *("--trainer.check_val_every_n_epoch", "1", "--trainer.val_check_interval", "1.0"),
    *("--model.encoder.width", "32", "--model.encoder.depth", "2", "--model.encoder.heads", "2"),
)
WITHOUT = """
import runpy, sys
sys.modules |= dict.fromkeys(("torch", "torchvision", "vit", "lightning"))  # not to be imported
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run on pictures that evaluation shows by their middle."""
    where = tmp_path_factory.mktemp("run")
    folder(where / "pictures", {"a": 20, "b": 20}, width=50, height=40)
    ended = launch(
        *("fit", "--config", "configs/finetune/default.yaml"),
        *("--data", "configs/data/image_folder.yaml", "--data.root", str(where / "pictures")),
        *("--data.image_size", "24", "--data.center_crop_ratio", "0.875"),
        *("--data.batch_size", "8", "--data.workers", "0", "--name", "flowers"),
        *("--model.encoder", "configs/encoder/tiny.yaml"),
        *TINY,
        cwd=where,
    )
    assert ended.code == 0, ended.everything
    return where / ended.run


@pytest.fixture(scope="module")
def written(run):
    """What the verb says, and the folder of an ONNX export with 8 bits beside it."""
    ended = launch("export", str(run), "--to", "onnx,timm", "--int8", cwd=run.parents[2])
    assert ended.code == 0, ended.everything
    return ended.out, run / "export" / "onnx"


def test_the_lines_say_what_was_written_how_far_it_is_and_what_to_type(written):
    out, place = written
    for kind in ("onnx", "timm"):
        line = re.search(rf"{kind}: (\S+), [\d.]+ MB; largest difference to the model: (\S+)", out)
        assert Path(line[1]) == place.parent / kind
        assert float(line[2]) < 0.01
    assert f"next: python train.py predict --from {place} --images" in out
    assert re.search(r"int8: accuracy [\d.]+ % -> [\d.]+ % on 4 validation pictures", out)
    assert "warning" not in out.lower()


def test_a_library_that_resizes_by_itself_is_named_beside_its_difference():
    difference = ExportDifference(4e-3, 2e-7, None, 14)
    why = "4.0e-03 from 14 encoded files (timm resizes them itself: some pixels differ by"
    assert why in as_sentence(difference, "timm")
    assert "itself" not in as_sentence(difference, "safetensors")


def test_predict_is_the_next_step_only_of_what_it_opens(tmp_path):
    none = ExportDifference(None, None, None, 0)
    folders = {kind: Written(tmp_path / kind, kind, 0.0, none) for kind in FORMATS}
    everything, graph = list(folders.values()), [folders["torch-export"]]
    assert f"predict --from {tmp_path / 'onnx'} " in next_line(everything, tells_classes=True)
    assert f"{tmp_path / 'onnx' / 'README.md'} says" in next_line(everything, tells_classes=False)
    for tells in (True, False):
        assert "--images" not in next_line(graph, tells)
    assert f"predict --from {tmp_path / 'timm'} " in next_line([*graph, folders["timm"]], True)


def test_the_folder_describes_itself(run, written):
    about = json.loads((written[1] / "export.json").read_text())
    assert about["format"] == "onnx"
    assert about["classes"] == ["a", "b"]
    assert about["preprocessing"]["center_crop_ratio"] == 0.875
    assert about["verified"]["pictures"] == 16  # the odd ones, and the run's validation split
    assert about["int8"]["pictures"] == 4
    assert about["card"]["data"] == "ImageFolder (pictures)"
    page = (written[1] / "README.md").read_text()
    summary = json.loads((run / "summary.json").read_text())
    for text in ("# flowers", "2 classes", ": a, b.", "Seed 0", "MIT licence", "middle 24 x 24"):
        assert text in page
    assert f"| val/accuracy | {summary['val/accuracy']:.4f} |" in page


def test_the_example_says_what_the_run_says_without_torch(run, written):
    place, pictures = written[1], written[1].parents[2] / "few"
    folder(pictures, {"": 2}, width=60, height=50)
    files = sorted(map(str, pictures.glob("*.jpg")))
    text = (place / "example.py").read_text()
    assert len(text.splitlines()) <= 30
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(place / "example.py"), *files],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    chances = vit.load(run).predict(files)
    for line, file, chance in zip(said.stdout.splitlines(), files, chances, strict=True):
        name, *pairs = line.split()
        given = dict(zip(pairs[::2], map(float, pairs[1::2]), strict=True))
        assert name == file
        expected = dict(zip("ab", chance.tolist(), strict=True))
        assert given == pytest.approx(expected, abs=1e-4)  # four digits are printed


def test_the_example_without_torch_is_really_without(written):
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT + "import torch", str(written[1] / "example.py")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "import of torch halted" in said.stderr


def test_the_example_of_an_encoder_alone_prints_features(tmp_path, run):
    text = example_for(subject_of(run))
    assert "chances" in text
    compile(text, "example.py", "exec")


def test_predict_opens_the_graph_of_8_bits_by_its_file(written, tmp_path):
    out, place = written
    graph = place / "model.int8.onnx"
    assert f"predict --from {graph}" in out
    picture = folder(tmp_path / "few", {"": 1}, width=60, height=50) / "0000.jpg"
    argv = ("--from", str(graph), "--images", str(picture))
    ended = launch("predict", *argv, "--to", "json", "--top", "2", cwd=tmp_path)
    assert ended.code == 0, ended.everything
    (answer,) = json.loads((tmp_path / "predictions.json").read_text())
    whole, eight = vit.load(place), vit.load(graph)
    pixels = eight.preprocess(picture)[None]
    said = dict(zip("ab", OnnxRunner(place, graph.name)(pixels)[0][0].tolist(), strict=True))
    told = {one["class"]: one["probability"] for one in answer["predictions"]}
    assert told == pytest.approx(said, abs=1e-6)
    assert not torch.equal(whole.predict([picture]), eight.predict([picture]))


def test_scales_of_8_bits_are_taken_from_the_pictures_of_calibration(run, tmp_path):
    pictures = folder(tmp_path / "others", {"": 3, "below": 4}, width=60, height=50)
    argv = ("export", str(run), "--to", "onnx", "--int8", "--int8_margin", "1")
    out = ("--out", str(tmp_path / "out"))
    ended = launch(*argv, *out, "--calibration", str(pictures), cwd=run.parents[2])
    assert ended.code == 0, ended.everything
    assert (tmp_path / "out" / "model.int8.onnx").is_file()
    about = json.loads((tmp_path / "out" / "export.json").read_text())
    assert about["int8"]["calibrated_on"] == 7
    (tmp_path / "empty").mkdir()
    ended = launch(*argv, *out, "--calibration", str(tmp_path / "empty"), cwd=run.parents[2])
    assert ended.code == 2
    assert f"--calibration: no picture below {tmp_path / 'empty'}" in ended.everything


def test_milliseconds_of_a_small_network_are_no_nought():
    result = Quantised(True, 0.01, 4, 4, (1.0, 1.0), (0.034, 12.4), (1.0, 0.5))
    assert "0.034 -> 12 ms a picture" in result.line()


def test_int8_is_not_kept_where_it_falls_too_much(run, written, monkeypatch):
    from vit.export import int8
    from vit.export.samples import Samples

    files = sorted((run.parents[2] / "pictures").rglob("*.jpg"))[::10]
    scores = iter([(1.0, 5.0), (0.75, 3.0)])
    monkeypatch.setattr(int8, "measured", lambda *_: next(scores))
    monkeypatch.setattr(int8, "write_int8", lambda place, *_: (place / int8.INT8).write_text("8"))
    samples = Samples(files, [0, 0, 1, 1])
    result = int8.quantise(subject_of(run), written[1], files, samples, margin=0.05)
    assert not result.kept
    why = "not kept: it falls by 25.0 points (1 of 4 pictures), and 5.0 or more are too many"
    assert why in result.line()
    assert not (written[1] / int8.INT8).exists()


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ([], "export: say what: python train.py export <run"),
        (["RUN"], "export: say to what: --to safetensors | timm | huggingface | onnx"),
        (["RUN", "--to", "onx"], "--to: unknown 'onx'; known: safetensors, timm"),
        (["RUN", "--to", "timm", "--int8"], "export: --int8 belongs to --to onnx"),
        (["RUN", "--to", "onnx", "--calibration", "x"], "export: --calibration belongs to --int8"),
        (
            ["RUN", "--to", "onnx", "--int8", "--int8_margin", "2"],
            "--int8_margin: needs a fraction",
        ),
        (["RUN", "--to", "onnx", "--opset", "3"], "export: unknown --opset"),
        (["RUN", "--to", "onnx", "--int8", "--calibration", "x"], "--calibration: x is no folder"),
        (["nothing", "--to", "onnx"], "no such file"),
    ],
)
def test_what_cannot_be_is_one_line(run, argv, line):
    ended = launch("export", *(str(run) if x == "RUN" else x for x in argv), cwd=run.parents[2])
    assert ended.code == 2
    assert line in ended.everything
    assert len(ended.everything.strip().splitlines()) == 1


def test_a_run_whose_pictures_are_gone_is_exported_still(run, tmp_path):
    where = run.parents[2]
    (where / "pictures").rename(where / "elsewhere")
    try:
        out = tmp_path / "out"
        ended = launch("export", str(run), "--to", "timm", "--out", str(out), cwd=where)
    finally:
        (where / "elsewhere").rename(where / "pictures")
    assert ended.code == 0, ended.everything
    assert "export: its data is not here" in ended.out
    assert json.loads((out / "export.json").read_text())["verified"]["pictures"] == 12


def test_digits_in_memory_are_verified_as_files(tmp_path):
    ended = launch("fit", "--config", "configs/quickstart.yaml", *TINY, cwd=tmp_path)
    run = tmp_path / ended.run
    ended = launch("export", str(run), "--to", "torch-export", cwd=tmp_path)
    assert ended.code == 0, ended.everything
    about = json.loads((run / "export" / "torch-export" / "export.json").read_text())
    assert about["verified"]["pictures"] == 24
    assert about["verified"]["files"] <= 1e-5
    digit = torch.zeros(1, 8, 8, 3, dtype=torch.uint8)
    model = torch.export.load(str(run / "export" / "torch-export" / "model.pt2")).module()
    ours = vit.load(run).predict([Image.new("L", (8, 8))])
    torch.testing.assert_close(model(digit)[0], ours, atol=1e-5, rtol=0)
