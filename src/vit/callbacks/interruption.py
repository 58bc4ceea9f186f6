"""Ctrl-C, SIGTERM, SIGUSR1 (a cluster's notice), a closed terminal: finish the step, save, leave.

Lightning's own answer raises in the middle of an epoch without saving, and broadcasts a flag after
every step of a distributed run, which makes the device wait. Here ranks agree at logged steps.
"""

import contextlib
import signal
import sys
import threading
from types import FrameType

import torch
from lightning.pytorch import Callback, Trainer

from vit.callbacks.terminal import discard_terminal_output
from vit.collectives import active, sum_over_ranks
from vit.module import ViTModule

SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")
    if hasattr(signal, name)
)


class Interruption(Callback):
    """Note that somebody wants the run to stop; `Checkpoints` asks for it after each step."""

    def __init__(self) -> None:
        self.signal = 0  # the first that came
        self.stepping = False  # is there another step to wait for?

    def on_train_start(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Listen from the first step on."""
        self.stepping = trainer.global_step < pl_module.total_steps
        self.listen()

    def on_test_start(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Nothing is lost by stopping at once."""
        self.stepping = False
        self.listen()

    on_predict_start = on_test_start

    def on_validation_start(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Listen where validation is the verb, and not a part of a fit."""
        if trainer.state.fn != "fit":
            self.on_test_start(trainer, pl_module)

    def listen(self) -> None:
        """Set our handlers after Lightning's; it puts back what was there before its own."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                hangup = signal.Signals(number).name == "SIGHUP"
                if not (hangup and signal.getsignal(number) == signal.SIG_IGN):  # under nohup
                    signal.signal(number, self.note)

    def note(self, number: int, frame: FrameType | None) -> None:
        """The first time: after this step. A second Ctrl-C, or without steps left: at once."""
        if signal.Signals(number).name == "SIGHUP":
            discard_terminal_output()
        if self.signal and number != signal.SIGINT:
            return
        again, self.signal = self.signal, self.signal or number
        if again or not self.stepping:
            raise KeyboardInterrupt
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        with contextlib.suppress(RuntimeError):  # the signal came in the middle of a write to it
            print(f"{name}: stopping after this step; Ctrl-C stops at once", file=sys.stderr)

    def wanted(self, trainer: Trainer, module: ViTModule) -> bool:
        """Shall the run stop here? Several ranks agree at logged steps and validations."""
        if not active():
            return bool(self.signal)
        if trainer.training and trainer.global_step % trainer.log_every_n_steps:
            return False
        anyone = sum_over_ranks(torch.tensor(float(self.signal > 0), device=module.device))
        return bool(anyone)
