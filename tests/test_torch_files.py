"""A torch file is read as data, or it is refused in one line."""

import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from builders import small_vit
from test_weights import content, save
from vit.models.torch_files import check_finite, read_torch
from vit.models.weights import open_checkpoint


def saved(value: object, folder: Path) -> Path:
    torch.save(value, folder / "a.pt")
    return folder / "a.pt"


def rewritten(path: Path, compression: int) -> Path:
    """The same members, stored otherwise."""
    other = path.with_name("other.pt")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(other, "w", compression) as target:
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
    return other


def test_tensors_and_plain_values_come_back(tmp_path):
    value = {"a": torch.arange(3), "b": [1, "two", {"c": 0.5}], "d": None}
    found = read_torch(saved(value, tmp_path), "here")
    assert torch.equal(found["a"], value["a"])
    assert found["b"] == value["b"]


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    """A compressed gigabyte of zeros is a megabyte; torch never compresses."""
    path = rewritten(saved({"a": torch.zeros(10_000)}, tmp_path), zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda self: pytest.fail("it was unpacked"))
    with pytest.raises(ValueError, match=r"here: .*other\.pt is damaged or foreign \(\S+ is comp"):
        read_torch(path, "here")


def test_overlapping_members_are_refused(tmp_path):
    """Many directory entries for one piece of data unpack to many times the file."""
    path = rewritten(saved({"a": torch.zeros(10_000)}, tmp_path), zipfile.ZIP_STORED)
    with zipfile.ZipFile(path, "a") as archive:
        large = max(archive.infolist(), key=lambda member: member.file_size)
        archive.filelist += [large] * 3
        archive._didModify = True
    with pytest.raises(ValueError, match="its members overlap"):
        read_torch(path, "here")


def test_a_tensor_larger_than_its_storage_is_refused(tmp_path):
    tensor = torch.zeros(1).expand(10**12)
    with pytest.raises(ValueError, match=r"\(x\.1 is larger than its storage\)"):
        read_torch(saved({"x": [1, tensor]}, tmp_path), "here")


class Planted:
    def __reduce__(self):
        return (Path("taken").touch, ())


@pytest.mark.parametrize(
    "value", [{"a": Planted()}, {"a": Path}, Planted()], ids=["inside", "a class", "alone"]
)
def test_code_is_refused_and_not_run(tmp_path, monkeypatch, value):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="is damaged or foreign"):
        read_torch(saved(value, tmp_path), "here")
    assert not (tmp_path / "taken").exists()


def test_neither_a_pickle_nor_a_piece_of_a_file_is_one(tmp_path):
    whole = saved({"a": torch.zeros(10)}, tmp_path).read_bytes()
    (tmp_path / "b.pt").write_bytes(pickle.dumps({"a": 1}))
    pieces = [whole[:end] for end in range(0, len(whole), 97)]
    for number, piece in enumerate(pieces):
        (tmp_path / f"{number}.pt").write_bytes(piece)
    for path in [tmp_path / "b.pt", *(tmp_path / f"{n}.pt" for n in range(len(pieces)))]:
        with pytest.raises(ValueError, match=f"here: {path} is damaged or foreign"):
            read_torch(path, "here")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, value):
    stored = content(small_vit())
    stored["state_dict"]["objective.encoder.norm.weight"][3] = value
    path = save(stored, tmp_path)
    with pytest.raises(ValueError, match="not finite") as caught:
        open_checkpoint(path)
    assert str(caught.value) == (
        f"weights: objective.encoder.norm.weight in {path} holds numbers that are not finite; "
        "take an earlier checkpoint, or train again with a lower learning rate"
    )


def test_whole_numbers_and_empty_tensors_are_finite():
    check_finite({"a": torch.zeros(0), "b": torch.tensor([1, 2]), "c": torch.zeros(2).bfloat16()},
                 Path("x"))  # fmt: skip


@pytest.mark.parametrize("state", [[1], {"a": 1}, None, {"a": [torch.zeros(1)]}])
def test_a_state_that_is_no_table_of_tensors_is_refused(state):
    with pytest.raises(ValueError, match="weights: x holds no table of tensors"):
        check_finite(state, Path("x"))
