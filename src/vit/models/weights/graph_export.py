"""Exports that are graphs, from pixels to answers: no weights are taken back from them."""

from pathlib import Path

from vit.models.weights.opening import json_in

FILES = {"onnx": ".onnx", "torch-export": ".pt2"}  # formats that are graphs, and how they end

ENDINGS = (".safetensors", ".bin", ".pth", ".pt", ".npz", ".onnx", ".ckpt")  # of weights


def refuse_graph(path: Path) -> None:
    """Say of an export that is a graph what it is, and what can be done with it.

    Args:
        path: of a folder, or of a file in one.

    Raises:
        ValueError: it is one.
    """
    folder = path if path.is_dir() else path.parent
    kind = str(json_in(folder / "export.json").get("format"))
    if kind not in FILES or not (path.is_dir() or path.suffix == FILES[kind]):
        return
    use = {
        "onnx": f"python train.py predict --from {path} --images <files or folder> uses it",
        "torch-export": "torch.export.load opens it",
    }
    raise ValueError(
        f"weights: {path} is an export to {kind}, a graph from which no weights are taken back; "
        f"give the run, or its export --to safetensors. {use[kind]}"
    )


def what_lies_there(folder: Path) -> str:
    """The run, export or file of weights in a folder that is none: what to give in its place."""
    runs = sorted(path.parent for path in folder.glob("*/checkpoints"))
    if runs:
        return f"; it holds runs, the newest is {runs[-1]}"
    exports = sorted(path.parent for path in folder.glob("*/export.json"))
    files = sorted(path for path in folder.iterdir() if path.suffix in ENDINGS)
    inside = [path for path in exports if path.name not in FILES] or exports or files
    return f"; it holds {inside[0].name}: give {inside[0]}" if inside else ""
