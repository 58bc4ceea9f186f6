"""Where a training step's time goes, as a table and a trace."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.profiler import ProfilerActivity, profile, schedule

from vit.callbacks.run import Run, callback_of

ROWS = 12  # of the printed table


class Profile(Callback):
    """Trace a few training steps after a warm-up; the trace lies in the run folder.

    Args:
        warmup: steps before the trace.
        steps: steps traced.
    """

    def __init__(self, warmup: int = 2, steps: int = 10) -> None:
        self.warmup = warmup
        self.steps = steps
        self.profiler: profile | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to trace."""
        if not trainer.is_global_zero:
            return
        activities = [ProfilerActivity.CPU]
        activities += [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
        run = callback_of(trainer, Run)
        folder = run.files.folder / "profile"
        folder.mkdir(exist_ok=True)
        self.profiler = profile(
            activities=activities,
            record_shapes=True,
            schedule=schedule(wait=0, warmup=self.warmup, active=self.steps, repeat=1),
            on_trace_ready=lambda p: p.export_chrome_trace(str(folder / "steps.pt.trace.json")),
        )
        self.profiler.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell the profiler that a step is done."""
        if self.profiler:
            self.profiler.step()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the longest operations."""
        if self.profiler:
            self.profiler.stop()
            key = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
            print(self.profiler.key_averages().table(sort_by=key, row_limit=ROWS))
