"""Each place where we go round the libraries still needs it, and still works."""

import os
import signal

import pytest
import torch
from jsonargparse import ArgumentParser

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


class Base:
    """A family."""


class First(Base):
    """One member.

    Args:
        width: shared name.
    """

    def __init__(self, width: int = 1) -> None:
        self.width = width


class Second(Base):
    """Another member.

    Args:
        width: shared name.
    """

    def __init__(self, width: int = 8) -> None:
        self.width = width


def swapped_width() -> int:
    parser = ArgumentParser()
    parser.add_argument("--part", type=Base)
    parser.add_argument("--config", action="config")
    parsed = parser.parse_args([
        f"--part={__name__}.First", "--part.width=32", f"--part={__name__}.Second",
    ])  # fmt: skip
    return parsed.part.init_args.width


def test_a_later_class_starts_from_its_own_defaults(monkeypatch):
    monkeypatch.setattr(
        workarounds.typehints, "discard_init_args_on_class_path_change",
        workarounds.typehints.discard_init_args_on_class_path_change,
    )  # fmt: skip
    assert swapped_width() == 32, "upstream mended it: drop forget_other_class_arguments"
    workarounds.forget_other_class_arguments()
    assert swapped_width() == 8


def test_every_public_step_is_registered_for_sharding():
    for step in TokenEncoder.STEPS:
        assert callable(getattr(TokenEncoder, step))


@pytest.mark.parametrize("compute", ["bfloat16", "float32"])
def test_master_weights_stay_float32_whatever_is_computed_in(compute):
    strategy = sharding.FullyShard(compute=compute)
    assert strategy.policy.reduce_dtype is torch.float32
    assert strategy.policy.param_dtype is (torch.bfloat16 if compute == "bfloat16" else None)
