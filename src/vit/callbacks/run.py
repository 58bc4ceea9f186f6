"""The run folder: who runs what, on what, and how it ended (contract C5)."""

import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from vit import lightning_workarounds as workarounds
from vit.callbacks.run_folder import CONFIG, environment, hold, new_folder, write_config, write_json
from vit.callbacks.run_log import RunLog
from vit.module import ViTModule

FEW = 50_000  # logs/records/2026-11-28_digits_all, 2026-11-28_cifar_classes: validity of each arm


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
        config: the resolved settings a run began with, where it has begun.
        trusted: modules outside this project whose classes a file might name (--trust).
    """

    verb: str
    folder: Path | None
    parent: Path
    seed: int
    command: str
    summary: str = "summary.json"
    resuming: bool = False
    config: str | None = None
    trusted: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)


class Run(Callback):
    """Make the folder, record the metrics, and leave a summary however the run ends.

    Args:
        plan: from the command line.
        files: the run's logger.
    """

    def __init__(self, plan: Plan, files: RunLog) -> None:
        self.plan, self.files, self.protocol_ids = plan, files, {}
        self.started, self.before, self.metrics = time.perf_counter(), 0.0, {}

    # ---- the folder ---------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Rank 0 names and fills the folder and tells the others."""
        if self.files.folder is None:
            made = self._make(pl_module) if trainer.is_global_zero else None
            self.files.folder = trainer.strategy.broadcast(made)

    def _make(self, module: ViTModule) -> Path:
        folder = self.plan.folder or new_folder(self.plan.parent, self.plan.seed)
        if self.plan.verb == "fit":
            hold(folder)
            if not (folder / CONFIG).exists():
                write_config(folder, module.config)
            if not self.plan.resuming:
                write_json(folder / "environment.json", environment())
        with (folder / "command.txt").open("a") as file:
            file.write(self.plan.command + "\n")
        return folder

    # ---- metrics ------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Say what will happen."""
        if self.plan.resuming:
            workarounds.restore_metrics(trainer, self.metrics)
        if self.plan.resuming and pl_module.consumed == 0:
            self.files.go_back(0, 0)  # killed before its first checkpoint: from the start
            if trainer.is_global_zero:
                print("resumed: there was no checkpoint yet, so this starts again from step 0")
        if trainer.is_global_zero:
            print("\n".join(header(trainer, pl_module)), flush=True)

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
        pl_module.recent.check()
        metrics = pl_module.take_step_metrics()
        for name in ("train/loss", "train/accuracy"):
            if name in metrics:
                pl_module.log(name, metrics[name], prog_bar=True, logger=False)
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

    def on_test_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Kept for the summary."""
        self.metrics |= pl_module.results

    def state_dict(self) -> dict[str, Any]:
        """How much of metrics.csv belongs to the checkpoint."""
        size = self.files.size() if rank_zero_only.rank == 0 else 0
        return {
            "bytes": size,
            "metrics": dict(self.metrics),
            "protocol_ids": dict(self.protocol_ids),
            "seconds": self.seconds(),
        }

    def seconds(self) -> float:
        """Of work so far, as far as checkpoints remember it, over all resumptions."""
        return self.before + time.perf_counter() - self.started

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Only a resumed fit goes back; a test reads the same checkpoints and must not."""
        if trainer.state.fn == "fit":
            state = checkpoint["callbacks"]["Run"]
            self.metrics, self.before = dict(state["metrics"]), state.get("seconds", 0.0)
            self.protocol_ids = dict(state.get("protocol_ids", {}))
            self.files.go_back(state["bytes"], checkpoint["global_step"])

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
        with contextlib.suppress(OSError):  # a full disk: what went wrong first is what is told
            self.finish(trainer, pl_module, "interrupted" if stopped else "failed")

    @rank_zero_only
    def finish(
        self,
        trainer: Trainer,
        module: ViTModule,
        status: str,
        speed: dict[str, float] | None = None,
    ) -> None:
        """Write the summary: one flat object."""
        if self.files.folder is None:
            return
        images = trainer.global_step * trainer.datamodule.batch_size
        write_json(
            self.files.folder / self.plan.summary,
            {
                "status": status,
                "seed": module.seed,
                "seconds": round(self.seconds(), 1),
                "images_seen": images,
                "training_flops": module.flops_per_image * images,
                "protocol_ids": self.protocol_ids,
                **(speed or {}),
                **({"trusted": list(self.plan.trusted)} if self.plan.trusted else {}),
                **self.plan.extra,
                **self.metrics,
            },
        )
        self.files.finalize(status)


def epoch_of(trainer: Trainer, module: ViTModule) -> int:
    """The epoch of the last batch, from our own counter."""
    return max(module.consumed - 1, 0) // trainer.num_training_batches


def header(trainer: Trainer, module: ViTModule) -> list[str]:
    """What a person should know before the first step."""
    data, spec, encoder = trainer.datamodule, module.spec, module.objective.encoder
    ranks, accumulate = trainer.world_size, trainer.accumulate_grad_batches
    per_device = data.per_device(module.loader_context())
    counts = ", ".join(f"{count:,} {split}" for split, count in spec.counts.items())
    size = "x".join(map(str, (*data.spec.image_size, spec.channels)))
    parameters = sum(p.numel() for p in encoder.parameters())
    groups = trainer.optimizers[0].param_groups
    lr = groups[0]["base_lr"] / groups[0]["lr_factor"]
    seen = module.total_steps * data.batch_size
    patch = getattr(encoder, "patch_size", None)
    lines = [
        f"data: {type(data).__name__}, {counts}, {size} pixels",
        *(f"data: {note}" for note in data.notes),
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
    lines += short(module, seen)
    still = sum(p.numel() for p in encoder.parameters() if not p.requires_grad)
    if still:
        begun = "" if module.coverage else ", which nothing has trained (no model.pretrained)"
        lines.append(f"frozen: {still:,} parameters of the encoder{begun}")
    if module.consumed:
        lines.append(f"resumed at step {trainer.global_step:,}")
    elif module.coverage:
        lines.append(module.coverage)
    for group in groups:
        count = sum(p.numel() for p in group["params"])
        decay = group["base_weight_decay"]
        lines.append(f"group: {group['name']}: {count:,} parameters, weight decay {decay:g}")
    return lines


def short(module: ViTModule, seen: int) -> list[str]:
    """A line where a self-supervised run sees so few images that it may learn nothing."""
    if seen >= FEW or module.objective.uses_labels:
        return []
    return [
        f"length: few for self-supervision; below {FEW:,} images 7 of 12 arms of our studies on "
        "small pictures were no better than an untrained encoder"
    ]
