"""The run folder: who runs what, on what, and how it ended."""

import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from vit import lightning_workarounds as workarounds
from vit.callbacks.run_folder import CONFIG, environment, hold, new_folder, write_config, write_json
from vit.callbacks.run_log import RunLog
from vit.module import ViTModule
from vit.whole_files import write_text

Kind = TypeVar("Kind", bound=Callback)


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
        extra: what else the summary holds.
        texts: further files of a new folder, by name.
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
    texts: dict[str, str] = field(default_factory=dict)


class Run(Callback):
    """Make the folder, keep what the summary holds, and leave one however the run ends.

    Args:
        plan: from the command line.
        files: the run's logger.
    """

    def __init__(self, plan: Plan, files: RunLog) -> None:
        self.plan = plan
        self.files = files
        self.protocol_ids: dict[str, str] = {}
        self.metrics: dict[str, float] = {}
        self.started = time.perf_counter()
        self.before = 0.0  # seconds of work before the last resumption

    # ---- the folder ---------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Rank 0 names and fills the folder and tells the others."""
        workarounds.leave_group_at_exit()
        if self.files.folder is None:
            folder = self._make(pl_module) if trainer.is_global_zero else None
            self.files.folder = trainer.strategy.broadcast(folder)

    def _make(self, module: ViTModule) -> Path:
        folder = self.plan.folder or new_folder(self.plan.parent, self.plan.seed)
        if self.plan.verb == "fit":
            hold(folder)
            if not (folder / CONFIG).exists():
                write_config(folder, module.config)
            if not self.plan.resuming:
                write_json(folder / "environment.json", environment())
            for name, text in self.plan.texts.items():
                write_text(folder / name, text)
        with (folder / "command.txt").open("a") as file:
            file.write(self.plan.command + "\n")
        return folder

    def on_train_start(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """A run that goes on knows its metrics; one without a checkpoint forgets them."""
        if not self.plan.resuming:
            return
        workarounds.restore_metrics(trainer, self.metrics)
        if pl_module.consumed == 0:
            self.files.go_back(0, 0)  # killed before its first checkpoint: from the start
            if trainer.is_global_zero:
                print("resumed: there was no checkpoint yet, so this starts again from step 0")

    # ---- what the summary holds ---------------------------------------------------------------

    def on_validation_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """The last validation counts."""
        if not trainer.sanity_checking:
            self.metrics |= pl_module.results

    def on_test_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """The test's figures stand beside the validation's."""
        self.metrics |= pl_module.results

    def seconds(self) -> float:
        """The time of work so far, as far as checkpoints remember it, over all resumptions."""
        return self.before + time.perf_counter() - self.started

    # ---- checkpoints --------------------------------------------------------------------------

    @property
    def state_key(self) -> str:
        """One name in the checkpoint, whatever this class is called with."""
        return "Run"

    def state_dict(self) -> dict[str, Any]:
        """What the summary will hold, and how much of metrics.csv belongs to the checkpoint."""
        size = self.files.size() if rank_zero_only.rank == 0 else 0
        return {
            "bytes": size,
            "metrics": dict(self.metrics),
            "protocol_ids": dict(self.protocol_ids),
            "seconds": self.seconds(),
        }

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Only a resumed fit goes back; a test reads the same checkpoints and must not."""
        if trainer.state.fn == "fit":
            state = checkpoint["callbacks"]["Run"]
            self.metrics = dict(state["metrics"])
            self.before = state.get("seconds", 0.0)
            self.protocol_ids = dict(state.get("protocol_ids", {}))
            self.files.go_back(state["bytes"], checkpoint["global_step"])

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


def callback_of(trainer: Trainer, kind: type[Kind]) -> Kind:
    """The one callback of a kind that a trainer has."""
    return next(callback for callback in trainer.callbacks if isinstance(callback, kind))
