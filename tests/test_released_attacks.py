"""Files of weights that were made to harm: each is refused in one line, and nothing of it runs."""

import io
import json
import os
import pickle
import struct
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from vit.models.weights import stored_encoder

FIRST = "patch_embed.proj.weight"


class Payload:
    """What runs when it is unpickled by anybody who trusts it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("echo x> taken",)


class Opened:
    """As above, without a shell."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path("taken").touch, ()


def saved(value: Any, new: bool = True) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=new)
    return stream.getvalue()


def compressed(content: bytes) -> bytes:
    """The same archive with its members packed."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as source,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
    return stream.getvalue()


def archive(members: dict[str, bytes], unpacked: int | None = None) -> bytes:
    """Packed members; the directory may say how large the last one becomes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in members.items():
            target.writestr(name, content)
        target.filelist[-1].file_size = unpacked or target.filelist[-1].file_size
    return stream.getvalue()


def array(value: np.ndarray, claimed: str | None = None) -> bytes:
    """An .npy member; its header may claim another shape."""
    stream = io.BytesIO()
    np.save(stream, value, allow_pickle=True)
    content = stream.getvalue()
    if claimed is None:
        return content
    old = f"{value.shape}, }}".encode()
    return content.replace(old.ljust(len(claimed) + 4), f"{claimed}, }}".encode().ljust(len(old)))


def safetensors(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor_of(*offsets: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2], "data_offsets": list(offsets)}


def outside() -> bytes:
    weight = numpy_helper.from_array(np.zeros(4, dtype=np.float32), "w")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="/etc/passwd")
    graph = helper.make_graph([], "g", [], [], [weight])
    return helper.make_model(graph).SerializeToString()


ATTACKS = {
    "pickle.pth": lambda: pickle.dumps({FIRST: Payload()}, protocol=2),
    "payload.pth": lambda: saved({"model": {FIRST: Payload()}}),
    "payload.bin": lambda: saved({FIRST: torch.zeros(1), "x": Opened()}),
    "old_payload.pth": lambda: saved({FIRST: Payload()}, new=False),
    "old_opened.pth": lambda: saved(Opened(), new=False),
    "renamed.safetensors": lambda: saved({FIRST: Payload()}),
    "renamed.onnx": lambda: pickle.dumps(Opened(), protocol=2),
    "bomb.pth": lambda: compressed(saved({FIRST: torch.zeros(10**7)})),
    "expanded.pth": lambda: saved({FIRST: torch.zeros(1).expand(10**12)}),
    "objects.npz": lambda: archive({"cls.npy": array(np.array([Payload()], dtype=object))}),
    "bomb.npz": lambda: archive({"cls.npy": array(np.zeros(10**6))}, unpacked=2**31),
    "claims.npz": lambda: archive({"cls.npy": array(np.zeros(9), "(9999999999999,)")}),
    "length.safetensors": lambda: struct.pack("<Q", 10**12) + b"{}" + bytes(20),
    "overlap.safetensors": lambda: safetensors({"a": tensor_of(0, 8), "b": tensor_of(4, 12)}),
    "negative.safetensors": lambda: safetensors({"a": tensor_of(-8, 0)}, bytes(8)),
    "twice.safetensors": lambda: safetensors(b'{"a": 1, "a": 1}'),
    "nested.safetensors": lambda: safetensors(b'{"a":' + b"[" * 10**6 + b"]" * 10**6 + b"}"),
    "outside.onnx": outside,
    "length.onnx": lambda: b"\x08\x08\x3a" + b"\xff" * 9 + b"\x01",
    "endless.onnx": lambda: b"\x08" + b"\xff" * 30,
}


@pytest.mark.parametrize("name", ATTACKS)
def test_it_is_refused_in_one_line_and_does_not_run(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.write_bytes(ATTACKS[name]())
    start = time.process_time()
    with pytest.raises(ValueError, match=name) as caught:
        stored_encoder(path)
    assert time.process_time() - start < 3  # a fraction of it where types are not checked
    assert not (tmp_path / "taken").exists()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_the_payloads_are_real(tmp_path, monkeypatch):
    """A planted fault: if these did nothing, the test above would be asleep."""
    for content in (pickle.dumps(Opened()), pickle.dumps(Payload())):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "taken").unlink(missing_ok=True)
        pickle.loads(content)
        assert (tmp_path / "taken").exists()


def test_shards_and_configs_lead_to_no_place_outside_their_folder(tmp_path):
    (tmp_path / "secret.safetensors").write_bytes(safetensors({"a": tensor_of(0, 8)}, bytes(8)))
    folder = tmp_path / "inside"
    folder.mkdir()
    index = {"weight_map": {"a": "../secret.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"lists \.\./secret\.safetensors, which is not beside it"):
        stored_encoder(folder)
    (folder / "config.json").write_text("[" * 10**6)
    with pytest.raises(ValueError, match=r"config\.json is no JSON"):
        stored_encoder(folder)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before torch 1.6"])
def test_a_sound_file_of_either_age_is_read(tmp_path, new):
    """The refusals above are not for being torch's: what is missing is the rest of an encoder."""
    (tmp_path / "a.pth").write_bytes(saved({FIRST: torch.zeros(8, 3, 4, 4)}, new))
    with pytest.raises(ValueError, match=r"holds 1 tensors \(patch_embed\.proj\.weight"):
        stored_encoder(tmp_path / "a.pth")
