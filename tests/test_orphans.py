"""A run that is killed leaves nothing behind, on which road its processes were begun."""

import contextlib
import os
import time
from pathlib import Path

import pytest

from launch import launch
from pictures import folder

needs_proc = pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="no /proc here")


def living(cwd: Path) -> list[int]:
    """Processes that work in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").readlink() == cwd and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found


@needs_proc
@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_leaves_no_process(tmp_path, workers):
    """The tests begin runs by forkserver, as studies do: loading processes have another parent."""
    folder(tmp_path / "pets", {"cat": 30, "dog": 30}, kind="PNG")
    ended = launch(
        "fit", "--config", "configs/quickstart.yaml", "--data", "configs/data/image_folder.yaml",
        "--data.root", "pets", "--data.image_size", "16", "--data.workers", str(workers),
        "--data.batch_size", "8", "--model.encoder.patch_size", "8", cwd=tmp_path, kill_at=3,
    )  # fmt: skip
    assert ended.code == 9
    patience = time.monotonic() + 30
    while left := living(tmp_path):
        assert time.monotonic() < patience, f"still there: {left}"
        time.sleep(0.1)
