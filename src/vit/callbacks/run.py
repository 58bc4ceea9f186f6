"""The run folder: who runs what, on what, and how it ended (contract C5)."""

import json
import math
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from vit.callbacks.run_log import RunLog
from vit.module import ViTModule

PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "jsonargparse", "numpy")


@dataclass
class Plan:
    """What the command line decided before anything was built.

    Args:
        verb: fit, validate, test or predict.
        folder: where the run lives; None: a new one, named by rank 0.
        parent: where a new folder is made.
        seed: of the run.
        command: as typed.
        summary: file name of the summary.
        resuming: the folder holds an interrupted run.
    """

    verb: str
    folder: Path | None
    parent: Path
    seed: int
    command: str
    summary: str = "summary.json"
    resuming: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


class Run(Callback):
    """Make the folder, record the metrics, and leave a summary however the run ends.

    Args:
        plan: from the command line.
        files: the run's logger.
    """

    def __init__(self, plan: Plan, files: RunLog) -> None:
        self.plan, self.files, self.protocol_ids = plan, files, {}
        self.started = self.epoch_started = time.perf_counter()
        self.epoch_consumed, self.metrics, self.before = 0, {}, 0.0

    # ---- the folder ---------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Rank 0 names and fills the folder and tells the others."""
        if self.files.folder is None:
            made = self._make(pl_module) if trainer.is_global_zero else None
            self.files.folder = trainer.strategy.broadcast(made)

    def _make(self, module: ViTModule) -> Path:
        folder = self.plan.folder or new_folder(self.plan.parent, self.plan.seed)
        with (folder / "command.txt").open("a") as file:
            file.write(self.plan.command + "\n")
        if self.plan.verb == "fit":
            if not (folder / "config.yaml").exists():
                (folder / "config.yaml").write_text(module.config)
            write_json(folder / "environment.json", environment())
            earlier = read_json(folder / "summary.json")
            self.before = float(earlier.get("seconds", 0.0)) if self.plan.resuming else 0.0
        return folder

    # ---- metrics ------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Say what will happen; start the clock of an epoch, which a resume enters midway."""
        if self.plan.resuming and pl_module.consumed == 0:
            self.files.go_back(0, 0)  # killed before its first checkpoint: from the start
            if trainer.is_global_zero:
                print("resumed: there was no checkpoint yet, so this starts again from step 0")
        if trainer.is_global_zero:
            print("\n".join(header(trainer, pl_module)), flush=True)
        self.epoch_started, self.epoch_consumed = time.perf_counter(), pl_module.consumed

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: ViTModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Every log_every_n_steps optimiser steps, one row a value."""
        step = trainer.global_step
        if pl_module.consumed % trainer.accumulate_grad_batches:
            return
        if step % trainer.log_every_n_steps:
            pl_module.step_losses.clear()
            return
        metrics = pl_module.take_step_metrics()
        if not math.isfinite(metrics["train/loss"]):
            raise FloatingPointError(
                f"train/loss is {metrics['train/loss']} at step {step}: lower the lr or "
                "set model.clip; the last checkpoint is kept"
            )
        pl_module.log("train/loss", metrics["train/loss"], prog_bar=True, logger=False)
        group = trainer.optimizers[0].param_groups[0]
        metrics["train/lr"] = group["lr"] / group["lr_factor"]
        self.files.record(metrics, step, epoch_of(trainer, pl_module))

    def on_validation_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """One row a value, once a step even if Lightning repeats a validation after a resume."""
        if trainer.sanity_checking:
            return
        self.metrics |= pl_module.results
        if trainer.state.fn != "fit" or pl_module.validated == trainer.global_step:
            return
        pl_module.validated = trainer.global_step
        self.files.record(pl_module.results, trainer.global_step, epoch_of(trainer, pl_module))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Seconds and images of the epoch."""
        now, consumed = time.perf_counter(), pl_module.consumed
        per_batch = trainer.datamodule.batch_size // trainer.accumulate_grad_batches
        images = (consumed - self.epoch_consumed) * per_batch
        if images:
            self.files.record_time(
                trainer.global_step, epoch_of(trainer, pl_module), now - self.epoch_started, images
            )
        self.epoch_started, self.epoch_consumed = now, consumed

    def on_test_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Kept for the summary."""
        self.metrics |= pl_module.results

    def state_dict(self) -> dict[str, Any]:
        """How much of metrics.csv belongs to the checkpoint."""
        size = self.files.size() if rank_zero_only.rank == 0 else 0
        return {"bytes": size, "metrics": dict(self.metrics)}

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Only a resumed fit goes back; a test reads the same checkpoints and must not."""
        if trainer.state.fn == "fit":
            self.metrics = dict(checkpoint["callbacks"]["Run"]["metrics"])
            self.files.go_back(checkpoint["callbacks"]["Run"]["bytes"], checkpoint["global_step"])

    @property
    def state_key(self) -> str:
        """One name in the checkpoint, whatever this class is called with."""
        return "Run"

    # ---- the end ------------------------------------------------------------------------------

    def on_exception(
        self, trainer: Trainer, pl_module: ViTModule, exception: BaseException
    ) -> None:
        """An interrupted or failed run keeps a summary that says so."""
        stopped = isinstance(exception, (KeyboardInterrupt, SystemExit))
        self.finish(trainer, pl_module, "interrupted" if stopped else "failed")

    @rank_zero_only
    def finish(self, trainer: Trainer, module: ViTModule, status: str) -> None:
        """Write the summary: one flat object."""
        if self.files.folder is None:
            return
        images = trainer.global_step * trainer.datamodule.batch_size
        write_json(
            self.files.folder / self.plan.summary,
            {
                "status": status,
                "seed": module.seed,
                "seconds": round(self.before + time.perf_counter() - self.started, 1),
                "images_seen": images,
                "training_flops": module.flops_per_image * images,
                "protocol_ids": self.protocol_ids,
                **self.plan.extra,
                **self.metrics,
            },
        )
        self.files.finalize(status)


def new_folder(parent: Path, seed: int) -> Path:
    """A folder that did not exist before, also when two runs start in the same second."""
    stem = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_seed{seed}"
    for attempt in range(1, 1000):
        folder = parent / (stem if attempt == 1 else f"{stem}_{attempt}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"logs: {parent} holds a thousand runs of this second")


def epoch_of(trainer: Trainer, module: ViTModule) -> int:
    """The epoch of the last batch, from our own counter."""
    return max(module.consumed - 1, 0) // trainer.num_training_batches


def header(trainer: Trainer, module: ViTModule) -> list[str]:
    """What a person should know before the first step."""
    data, spec, encoder = trainer.datamodule, module.spec, module.objective.encoder
    ranks, accumulate = trainer.world_size, trainer.accumulate_grad_batches
    per_device = data.per_device()
    counts = ", ".join(f"{count:,} {split}" for split, count in spec.counts.items())
    size = "x".join(map(str, (*data.spec.image_size, spec.channels)))
    parameters = sum(p.numel() for p in encoder.parameters())
    groups = trainer.optimizers[0].param_groups
    lr = groups[0]["base_lr"] / groups[0]["lr_factor"]
    seen = module.total_steps * data.batch_size
    patch = getattr(encoder, "patch_size", None)
    lines = [
        f"data: {type(data).__name__}, {counts}, {size} pixels",
        f"encoder: {encoder.class_path.rpartition('.')[2]}, {parameters:,} parameters"
        + (
            f", patches of {patch} px on a {encoder.grid[0]}x{encoder.grid[1]} grid"
            if patch
            else ""
        ),
        f"batch: {per_device} per device x {ranks} ranks x {accumulate} accumulated = "
        f"{data.batch_size} images a step; lr {lr:.4g} after scaling ({module.lr_scaling})",
        f"length: {module.total_steps:,} steps, {seen:,} images, "
        f"{module.flops_per_image * seen:.3g} FLOPs",
    ]
    if module.consumed:
        lines.append(f"resumed at step {trainer.global_step:,}")
    elif module.coverage:
        lines.append(module.coverage)
    for group in groups:
        count = sum(p.numel() for p in group["params"])
        decay = group["base_weight_decay"]
        lines.append(f"group: {group['name']}: {count:,} parameters, weight decay {decay:g}")
    return lines


def environment() -> dict[str, Any]:
    """Code, versions and hardware."""
    git = ["git", "-C", str(Path(__file__).parent)]

    def ask(*words: str) -> str | None:
        try:
            return subprocess.run(
                [*git, *words], capture_output=True, text=True, check=True, timeout=10
            ).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return None

    changes = ask("status", "--porcelain")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "git_commit": ask("rev-parse", "HEAD"),
        "git_dirty": None if changes is None else bool(changes),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in PACKAGES},
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "argv": sys.argv[1:],
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Written beside and renamed: the file is never half a file."""
    part = path.with_name(path.name + ".part")
    plain = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in content.items()
    }
    part.write_text(json.dumps(plain, indent=1) + "\n")
    part.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """An empty dict where there is no file."""
    return json.loads(path.read_text()) if path.is_file() else {}
