"""Ctrl-C, SIGTERM and SIGUSR1 (a cluster's notice): finish the step, save, leave.

Lightning's own answer raises in the middle of an epoch without saving, and broadcasts a flag after
every step of a distributed run, which makes the device wait. Here ranks agree at logged steps.
"""

import signal
import sys
import threading
from types import FrameType

import torch
from lightning.pytorch import Callback, Trainer

from vit.module import ViTModule
from vit.ranks import active, sum_over_ranks

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
)


class Interruption(Callback):
    """Notes that somebody wants the run to stop; `Checkpoints` asks it after each step."""

    def __init__(self) -> None:
        self.signal = 0
        self.before: dict[int, object] = {}

    def on_train_start(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Listen; Lightning has set its own handlers by now."""
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self.note) for number in SIGNALS}

    def on_train_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """What comes now is a test, or nothing."""
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def note(self, number: int, frame: FrameType | None) -> None:
        """The first time: after this step. A second Ctrl-C: at once."""
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.signal:
            name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
            print(f"{name}: stopping after this step; Ctrl-C stops at once", file=sys.stderr)
        self.signal = number

    def wanted(self, trainer: Trainer, module: ViTModule) -> bool:
        """Shall the run stop here? Several ranks agree at logged steps and validations."""
        if not active():
            return bool(self.signal)
        if trainer.training and trainer.global_step % trainer.log_every_n_steps:
            return False
        anyone = sum_over_ranks(torch.tensor(float(self.signal > 0), device=module.device))
        return bool(anyone)
