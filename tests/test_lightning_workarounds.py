"""Each place where we go round the libraries still needs it, and still works."""

import os
import signal
import subprocess
import sys

import pytest
import torch

from launch import CONTEXT
from vit import lightning_workarounds as workarounds
from vit import sharding
from vit.models import TokenEncoder


def _save_for_ever(path: str) -> None:
    torch.set_num_threads(1)
    while True:
        workarounds.AtomicFiles().save_checkpoint({"weights": torch.zeros(2_000_000)}, path)


def test_a_kill_while_saving_never_leaves_a_torn_file(tmp_path):
    path = tmp_path / "last.ckpt"
    workarounds.AtomicFiles().save_checkpoint({"weights": torch.zeros(3)}, path)
    for delay in (0.05, 0.11, 0.17, 0.23, 0.29):
        writer = CONTEXT.Process(target=_save_for_ever, args=(str(path),))
        writer.start()
        writer.join(delay)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        torch.load(path, weights_only=True)


def test_every_public_step_is_registered_for_sharding():
    for step in TokenEncoder.STEPS:
        assert callable(getattr(TokenEncoder, step))


@pytest.mark.parametrize("compute", ["bfloat16", "float32"])
def test_master_weights_stay_float32_whatever_is_computed_in(compute):
    strategy = sharding.FullyShard(compute=compute)
    assert strategy.policy.reduce_dtype is torch.float32
    assert strategy.policy.param_dtype is (torch.bfloat16 if compute == "bfloat16" else None)


LEAVES = """
import atexit
from torch import distributed as dist
from vit.lightning_workarounds import leave_group_at_exit
dist.init_process_group("gloo", init_method="file://%s", rank=0, world_size=1)
atexit.register(lambda: print("group at exit:", dist.is_initialized()))  # runs after what follows
leave_group_at_exit()
leave_group_at_exit()
"""


def test_gloos_threads_end_before_the_interpreter_does(tmp_path):
    command = [sys.executable, "-c", LEAVES % (tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("group at exit: False\n", 0), done.stderr
