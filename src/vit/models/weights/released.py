"""Somebody's released weights: as they lie on disk, and by our names with what is known of them.

P patch size, D width, L classes.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from vit.models.weights.card import Card
from vit.patches import Resize

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and deviation
HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)  # pixels from -1 to 1


class Origin(NamedTuple):
    """Which tensors of a file make one of ours.

    Args:
        names: of the tensors in the file.
        make: the tensor out of them; it also runs on zeros, where it tells the shape.
    """

    names: tuple[str, ...]
    make: Callable[..., Tensor] = lambda tensor: tensor


class Tensors(Mapping[str, Tensor]):
    """Tensors whose shapes are known and whose numbers are read one at a time, when asked for.

    Nothing is kept: whoever needs a tensor twice holds on to it.

    Args:
        shapes: of all tensors, by name.
        read: the tensor of a name.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], read: Callable[[str], Tensor]
    ) -> None:
        self.shapes = dict(shapes)
        self._read = read

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.shapes:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __contains__(self, name: object) -> bool:
        return name in self.shapes

    def __or__(self, others: Mapping[str, Tensor]) -> "Tensors":
        """These and others; of the same name, the others'."""
        shapes = self.shapes | shapes_of(others)
        return Tensors(shapes, lambda name: others[name] if name in others else self._read(name))

    def made(self, origins: Mapping[str, Origin]) -> "Tensors":
        """Other tensors out of these, made when they are asked for.

        Args:
            origins: of each of them, by its name.

        Raises:
            KeyError: a tensor is not there.
            RuntimeError: shapes do not go together.
        """
        shapes = {}
        for name, (names, make) in origins.items():
            parts = [torch.zeros(()).expand(self.shapes[part]) for part in names]  # no memory
            shapes[name] = tuple(make(*parts).shape)

        def read(name: str) -> Tensor:
            names, make = origins[name]
            return make(*(self[part] for part in names))

        return Tensors(shapes, read)


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor, without reading one that is not read yet."""
    if isinstance(tensors, Tensors):
        return dict(tensors.shapes)
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def in_memory(tensors: Mapping[str, Tensor]) -> Tensors:
    """Tensors that are read already."""
    return Tensors(shapes_of(tensors), tensors.__getitem__)


@dataclass(frozen=True)
class WeightsFile:
    """A file or folder of weights, opened; no format is known yet.

    Args:
        path: of the file or folder that was asked for.
        kind: of the file that holds the tensors.
        tensors: as the file names them.
        config: config.json beside them; empty where there is none.
        preprocessor: preprocessor_config.json beside them; empty where there is none.
        about: plain values inside the file itself (a safetensors header's metadata, say).
    """

    path: Path
    kind: Literal["torch", "safetensors", "npz", "onnx"]
    tensors: Tensors
    config: dict[str, Any] = field(default_factory=dict)
    preprocessor: dict[str, Any] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Released:
    """Released weights by timm's names, and what no shape tells.

    Args:
        tensors: patch_embed.proj.weight (D, 3, P, P) and so on; head.weight and head.bias too
            where the file has a classifier; only what ends up in our encoder or its classifier.
        card: what is known of their training.
        heads: of the attention; None: not said, 64 numbers a head are assumed.
        gelu: which of the two.
        norm_eps: LayerNorm's epsilon.
        normalisation: mean and deviation of a channel, of pixels from 0 to 1.
        image_size: height and width that evaluation shows; None: as the grid of positions says.
        center_crop_ratio: in evaluation; None: the whole picture is squeezed.
        interpolation: of the pictures' resize in evaluation.
        resize: how positions are resampled for another grid.
        pool: what the head reads; None: the class token where there is one, else the mean.
        norm: where the last LayerNorm stands: over all tokens, or over the pooled vector.
        epochs: how often the pictures that the card counts were seen, at 224 px; None: not known.
        settings: more arguments of our ViT, which shapes do not tell (of RoPE, say).
        multi_label: does its head answer several labels a picture, each on its own?
        notes: what was assumed because the file does not say it, a line each.
    """

    tensors: Tensors
    card: Card
    heads: int | None = None
    gelu: Literal["tanh", "exact"] = "exact"
    norm_eps: float = 1e-6
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET
    image_size: tuple[int, int] | None = None
    center_crop_ratio: float | None = None
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    resize: Resize = "bicubic_antialias"
    pool: Literal["cls", "mean"] | None = None
    norm: Literal["tokens", "pooled"] = "tokens"
    epochs: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    multi_label: bool = False
    notes: tuple[str, ...] = ()


class ReleasedFormat(NamedTuple):
    """One way in which released weights are written.

    Args:
        name: as messages and the card say it.
        recognises: is a file of this format? Names, shapes and configs tell; no tensor is read.
        convert: the weights by our names. ValueError: part of it is missing or strange.
    """

    name: str
    recognises: Callable[[WeightsFile], bool]
    convert: Callable[[WeightsFile], Released]
