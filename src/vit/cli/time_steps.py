"""How long a training step takes here: a fit is begun, and ended once a few steps were timed.

Nothing of it is made up: the data and its loader, the optimiser, the device and the threads are
those of the runs, and so is what Lightning does between two steps.
"""

import contextlib
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from vit.callbacks.run import Plan
from vit.callbacks.run_folder import write_json
from vit.callbacks.run_log import RunLog
from vit.cli.engine import CLI
from vit.module import ViTModule

WARM_UP = 2  # steps that also set something up, and are not timed
SECONDS = 2.0  # of timed steps
MOST = 100  # timed steps


class Enough(Exception):
    """The steps are timed; the fit need not go on."""


class StepClock(Callback):
    """Time whole steps, from the start of one to the start of the next, and end the fit.

    Args:
        begun: when the process began, `time.perf_counter()`.
    """

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.batches = 0
        self.start = self.first = self.seconds = self.images = 0.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: ViTModule, batch: Any, batch_idx: int
    ) -> None:
        """The step before is over.

        Raises:
            Enough: so many steps were timed, or for so long.
        """
        self.read(trainer, pl_module)
        self.batches += 1
        if self.batches > WARM_UP + 1 and (
            self.seconds >= SECONDS or self.batches > WARM_UP + MOST
        ):
            raise Enough

    def on_train_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """A short fit ends by itself."""
        self.read(trainer, pl_module)

    def read(self, trainer: Trainer, module: ViTModule) -> None:
        """Note the time; steps before this one are counted from the end of the warm-up."""
        timed = self.batches - WARM_UP
        if module.device.type == "cuda" and timed in (0, 1):
            torch.cuda.synchronize(module.device)  # from here on a queue's length is of no account
        now = time.perf_counter()
        if self.batches == 0:
            self.start = now - self.begun
        if timed == 0:
            self.first = now
        if timed > 0:
            self.seconds = now - self.first
            batch = trainer.datamodule.batch_size / trainer.accumulate_grad_batches
            self.images = timed * batch


def time_steps(folder: str, argv: list[str]) -> int:
    """Begin a fit in a folder, time some steps of it, and write `timing.json` there.

    Args:
        folder: where; the run folder is made there too.
        argv: of the fit, its verb first.
    """
    clock = StepClock(time.perf_counter())
    files = RunLog()
    cli = CLI(argv[1:], Plan("fit", None, Path(folder), 0, ""), files)
    cli.trainer.callbacks.append(clock)
    with contextlib.suppress(Enough):
        cli.trainer.fit(cli.model, cli.datamodule)
    if not clock.images:
        return 1
    per_image = clock.seconds / clock.images
    write_json(Path(folder) / "timing.json", {"start": clock.start, "per_image": per_image})
    return 0
