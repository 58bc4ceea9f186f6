"""A file or folder of weights opened by what it holds, whatever its name ends in."""

import json
import zipfile
from pathlib import Path
from typing import Any

from vit.models.weights.npz_file import open_npz
from vit.models.weights.onnx_file import open_onnx
from vit.models.weights.released import Tensors, WeightsFile, in_memory
from vit.models.weights.safetensors_file import SafetensorsFile
from vit.models.weights.torch_file import open_torch

INSIDE = (  # of a folder, the first that is there
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
LARGEST_JSON = 2**24  # bytes of a config


def weights_in(folder: Path) -> Path | None:
    """The file that holds a folder's tensors, or lists those that do; None where there is none."""
    return next((folder / name for name in INSIDE if (folder / name).is_file()), None)


def open_weights(path: Path) -> WeightsFile:
    """A file or folder of weights; no tensor is read yet.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: it is damaged, or no kind of file that is known here.
    """
    if path.is_dir():
        file = weights_in(path)
        if file is None:
            raise FileNotFoundError(f"weights: none of {', '.join(INSIDE)} in {path}")
        folder = path
    elif path.is_file():
        file, folder = path, path.parent
    else:
        raise FileNotFoundError(f"weights: no such file or folder: {path}")
    beside = path.is_dir() or file.name in INSIDE  # configs of other files are not this one's
    config = json_in(folder / "config.json") if beside else {}
    preprocessor = json_in(folder / "preprocessor_config.json") if beside else {}
    if file.name.endswith(".index.json"):
        tensors, about = open_shards(file)
        kind = "safetensors" if "safetensors" in file.name else "torch"
    else:
        kind = file_kind(file)
        tensors, about = open_one(file, kind)
    return WeightsFile(path, kind, tensors, config, preprocessor, about)


def file_kind(file: Path) -> str:
    """What a file is, by its first bytes: torch, npz, safetensors or onnx."""
    with file.open("rb") as opened:
        start = opened.read(16)
    if start[:4] == b"PK\x03\x04":
        names = zipfile.ZipFile(file).namelist() if zipfile.is_zipfile(file) else []
        return "npz" if names and all(name.endswith(".npy") for name in names) else "torch"
    if start[:2] == b"\x80\x02":
        return "torch"
    if len(start) > 9 and start[8:9] == b"{":
        return "safetensors"
    if start[:1] == b"\x08":  # the field of a model's version
        return "onnx"
    raise ValueError(
        f"weights: {file} is no file of weights; what loads: torch files, .safetensors, .npz, "
        ".onnx, and folders of Hugging Face and timm (docs/weights.md)"
    )


def open_one(file: Path, kind: str) -> tuple[Tensors, dict[str, Any]]:
    """The tensors of a file, and the plain values beside them."""
    if kind == "torch":
        return open_torch(file)
    if kind == "npz":
        return open_npz(file), {}
    if kind == "onnx":
        graph = open_onnx(file)
        return Tensors(graph.shapes, graph.tensor), {"graph": graph}
    opened = SafetensorsFile(file)
    return Tensors(opened.shapes, opened.tensor), dict(opened.metadata)


def open_shards(index: Path) -> tuple[Tensors, dict[str, Any]]:
    """The tensors of several files, which an index lists.

    Raises:
        ValueError: it leads out of its folder, or a file does not hold what it lists.
    """
    listed = json_in(index).get("weight_map")
    if not isinstance(listed, dict) or not all(isinstance(v, str) for v in listed.values()):
        raise ValueError(f"weights: {index} is damaged or foreign (no weight_map)")
    tensors = in_memory({})
    for name in sorted(set(listed.values())):
        if Path(name).name != name or not (index.parent / name).is_file():
            raise ValueError(f"weights: {index} lists {name}, which is not beside it")
        tensors |= open_one(index.parent / name, file_kind(index.parent / name))[0]
    lacking = [name for name in listed if name not in tensors]
    if lacking:
        raise ValueError(f"weights: {index} lists {lacking[0]}, which its files do not hold")
    return tensors, {}


def json_in(file: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no file.

    Raises:
        ValueError: it is damaged, too long, or no object.
    """
    if not file.is_file():
        return {}
    try:
        if file.stat().st_size > LARGEST_JSON:
            raise ValueError("it is too long")
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"weights: {file} is no JSON ({str(error)[:80]})") from error
    if not isinstance(content, dict):
        raise ValueError(f"weights: {file} holds no object")
    return content
