"""A file whose download was interrupted is noticed without loading anything."""

import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from launch import ROOT
from vit.cli.cut_off import is_cut_off
from vit.cli.errors import UsageError
from vit.cli.paths import check_weights_path


@pytest.mark.parametrize("kind", ["pth", "npz", "safetensors"])
def test_a_file_is_whole_until_its_end_is_missing(tmp_path, kind):
    weights, file = {"a": torch.zeros(200), "b": torch.ones(100)}, tmp_path / f"a.{kind}"
    if kind == "npz":
        np.savez(file, **{name: tensor.numpy() for name, tensor in weights.items()})
    else:
        (save_file if kind == "safetensors" else torch.save)(weights, file)
    check_weights_path("--from", str(file))
    whole = file.read_bytes()
    for length in (len(whole) - 30, len(whole) // 2, 60):
        file.write_bytes(whole[:length])
        assert is_cut_off(file), length
        with pytest.raises(UsageError, match="is not whole"):
            check_weights_path("--from", str(file))


@pytest.mark.parametrize("start", [b"\x80\x02\x8a\x0a", b"\x08\x08\x12\x07pytorch"])
def test_other_files_are_left_to_those_who_read_them(tmp_path, start):
    (tmp_path / "a").write_bytes(start)
    assert not is_cut_off(tmp_path / "a")


def test_a_fit_from_a_cut_file_ends_before_torch_is_loaded(tmp_path):
    torch.save({"a": torch.zeros(200)}, tmp_path / "a.pth")
    (tmp_path / "a.pth").write_bytes((tmp_path / "a.pth").read_bytes()[:500])
    command = [sys.executable, "-X", "importtime", str(ROOT / "train.py"), "fit",
               "--model.pretrained", str(tmp_path / "a.pth")]  # fmt: skip
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "a.pth is not whole" in done.stderr
    assert not [line for line in done.stderr.splitlines() if line.endswith("| torch")]
    assert time.perf_counter() - start < 10  # a third of a second here; torch alone takes five
