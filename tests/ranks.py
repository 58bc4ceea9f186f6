"""A function run by a group of processes, each of which is told its rank."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist

from launch import CONTEXT


def in_a_group(work: Callable[[int], Any], folder: Path, count: int = 2) -> list[Any]:
    """What `work(rank)` returns in each of `count` processes; it stands at a module's top."""
    group = [
        CONTEXT.Process(target=_member, args=(work, rank, count, folder)) for rank in range(count)
    ]
    for process in group:
        process.start()
    for process in group:
        process.join(120)
        process.kill()  # where another died, it would wait for it
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(count)]


def _member(work: Callable[[int], Any], rank: int, count: int, folder: Path) -> None:
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meet"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=count)
    torch.save(work(rank), folder / f"{rank}.pt")
    dist.destroy_process_group()
