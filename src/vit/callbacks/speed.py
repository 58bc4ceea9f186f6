"""timing.csv: how fast each epoch went, how long it waited for data, how much memory it took.

Apart from metrics.csv, which a resumed run must repeat exactly.
"""

import sys
import time
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from vit.callbacks.run_log import RunLog
from vit.flops import peak_of
from vit.module import ViTModule

try:
    import resource
except ImportError:  # Windows
    resource = None


class Speed(Callback):
    """Clock the training steps; validation, checkpoints and logging between them do not count.

    Args:
        files: the run's logger.
    """

    def __init__(self, files: RunLog) -> None:
        self.files = files
        self.busy = self.waited = self.images = 0.0  # seconds, seconds and images of this epoch
        self.total: dict[str, float] = {"busy": 0.0, "waited": 0.0, "images": 0.0}
        self.started = 0.0
        self.left: float | None = None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: ViTModule, batch: Any, batch_idx: int
    ) -> None:
        """The batch is here: what passed since the last step was waiting for it."""
        self.started = time.perf_counter()
        if self.left is not None:
            self.waited += self.started - self.left

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: ViTModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The step is done; on a GPU it is queued."""
        self.left = time.perf_counter()
        self.busy += self.left - self.started
        self.images += trainer.datamodule.batch_size / trainer.accumulate_grad_batches

    def on_validation_start(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """A validation is no waiting for data."""
        self.left = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Write the epoch's rates."""
        self.left = None
        if not self.images:
            return
        now = {"busy": self.busy, "waited": self.waited, "images": self.images}
        for name, value in now.items():
            self.total[name] += value
        self.files.record_time(trainer.global_step, trainer.current_epoch, rates(now, pl_module))
        self.busy = self.waited = self.images = 0.0

    def summary(self, module: ViTModule) -> dict[str, float]:
        """The rates of the whole fit; empty where nothing was trained."""
        return rates(self.total, module) if self.total["images"] else {}


def rates(clock: dict[str, float], module: ViTModule) -> dict[str, float]:
    """Rates from seconds and images; mfu only where the device's peak is known."""
    seconds = clock["busy"] + clock["waited"]
    rate = clock["images"] / seconds
    values = {
        "images_per_second": rate,
        "data_wait": clock["waited"] / seconds,
        "memory_gb": memory(module.device),
    }
    peak = peak_of(module.device)
    if peak:
        whole = peak * module.trainer.world_size
        values["mfu"] = rate * module.flops_per_image / whole
    return values


def memory(device: torch.device) -> float:
    """The most memory used so far, in 10**9 bytes: of the GPU, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    if resource is None:
        return float("nan")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
