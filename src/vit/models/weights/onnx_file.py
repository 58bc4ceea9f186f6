"""An ONNX file: its initialisers, nodes and constants, read without onnx's package.

Format: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, whose field numbers stand below.
Nothing of the graph is run, and nothing outside of the file is read.
"""

import mmap
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from vit.models.weights.protobuf import Span, Wire, spans
from vit.models.weights.safetensors_file import TensorPlace, mapped

DTYPES = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 5: torch.int16, 6: torch.int32,
    7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64, 16: torch.bfloat16,
}  # fmt: skip
MODEL = {"graph": 7}
GRAPH = {"node": 1, "initializer": 5, "input": 11, "output": 12}
NODE = {"input": 1, "output": 2, "name": 3, "operator": 4, "attribute": 5}
ATTRIBUTE = {"name": 1, "float": 2, "integer": 3, "tensor": 5}
TENSOR = {"dims": 1, "dtype": 2, "name": 8, "raw": 9, "external": 13, "location": 14}
SCALARS = {torch.float32: "f", torch.int64: "q", torch.int32: "i"}  # of which constants are read


@dataclass(frozen=True)
class Node:
    """One operation of a graph.

    Args:
        name: torch's: the module's place, then the operator.
        operator: what it does.
        inputs: names of what it reads.
        outputs: names of what it makes.
        numbers: its attributes that are a number or a small tensor of numbers.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    numbers: dict[str, tuple[int | float, ...]]


@dataclass(frozen=True)
class OnnxFile:
    """A graph.

    Args:
        path: of the file.
        places: of the initialisers, by name.
        nodes: in the order in which they run.
        sizes: of each input, -1 where a size is free.
        outputs: their names.
    """

    path: Path
    places: dict[str, TensorPlace]
    nodes: tuple[Node, ...]
    sizes: dict[str, tuple[int, ...]]
    outputs: tuple[str, ...]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each initialiser."""
        return {name: place.shape for name, place in self.places.items()}

    def tensor(self, name: str) -> Tensor:
        """One initialiser."""
        return mapped(self.path, self.places[name])


def open_onnx(path: Path) -> OnnxFile:
    """The structure of a file; its tensors are not read.

    Raises:
        ValueError: it is damaged, no ONNX file, or keeps tensors in other files.
    """
    try:
        if not path.stat().st_size:
            raise ValueError("it is empty")
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
            memoryview(data) as view,
        ):
            return graph_in(Wire(view), path)
    except (ValueError, OSError, struct.error) as error:
        raise ValueError(f"weights: {path} is damaged or foreign ({str(error)[:160]})") from error


def graph_in(wire: Wire, path: Path) -> OnnxFile:
    """The one graph of a model."""
    model = wire.message(Span(0, len(wire.data)))
    graphs = spans(model.get(MODEL["graph"], []))
    if len(graphs) != 1:
        raise ValueError(f"it holds {len(graphs)} graphs")
    graph = wire.message(graphs[0])
    places: dict[str, TensorPlace] = {}
    for span in spans(graph.get(GRAPH["initializer"], [])):
        name, place = tensor_in(wire, span)
        if name in places:
            raise ValueError(f"{name} stands twice in it")
        places[name] = place
    nodes = tuple(node_in(wire, span) for span in spans(graph.get(GRAPH["node"], [])))
    inputs = dict(input_in(wire, span) for span in spans(graph.get(GRAPH["input"], [])))
    outputs = [wire.message(span) for span in spans(graph.get(GRAPH["output"], []))]
    names = tuple(text for fields in outputs for text in wire.texts(fields.get(1, [])))
    return OnnxFile(path, places, nodes, inputs, names)


def tensor_in(wire: Wire, span: Span) -> tuple[str, TensorPlace]:
    """Name and place of an initialiser whose bytes are in this file and as many as it says."""
    fields = wire.message(span)
    name = "".join(wire.texts(fields.get(TENSOR["name"], [])))
    if fields.get(TENSOR["external"]) or any(fields.get(TENSOR["location"], [])):
        raise ValueError(f"{name} lies in another file; export the graph with its weights inside")
    shape = tuple(wire.integers(fields.get(TENSOR["dims"], [])))
    kinds = wire.integers(fields.get(TENSOR["dtype"], []))
    if len(kinds) != 1 or kinds[0] not in DTYPES:
        raise ValueError(f"{name} has numbers of type {kinds}, which is not known")
    raw = spans(fields.get(TENSOR["raw"], []))
    if len(raw) != 1 or any(size < 0 for size in shape):
        raise ValueError(f"{name} is not stored as one row of bytes")
    place = TensorPlace(DTYPES[kinds[0]], shape, raw[0].start)
    if place.length != raw[0].end - raw[0].start:
        length = raw[0].end - raw[0].start
        raise ValueError(f"{name} has {length:,} bytes, its shape {place.length:,}")
    return name, place


def node_in(wire: Wire, span: Span) -> Node:
    """An operation; of its attributes only numbers."""
    fields = wire.message(span)
    numbers = {}
    for attribute in spans(fields.get(NODE["attribute"], [])):
        inside = wire.message(attribute)
        name = "".join(wire.texts(inside.get(ATTRIBUTE["name"], [])))
        if tensors := spans(inside.get(ATTRIBUTE["tensor"], [])):
            numbers[name] = constant_in(wire, tensors[0])
        elif floats := spans(inside.get(ATTRIBUTE["float"], [])):
            numbers[name] = struct.unpack("<f", bytes(wire.data[floats[0].start : floats[0].end]))
        elif integers := inside.get(ATTRIBUTE["integer"], []):
            numbers[name] = tuple(wire.integers(integers))
    return Node(
        "".join(wire.texts(fields.get(NODE["name"], []))),
        "".join(wire.texts(fields.get(NODE["operator"], []))),
        tuple(wire.texts(fields.get(NODE["input"], []))),
        tuple(wire.texts(fields.get(NODE["output"], []))),
        numbers,
    )


def constant_in(wire: Wire, span: Span) -> tuple[int | float, ...]:
    """The numbers of a constant of at most eight; empty for larger ones and other kinds."""
    if not wire.message(span).get(TENSOR["raw"]):
        return ()
    _, place = tensor_in(wire, span)
    count = prod(place.shape)
    if place.dtype not in SCALARS or count > 8:
        return ()
    piece = bytes(wire.data[place.start : place.start + place.length])
    return struct.unpack(f"<{count}{SCALARS[place.dtype]}", piece)


def input_in(wire: Wire, span: Span) -> tuple[str, tuple[int, ...]]:
    """Name and sizes of an input: value.type(2).tensor_type(1).shape(2).dim(1).dim_value(1)."""
    fields = wire.message(span)
    name = "".join(wire.texts(fields.get(1, [])))
    for number in (2, 1, 2):
        inside = spans(fields.get(number, []))
        if len(inside) != 1:
            return name, ()
        fields = wire.message(inside[0])
    dims = [wire.message(dim) for dim in spans(fields.get(1, []))]
    return name, tuple((wire.integers(dim.get(1, [])) or [-1])[0] for dim in dims)
