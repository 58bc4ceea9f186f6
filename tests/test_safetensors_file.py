"""safetensors files: the same tensors as its own package reads, and no lie believed."""

import json
import random
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from vit.models.weights.safetensors_file import DTYPES, SafetensorsFile

TENSORS = {
    "f64": torch.tensor([1.5, -2.0], dtype=torch.float64),
    "f32": torch.arange(12.0).reshape(3, 4),
    "f16": torch.tensor([[0.5]], dtype=torch.float16),
    "bf16": torch.tensor([3.0, 4.0], dtype=torch.bfloat16),
    "i64": torch.tensor([-1, 2**40]),
    "i32": torch.tensor([7], dtype=torch.int32),
    "i16": torch.tensor([-3], dtype=torch.int16),
    "i8": torch.tensor([-128, 127, 5], dtype=torch.int8),
    "u8": torch.tensor([255], dtype=torch.uint8),
    "bool": torch.tensor([True, False, True]),
    "scalar": torch.tensor(2.5),
    "empty": torch.empty(0, 3),
}


def file_of(header: Any, data: bytes, folder: Path, length: int | None = None) -> Path:
    """A file with any header and any length that it claims."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = folder / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(begin: int, end: int, shape: Any, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_every_dtype_reads_as_the_package_reads_it(tmp_path):
    save_file(TENSORS, tmp_path / "a.safetensors", metadata={"format": "pt"})
    file = SafetensorsFile(tmp_path / "a.safetensors")
    assert {tensor.dtype for tensor in TENSORS.values()} == set(DTYPES.values())
    with safe_open(tmp_path / "a.safetensors", "pt") as theirs:
        assert set(theirs.keys()) == set(file.places)
        assert theirs.metadata() == file.metadata
        for name in theirs.keys():  # noqa: SIM118  a safe_open is no dictionary
            expected, read = theirs.get_tensor(name), file.tensor(name)
            assert read.dtype == expected.dtype
            assert torch.equal(read, expected), name
            assert file.shapes[name] == tuple(expected.shape)


def test_a_header_that_is_not_padded_still_reads(tmp_path):
    header = json.dumps({"a": entry(0, 8, [2])}).encode()
    header += b" " * ((1 - len(header)) % 8)  # the data begin at an odd place
    path = file_of(header, struct.pack("<2f", 1.5, -2.0), tmp_path)
    assert SafetensorsFile(path).tensor("a").tolist() == [1.5, -2.0]


def test_writing_to_a_tensor_leaves_the_file_as_it_was(tmp_path):
    save_file({"a": torch.zeros(4)}, tmp_path / "a.safetensors")
    before = (tmp_path / "a.safetensors").read_bytes()
    file = SafetensorsFile(tmp_path / "a.safetensors")
    file.tensor("a").fill_(7)
    assert (tmp_path / "a.safetensors").read_bytes() == before
    assert file.tensor("a").tolist() == [0, 0, 0, 0]


GOOD = entry(0, 8, [2])
LIES = {
    "a header longer than the file": (GOOD, b"", 10**12, "claims 1,000,000,000,000 bytes"),
    "an offset beyond the file": ({"a": entry(0, 80, [20])}, bytes(8), None, "its data at 8"),
    "an overlap": ({"a": GOOD, "b": entry(4, 12, [2])}, bytes(12), None, "b begins at 4"),
    "twice the same place": ({"a": GOOD, "b": GOOD}, bytes(8), None, "b begins at 0"),
    "a gap": ({"a": GOOD, "b": entry(12, 20, [2])}, bytes(20), None, "b begins at 12"),
    "bytes after the last": ({"a": GOOD}, bytes(9), None, "end at 8, its data at 9"),
    "a negative offset": ({"a": entry(-8, 0, [2])}, bytes(8), None, "no whole numbers from 0"),
    "a negative size": ({"a": entry(0, 8, [-2, -1])}, bytes(8), None, "no whole numbers from 0"),
    "a huge shape": ({"a": entry(0, 8, [2**62, 2**62])}, bytes(8), None, "a has 8 bytes, its sha"),
    "a size that is true": ({"a": entry(0, 4, [True])}, bytes(4), None, "no whole numbers from 0"),
    "a size with a point": ({"a": entry(0, 8, [2.0])}, bytes(8), None, "no whole numbers from 0"),
    "three offsets": (
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8, 8]}}, bytes(8), None, "3 offs"),
    "nine sizes": ({"a": entry(0, 4, [1] * 9)}, bytes(4), None, "9 sizes"),
    "another dtype": ({"a": entry(0, 2, [2], "F8_E4M3")}, bytes(2), None, "stored as F8_E4M3; kn"),
    "a dtype that is a list": ({"a": entry(0, 8, [2], ["F32"])}, bytes(8), None, "stored as"),
    "no dtype": ({"a": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8), None, "no dtype, shape"),
    "a tensor that is a number": ({"a": 3}, b"", None, "no dtype, shape"),
    "metadata that are no words": ({"__metadata__": {"a": 1}}, b"", None, "no words"),
    "a list": (b"[1, 2]", b"", None, "no JSON object"),
    "nothing": (b"", b"", None, "no JSON object"),
    "a key twice": (
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":'
        b'{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"x", None, "'a' stands twice"),
    "Infinity": (b'{"a": Infinity}', b"", None, "holds Infinity"),
    "a million brackets": (b'{"a":' + b"[" * 10**6, b"", None, "recursion"),
    "a number of a million digits": (b'{"a":' + b"9" * 10**6 + b"}", b"", None, "digits"),
    "no UTF-8": (b'{"\xff": 1}', b"", None, "codec"),
    "a header of zeros": (b"{" + bytes(1000), b"", None, "property name"),
    "eleven million spaces": (b"{" + b" " * 11 * 10**6 + b"}", b"", None, "at most 10,000,000"),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_a_lying_header_is_refused_in_one_line_within_a_second(tmp_path, name):
    header, data, length, message = LIES[name]
    path = file_of(header, data, tmp_path, length)
    start = time.monotonic()
    with pytest.raises(ValueError, match=message) as caught:
        SafetensorsFile(path)
    assert time.monotonic() - start < 1
    text = str(caught.value)
    assert text.startswith(f"weights: {path} is damaged or foreign (")
    assert "\n" not in text
    assert len(text) < len(str(path)) + 250


def test_no_piece_of_a_file_is_one(tmp_path):
    save_file(TENSORS, tmp_path / "whole.safetensors")
    whole = (tmp_path / "whole.safetensors").read_bytes()
    for end in range(0, len(whole), 37):
        (tmp_path / "a.safetensors").write_bytes(whole[:end])
        with pytest.raises(ValueError, match="is damaged or foreign"):
            SafetensorsFile(tmp_path / "a.safetensors")


def test_a_changed_byte_is_refused_or_read_as_the_package_reads_it(tmp_path):
    """Whatever the package refuses is refused; what both accept is the same."""
    save_file({"a": torch.arange(6.0), "b": torch.arange(4)}, tmp_path / "whole.safetensors")
    whole = (tmp_path / "whole.safetensors").read_bytes()
    draw, path, accepted = random.Random(0), tmp_path / "a.safetensors", 0
    for _ in range(400):
        content = bytearray(whole)
        content[draw.randrange(140)] = draw.randrange(256)
        path.write_bytes(content)
        try:
            file = SafetensorsFile(path)
        except ValueError:
            continue
        accepted += 1
        with safe_open(path, "pt") as theirs:  # which would raise
            for name in file.places:
                assert torch.equal(
                    file.tensor(name),
                    theirs.get_tensor(name),
                )
    assert 10 < accepted < 390


def test_the_package_refuses_what_a_lie_says_too(tmp_path):
    """A check of the planted files themselves: some are lies to everybody."""
    header, data, length, _ = LIES["an overlap"]
    with pytest.raises(SafetensorError), safe_open(file_of(header, data, tmp_path, length), "pt"):
        pass


READ_ALL = """
import resource, sys, torch
from pathlib import Path
from vit.models.weights.safetensors_file import SafetensorsFile
file = SafetensorsFile(Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
total = sum(file.tensor(name).sum().item() for name in file.places)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(total, (after - before) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_reading_tensor_by_tensor_takes_the_memory_of_one(tmp_path):
    path = tmp_path / "large.safetensors"
    save_file({f"t{i}": torch.ones(2**21) for i in range(16)}, path)  # 16 of 8 MiB
    command = [sys.executable, "-c", READ_ALL, str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert float(said[0]) == 16 * 2**21
    assert int(said[1]) < 40 * 2**20
