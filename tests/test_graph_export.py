"""An export that is a graph is called so, with what can be done, wherever weights are asked for."""

import json
from pathlib import Path

import pytest

from vit.cli.errors import UsageError
from vit.cli.paths import check_weights_format
from vit.compare.given_weights import arms_of
from vit.loading import load
from vit.models.weights import stored_encoder
from vit.models.weights.graph_export import what_lies_there


def exported(folder: Path, kind: str, name: str) -> Path:
    """A folder as `export` writes it; of the graph only its file's place counts."""
    folder.mkdir(parents=True)
    (folder / "export.json").write_text(json.dumps({"format": kind}))
    (folder / name).write_bytes(b"\x08\x0a graph")
    return folder


@pytest.mark.parametrize(
    ("kind", "name", "use"),
    [
        ("onnx", "model.onnx", "predict --from {} --images <files or folder> uses it"),
        ("torch-export", "model.pt2", "torch.export.load opens it"),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_it_is_no_run_without_a_checkpoint_but_a_graph(tmp_path, kind, name, use, inside):
    folder = exported(tmp_path / "made.1", kind, name)
    path = folder / name if inside else folder
    line = f"weights: {path} is an export to {kind}, a graph from which no weights are taken back"
    for ask in (stored_encoder, lambda path: arms_of([str(path)], 64)):
        with pytest.raises(ValueError, match=r".") as told:
            ask(path)
        assert str(told.value).startswith(line)
        assert str(told.value).endswith(use.format(path))
    with pytest.raises(UsageError, match="is an export to"):
        check_weights_format(str(path))


def test_predict_says_which_exports_it_opens(tmp_path):
    with pytest.raises(ValueError, match="open an export to onnx, safetensors"):
        load(exported(tmp_path / "made", "torch-export", "model.pt2"))


def test_a_folder_above_weights_names_what_to_give(tmp_path):
    assert what_lies_there(tmp_path) == ""
    (tmp_path / "b.safetensors").write_bytes(b"")
    assert what_lies_there(tmp_path) == f"; it holds b.safetensors: give {tmp_path}/b.safetensors"
    for kind in ("onnx", "timm"):
        exported(tmp_path / kind, kind, "model.onnx")
    assert what_lies_there(tmp_path) == f"; it holds timm: give {tmp_path / 'timm'}"
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    assert what_lies_there(tmp_path) == f"; it holds runs, the newest is {tmp_path / 'run'}"
