"""FSDP2: weights, gradients and optimiser states over all ranks, gathered block by block."""

from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.fsdp import (
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.optim import Optimizer

from vit.models.base import Encoder
from vit.objectives.base import Objective


class FullyShard(ModelParallelStrategy):
    """FSDP2 over all ranks, float32 master weights, one checkpoint file.

    The base class reads data_parallel_size "auto" as the number of nodes, not of devices; here the
    size is set to the number of ranks.

    Args:
        compute: type that the shards are gathered and computed in; gradients are reduced in
            float32 and the optimiser steps float32 master weights either way.
        backend: of the process group; null: nccl on GPUs, gloo on CPUs.
    """

    def __init__(
        self,
        compute: Literal["bfloat16", "float32"] = "bfloat16",
        backend: str | None = None,
    ) -> None:
        super().__init__(
            tensor_parallel_size=1, save_distributed_checkpoint=False, process_group_backend=backend
        )
        self.policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16 if compute == "bfloat16" else None,
            reduce_dtype=torch.float32,
        )

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The state for a checkpoint, which cannot be loaded where a parameter has none.

        One that an objective kept from stepping so far has none; zeros are what it begins with.
        """
        fill_unstepped(optimizer)
        return super().optimizer_state(optimizer)

    def setup_environment(self) -> None:
        """Set the mesh before the base class guesses it."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()


def fill_unstepped(optimizer: Optimizer) -> None:
    """Give parameters that have never stepped the state of those of their group, as zeros."""
    for group in optimizer.param_groups:
        state = next((optimizer.state[p] for p in group["params"] if optimizer.state.get(p)), {})
        for parameter in group["params"]:
            if state and not optimizer.state.get(parameter):
                optimizer.state[parameter] = {
                    name: torch.zeros_like(value if value.ndim == 0 else parameter)
                    for name, value in state.items()
                }


def shard_once(module: LightningModule, objectives: list[Objective]) -> None:
    """Shard a module's objectives where its strategy is FullyShard; later calls do nothing."""
    strategy = module.trainer.strategy
    if not isinstance(strategy, FullyShard) or getattr(module, "is_sharded", False):
        return
    module.is_sharded = True
    for objective in objectives:
        shard_objective(objective, strategy.device_mesh["data_parallel"], strategy.policy)


def shard_objective(objective: Objective, mesh: Any, policy: MixedPrecisionPolicy) -> None:
    """Blocks first, then each encoder, then the objective, all by one plan.

    Public steps are registered as forwards: without it, parameters are still sharded when a probe,
    a prediction or a picture calls them outside of forward.
    """
    plan = {"mesh": mesh, "mp_policy": policy}
    whole = MixedPrecisionPolicy(
        param_dtype=torch.float32, reduce_dtype=torch.float32, output_dtype=policy.param_dtype
    )
    for part in objective.modules():  # BatchNorm's running statistics are float32, so is its work
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            fully_shard(part, mesh=mesh, mp_policy=whole)
    for encoder in [part for part in objective.modules() if isinstance(part, Encoder)]:
        for block in encoder.blocks_to_shard():
            fully_shard(block, **plan)
        fully_shard(encoder, **plan)
        _register(encoder, encoder.STEPS)
    fully_shard(objective, **plan)
    _register(objective, objective.STEPS)


def _register(module: nn.Module, steps: tuple[str, ...]) -> None:
    for step in steps:
        if hasattr(module, step):
            register_fsdp_forward_method(module, step)
