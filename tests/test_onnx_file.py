"""ONNX files read without onnx's package: what it reads, and nothing that lies."""

import random
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from vit.models.weights.onnx_file import open_onnx
from vit.models.weights.protobuf import MOST_FIELDS, Span, Wire

ARRAYS = {
    "float": np.arange(6, dtype=np.float32).reshape(2, 3),
    "half": np.array([0.5, -1], dtype=np.float16),
    "double": np.array([1.25]),
    "long": np.array([-7, 2**40]),
    "byte": np.array([200], dtype=np.uint8),
    "true": np.array([True, False]),
    "scalar": np.array(3.5, dtype=np.float32),
}


def graph_file(folder: Path, tensors: list[TensorProto] | None = None) -> Path:
    """A model of two nodes with initialisers of many types."""
    stored = [numpy_helper.from_array(array, name) for name, array in ARRAYS.items()]
    nodes = [
        helper.make_node("Constant", [], ["c"], "/block/Constant", value=numpy_helper.from_array(
            np.array([4, -1], dtype=np.int64))),
        helper.make_node("LeakyRelu", ["x"], ["y"], "/block/Act", alpha=0.25),
    ]  # fmt: skip
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 8])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [*stored, *(tensors or [])])
    path = folder / "a.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def test_tensors_nodes_and_sizes_are_those_that_the_package_wrote(tmp_path):
    graph = open_onnx(graph_file(tmp_path))
    for name, array in ARRAYS.items():
        read = graph.tensor(name)
        assert tuple(read.shape) == array.shape
        assert np.array_equal(read.numpy(), array), name
    constant, act = graph.nodes
    assert (constant.operator, constant.numbers["value"]) == ("Constant", (4, -1))
    assert (act.name, act.inputs, act.outputs) == ("/block/Act", ("x",), ("y",))
    assert act.numbers == {"alpha": (0.25,)}
    assert graph.sizes == {"x": (-1, 3, 8, 8)}
    assert graph.outputs == ("y",)


def test_a_tensor_in_another_file_is_refused(tmp_path):
    outside = numpy_helper.from_array(np.zeros(4, dtype=np.float32), "w")
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(ValueError, match=r"foreign \(w lies in another file; export the graph"):
        open_onnx(graph_file(tmp_path, [outside]))


def test_a_shape_that_its_bytes_do_not_fill_is_refused(tmp_path):
    for shape in ([2**40, 2**40], [-4], [3]):
        lying = numpy_helper.from_array(np.zeros(4, dtype=np.float32), "w")
        del lying.dims[:]
        lying.dims.extend(shape)
        with pytest.raises(ValueError, match=r"\(w (has 16 bytes, its|is not stored)"):
            open_onnx(graph_file(tmp_path, [lying]))


def test_a_name_that_stands_twice_is_refused(tmp_path):
    again = numpy_helper.from_array(np.zeros(4, dtype=np.float32), "float")
    with pytest.raises(ValueError, match="float stands twice"):
        open_onnx(graph_file(tmp_path, [again]))


def test_a_type_that_is_not_known_is_refused(tmp_path):
    words = helper.make_tensor("w", TensorProto.STRING, [1], [b"a"])
    with pytest.raises(ValueError, match=r"w has numbers of type \[8\]"):
        open_onnx(graph_file(tmp_path, [words]))


WIRE = {
    "nothing": (b"", "it is empty"),
    "a number without an end": (b"\x08" + b"\xff" * 20, "has no end"),
    "a number that is cut": (b"\x08\xff", "ends within a number"),
    "a length beyond the file": (b"\x3a\xff\xff\xff\xff\x0f", "claims 4,294,967,295 bytes"),
    "a length of 2^64": (b"\x3a" + b"\xff" * 9 + b"\x01", "claims 18,446,744,073,709,551,615"),
    "a group": (b"\x0b\x0c", "wire type 3"),
    "no graph": (b"\x08\x01", "holds 0 graphs"),
    "two graphs": (b"\x3a\x00\x3a\x00", "holds 2 graphs"),
    "a graph that is a number": (b"\x38\x01", "a number where a piece belongs"),
    "a name that is no text": (b"\x3a\x06\x0a\x04\x1a\x02\xff\xfe", "codec"),
    "a million fields": (b"\x08\x01" * 10**6, f"more than {MOST_FIELDS:,} fields"),
    "a million dimensions": (
        b"\x3a\x86\x89\x7a\x2a\x82\x89\x7a\x0a\xfe\x88\x7a" + b"\x01" * 1999998, "more than"),
}  # fmt: skip


@pytest.mark.parametrize("name", WIRE)
def test_a_damaged_file_is_refused_in_one_line_and_soon(tmp_path, name):
    content, message = WIRE[name]
    (tmp_path / "a.onnx").write_bytes(content)
    start = time.process_time()
    with pytest.raises(ValueError, match=message) as caught:
        open_onnx(tmp_path / "a.onnx")
    assert time.process_time() - start < 3  # a tenth of it where types are not checked
    assert str(caught.value).startswith(f"weights: {tmp_path / 'a.onnx'} is damaged or foreign (")
    assert "\n" not in str(caught.value)


def test_a_changed_byte_is_refused_or_read_as_the_package_reads_it(tmp_path):
    """Pieces that hold no weights are not looked into; the package refuses some of these."""
    whole, draw, accepted = graph_file(tmp_path).read_bytes(), random.Random(0), 0
    path = tmp_path / "b.onnx"
    for _ in range(600):
        content = bytearray(whole)
        content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content)
        try:
            graph = open_onnx(path)
        except ValueError:
            continue
        theirs = onnx.ModelProto()
        try:
            theirs.ParseFromString(bytes(content))
        except DecodeError:
            continue
        accepted += 1
        for tensor in theirs.graph.initializer:
            expected = numpy_helper.to_array(tensor)
            assert np.array_equal(graph.tensor(tensor.name).numpy(), expected, equal_nan=True)
    assert 50 < accepted < 590


def test_no_piece_of_a_file_is_one(tmp_path):
    whole = graph_file(tmp_path).read_bytes()
    for end in range(1, len(whole) - 30, 11):
        (tmp_path / "a.onnx").write_bytes(whole[:end])
        with pytest.raises(ValueError, match="is damaged or foreign"):
            open_onnx(tmp_path / "a.onnx")


def test_integers_stand_alone_or_packed_and_may_be_negative():
    packed = Wire(memoryview(b"\x0a\x03\x01\xac\x02"))  # field 1: the numbers 1 and 300
    assert packed.integers(packed.message(Span(0, 5))[1]) == [1, 300]
    alone = Wire(memoryview(b"\x08" + b"\xff" * 9 + b"\x01"))
    assert alone.integers(alone.message(Span(0, 11))[1]) == [-1]


def test_a_tensor_is_a_copy_that_may_be_written(tmp_path):
    path = graph_file(tmp_path)
    before = path.read_bytes()
    graph = open_onnx(path)
    graph.tensor("float").fill_(9)
    assert path.read_bytes() == before
    assert graph.tensor("float").dtype is torch.float32
