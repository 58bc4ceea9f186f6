"""What `export` wrote, opened again as a model that tells classes: a graph with its description.

The transform stands inside the graph, so pictures go in as they were decoded.

B batch, H W pixels of a picture, L classes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from vit.batch import DataSpec
from vit.data.preprocessing import Preprocessing
from vit.export.as_onnx import OnnxRunner
from vit.models.weights.opening import json_in

ABOUT = "export.json"


class OnnxModel:
    """An exported graph, its classes, and how pictures are decoded for it.

    Args:
        path: of the export's folder, or of one of its graphs: model.int8.onnx.
        about: its description.
    """

    tells_classes = True
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path = path
        folder, name = (path, "model.onnx") if path.is_dir() else (path.parent, path.name)
        self.run = OnnxRunner(folder, name)
        spec = exported_spec(about, folder)
        self.transform = Preprocessing(spec, **about["preprocessing"])
        self.classes = spec.classes
        self.several = spec.multi_label
        if not self.classes:
            raise ValueError(
                f"{path}: this export tells no classes; its graph gives features to onnxruntime"
            )

    def preprocess(self, picture: Image.Image | str | Path) -> UInt8[Tensor, "H W 3"]:
        """The decoded pixels of a picture, or of the file that holds it."""
        return self.transform.pixels(picture).expand(3, -1, -1).permute(1, 2, 0).contiguous()

    def predict(self, images: Sequence[Image.Image | str | Path | Tensor]) -> Float[Tensor, "B L"]:
        """Probabilities of `classes`; of data with several labels an image, of each on its own.

        Args:
            images: what `preprocess` returns, or pictures or paths; they may differ in size.
        """
        check_several(images)
        shown = [x if isinstance(x, Tensor) else self.preprocess(x) for x in images]
        return torch.cat([self.run(x[None])[0] for x in shown])


def check_several(images: object) -> None:
    """Pictures come in a list.

    Raises:
        ValueError: it is a single one, or empty.
    """
    if isinstance(images, str | Path | Image.Image):
        raise ValueError(f"{images!r} is one picture, and a list is needed: [picture]")
    if isinstance(images, list | tuple) and not images:
        raise ValueError("no picture in the list")


def export_about(path: Path) -> dict[str, Any]:
    """The description of an export's folder, or beside one of its graphs; else empty."""
    folder = path.parent if path.suffix in (".onnx", ".pt2") and path.is_file() else path
    return json_in(folder / ABOUT) if folder.is_dir() else {}


def exported_spec(about: dict[str, Any], folder: Path) -> DataSpec:
    """The data that an export was made for.

    Raises:
        ValueError: its description is damaged.
    """
    try:
        return DataSpec(
            classes=tuple(about["classes"]),
            image_size=tuple(about["image_size"]),
            channels=about["channels"],
            mean=tuple(about["mean"]),
            std=tuple(about["std"]),
            multi_label=about["multi_label"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / ABOUT} is damaged ({error}); export it again") from error
