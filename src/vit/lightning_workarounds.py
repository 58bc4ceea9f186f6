"""Every private or surprising place of Lightning that we touch, in one file.

Each entry names its upstream issue; each has a test, so that an upgrade shows what can go. Those of
jsonargparse stand in parser_workarounds.py, which loads without Lightning.
"""

import atexit
import logging
import threading
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loops.fit_loop import _FitLoop
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from vit.models.base import Encoder
from vit.models.torch_files import save_torch


class AtomicFiles(TorchCheckpointIO):
    """Write beside the target, flush to disk, rename.

    Lightning stages in TMPDIR; on another file system its move is a copy, and a kill in the middle
    leaves a torn checkpoint (Lightning-AI/pytorch-lightning#21253, #21744).
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """The file is the old one or the new one, at any instant."""
        save_torch(checkpoint, Path(path))


def settle_buckets(module: LightningModule) -> None:
    """Let DDP arrange its buckets before the first step, by a backward pass that changes nothing.

    DDP sums the gradients of its first backward pass in one bucket and those of all later ones in
    buckets by order of arrival. Where a number lies decides in which order three or more ranks add
    it up, so the first step after a resume would be rounded otherwise than in a run never killed.
    """
    strategy = module.trainer.strategy
    if not isinstance(strategy.model, DistributedDataParallel):
        return
    strategy._forward_redirection(strategy.model, module, "zero_loss").backward()
    module.zero_grad(set_to_none=True)


def compile_blocks(encoder: Encoder) -> None:
    """Compile each block in place, so that the names of parameters stay.

    All blocks share one compiled function a shape. The limit counts shapes: crops of two sizes and
    the last batches of three splits pass torch's 8, after which it would silently not compile.
    """
    torch._dynamo.config.recompile_limit = 64
    for block in encoder.blocks_to_shard():
        block.compile(dynamic=False)


def no_broadcast_after_every_step() -> None:
    """Lightning asks all ranks after each step whether one got SIGTERM, and waits for the answer.

    `callbacks.interruption` asks at logged steps instead (Lightning-AI/pytorch-lightning#21487).
    """
    _TrainingEpochLoop._broadcast_sigterm_tensor = lambda self: None


def restore_metrics(trainer: Trainer, metrics: dict[str, float]) -> None:
    """What callbacks such as EarlyStopping read; Lightning's checkpoints do not hold it.

    A run that was killed after an epoch's last validation begins with the end of that epoch.
    """
    values = {name: torch.tensor(value) for name, value in metrics.items()}
    trainer._logger_connector._callback_metrics.update(values)


def end_a_fit_without_steps() -> None:
    """A run killed after its last step, before what follows it (a probe), still gets its end.

    Lightning leaves a fit that has no step to do without calling on_train_end.
    """
    _FitLoop.skip = property(lambda self: self.trainer.limit_train_batches == 0)


def leave_group_at_exit() -> None:
    """Gloo's threads end before the interpreter does; else one exit in many ends in an abort.

    Lightning does so for NCCL alone (Lightning-AI/pytorch-lightning#19931).
    """
    atexit.unregister(leave_group)
    atexit.register(leave_group)


def leave_group() -> None:
    """Nothing is done where there is no process group, or none any more."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def quieten() -> None:
    """Silence what a clean run would print without there being anything to do about it."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # tips and device lists are at INFO
    for message in (
        ".*LeafSpec.*",  # Lightning's own _pytree.py: Lightning-AI/pytorch-lightning#21326
        ".*does not have many workers.*",  # data in memory needs none
        ".*returned a view tensor.*",  # FSDP2: features are views; nobody changes them in place
        ".*smaller than the logging interval.*",  # ours counts steps of the run, not of an epoch
    ):
        warnings.filterwarnings("ignore", message=message)
    hook = threading.excepthook  # TensorBoard's thread; its writer raises the error once more
    threading.excepthook = lambda args: None if isinstance(args.exc_value, OSError) else hook(args)
