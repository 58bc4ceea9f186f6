"""Whatever is no weights is named by what it seems to be, in no time."""

import subprocess
import sys

import pytest
import torch

from launch import ROOT
from vit.cli.errors import UsageError
from vit.cli.paths import check_paths, check_weights_format, check_weights_path, seems_to_be


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"", "empty"),
        (b"\xff\xd8\xff\xe0", "a JPEG picture"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras?)"),
        (b"\x1f\x8b\x08", "a gzip archive; unpack it"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\0" * 257 + b"ustar\0" + b"\0" * 99, "a tar archive"),
        ("größe, läuft".encode()[:-1], "a text file"),
        (b"a,b\r\n1,2\n", "a text file"),
    ],
)
def test_what_holds_no_weights_is_named(start, kind):
    assert seems_to_be(start).startswith(kind)


@pytest.mark.parametrize(
    "start",
    [
        b"PK\x03\x04",  # torch and NumPy
        b"\x80\x02\x8a\x0a",  # torch before 1.6
        b'\x40\0\0\0\0\0\0\0{"weight":',  # safetensors
        b"\x08\x08\x12\x07pytorch",  # ONNX
    ],
)
def test_what_may_hold_weights_is_left_to_those_who_read_it(start):
    assert seems_to_be(start) == ""


def test_a_name_that_is_not_here_is_told_before_anything_heavy_loads(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UsageError, match=r"is not on this machine.*put its model.safetensors"):
        check_paths("fit", ["--model.pretrained", "hf:facebook/dinov2-small"])


def test_each_option_is_looked_at_in_either_spelling(tmp_path):
    file = tmp_path / "weights.ckpt"
    torch.save(
        {"format": 1, "encoder": {}, "global_step": 0, "state_dict": {"w": torch.ones(1)}}, file
    )
    (tmp_path / "notes.md").write_text("# notes")
    check_paths("test", ["--from", str(file), "--model.pretrained", "null"])
    for option in ("--from", "--model.pretrained"):
        for argv in ([option, str(tmp_path / "notes.md")], [f"{option}={tmp_path / 'notes.md'}"]):
            with pytest.raises(UsageError, match=f"^{option}: .*notes.md is a text file; give"):
                check_paths("test", argv)
    with pytest.raises(UsageError, match=r"no such file or run folder.*mean .*weights.ckpt"):
        check_weights_path("--from", str(tmp_path / "weigths.ckpt"))
    with pytest.raises(UsageError, match="is not a run folder"):
        check_paths("test", ["--resume", str(file)])


def test_a_file_of_weights_that_makes_no_encoder_is_refused_by_what_it_holds(tmp_path):
    torch.save({"state_dict": {"conv1.weight": torch.zeros(3, 3)}}, tmp_path / "resnet.pth")
    with pytest.raises(UsageError, match=r"resnet.pth holds 1 tensors \(conv1.weight"):
        check_weights_format(str(tmp_path / "resnet.pth"))
    whole = (tmp_path / "resnet.pth").read_bytes()
    (tmp_path / "torn.ckpt").write_bytes(whole[:300])
    with pytest.raises(UsageError, match=r"^checkpoint: .*torn.ckpt is damaged or foreign"):
        check_weights_format(str(tmp_path / "torn.ckpt"))
    with pytest.raises(UsageError, match=r"no checkpoints/best.ckpt or last.ckpt in"):
        check_weights_format(str(tmp_path))


@pytest.mark.parametrize(
    "argv",
    [
        ("fit", "--config", "configs/finetune/default.yaml", "--model.pretrained", "resnet.pth"),
        ("test", "--from", "resnet.pth"),
        ("export", "resnet.pth", "--to", "onnx"),
        ("evaluate", "resnet.pth"),
        ("evaluate", "gone.ckpt"),
        ("fit", "--resume", "gone"),
    ],
    ids=" ".join,
)
def test_a_foreign_file_is_refused_before_lightning_is_loaded(tmp_path, argv):
    torch.save({"conv1.weight": torch.zeros(3, 3)}, tmp_path / "resnet.pth")
    code = (
        "import sys; from vit.cli import main; code = main(sys.argv[1:]);"
        "heavy = {'lightning', 'torchvision', 'torchmetrics', 'sklearn'} & sys.modules.keys();"
        "assert not heavy, heavy; sys.exit(code)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, *argv], cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert told.returncode == 2, told.stderr
    assert told.stderr.startswith("error: ")
    assert told.stderr.count("\n") == 1


def test_weights_that_a_file_names_are_looked_at_as_early(tmp_path):
    def named(text: str, *argv: str) -> list[str]:
        (tmp_path / "a.yaml").write_text(text)
        return ["--config", str(tmp_path / "a.yaml"), *argv]

    lost = named(f"model: {{pretrained: {tmp_path}/gone.pth}}")
    with pytest.raises(UsageError, match=r"^--model.pretrained: no such file .*gone.pth"):
        check_paths("fit", lost)
    check_paths("fit", [*lost, "--model.pretrained", "null"])  # a word comes before a file
    check_paths("compare", lost)  # whose own files are looked at when they are read
    (tmp_path / "later.yaml").write_text("model: {pretrained: null}")
    check_paths("fit", [*lost, "--config", str(tmp_path / "later.yaml")])
    for text in ("model: vit.yaml", "[1, 2]", "model: [", "", "model: {encoder: null}"):
        check_paths("fit", named(text))  # the parser says what is wrong, if anything is


def test_real_names_of_this_project_s_configs_are_no_weights():
    with pytest.raises(UsageError, match="is a text file"):
        check_weights_path("--model.pretrained", str(ROOT / "configs" / "quickstart.yaml"))
