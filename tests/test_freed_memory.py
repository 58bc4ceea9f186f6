"""Freed memory is used again, as the count of page faults tells; a fit on a CPU asks for it."""

import subprocess
import sys

import pytest
from lightning.pytorch import Trainer

from builders import small_vit
from vit import module as module_file
from vit.data import Digits
from vit.freed_memory import keep_freed_memory
from vit.module import ViTModule
from vit.objectives.supervised import Supervised

SCRIPT = """
import resource, torch
from vit.freed_memory import keep_freed_memory
assert keep_freed_memory()
for step in range(16):
    if step == 6:  # the first ones take their pages from the system either way
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(12 * 2**20) for _ in range(4)]  # 48 MB each
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = 10 * 4 * 48 * 2**20 // 4096  # of all blocks of the last ten steps


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's setting")
def test_few_pages_are_fetched_again():
    """Without it each step fetches all of them anew, where the system's pages are 4 kB."""
    argv = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 0.3 * PAGES


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert not keep_freed_memory()


def test_a_fit_on_a_cpu_asks_for_it(monkeypatch):
    asked = []
    monkeypatch.setattr(module_file, "keep_freed_memory", lambda: asked.append(True))
    module = ViTModule(Supervised, small_vit, spec=Digits().spec)
    Trainer(
        max_steps=1,
        limit_val_batches=0,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(module, Digits(batch_size=16))
    assert asked == [True]
