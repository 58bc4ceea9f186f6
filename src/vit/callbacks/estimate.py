"""How long a fit will take, and how much memory, from some steps timed before the first one.

They are steps of a copy: its weights, its optimiser and its loader are thrown away, and random
numbers are put back, so that the run is bit for bit the same with and without.
"""

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import torch
from lightning.pytorch import Callback, Trainer

from vit.batch import Batch
from vit.callbacks.speed import memory
from vit.module import ViTModule
from vit.optim.groups import parameter_groups
from vit.optim.schedules import WarmupStableDecay

STEPS, WARM_UP = 20, 2  # timed, and before them, which also set something up
SECONDS = 20.0  # after which no further step is begun
VALIDATION = 64  # images of validation that are timed


@dataclass(frozen=True)
class StepTimes:
    """What was measured.

    Args:
        step: seconds of an optimiser step, the median.
        image: seconds of an image in validation.
        gigabytes: the most memory that this process needs while it trains.
    """

    step: float
    image: float
    gigabytes: float


class FitEstimate(Callback):
    """Print a line before the first step: minutes, steps, memory."""

    def on_train_start(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Time steps where this process trains alone; several would have to wait for each other."""
        if trainer.world_size > 1:
            if trainer.is_global_zero:
                print("estimate: left out, as several processes train together")
            return
        if trainer.global_step < pl_module.total_steps:
            times = time_copy(trainer, pl_module)
            print(estimate_line(trainer, pl_module, times), flush=True)


def time_copy(trainer: Trainer, module: ViTModule) -> StepTimes:
    """Train a copy for some steps, then have it look at some of the validation images."""
    devices = [module.device] if module.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        learner = copy.deepcopy(module.objective)
        groups = parameter_groups(learner, module.layer_decay, module.head_lr)
        optimizer = module.build_optimizer(groups)
        batches = training_batches(trainer, module)
        seconds: list[float] = []
        begun = now(module)
        for _ in range(WARM_UP + STEPS):
            start = now(module)
            for _ in range(trainer.accumulate_grad_batches):
                with trainer.precision_plugin.train_step_context():
                    loss = learner(next(batches), 0.0).loss
                (loss / trainer.accumulate_grad_batches).backward()
            if module.clip:
                module.clip([p for p in learner.parameters() if p.grad is not None])
            optimizer.step()
            learner.after_step(0.0)
            optimizer.zero_grad()
            seconds.append(now(module) - start)
            if now(module) - begun > SECONDS:
                break
        batches.close()
        image = time_validation(trainer, module, learner)
        doubled = sum(p.numel() * p.element_size() for p in learner.parameters())
        used = memory(module.device) - doubled / 1e9
        timed = seconds[WARM_UP:] or seconds[-1:]  # where a step takes many seconds, the last one
    return StepTimes(median(timed), image, used)


def training_batches(trainer: Trainer, module: ViTModule) -> Iterator[Batch]:
    """Augmented batches of the training split, over and over."""
    data, context = trainer.datamodule, module.loader_context()
    while True:
        for batch in data.loader("train", context):
            yield data.show(batch.to(module.device), context, training=True)


@torch.no_grad()
def time_validation(trainer: Trainer, module: ViTModule, learner: torch.nn.Module) -> float:
    """The seconds of a validation image; 0 where none is looked at."""
    if not trainer.enable_validation:
        return 0.0
    data, context = trainer.datamodule, module.loader_context()
    learner.eval()
    images, seconds = 0, 0.0
    for batch in data.evaluation_loader("val", context, VALIDATION):
        start = now(module)  # the next batch is loaded meanwhile
        with trainer.precision_plugin.val_step_context():
            learner(data.show(batch.to(module.device), context, training=False), 0.0)
        seconds += now(module) - start
        images += int(batch.valid.sum())
    return seconds / max(images, 1)


def now(module: ViTModule) -> float:
    """Seconds, once the device has done what it was told."""
    if module.device.type == "cuda":
        torch.cuda.synchronize(module.device)
    return time.perf_counter()


def estimate_line(trainer: Trainer, module: ViTModule, times: StepTimes) -> str:
    """The line for people: "about 12 minutes (60 epochs of 30 steps, 0.4 s each), 1.8 GB"."""
    left = module.total_steps - trainer.global_step
    an_epoch = trainer.num_training_batches // trainer.accumulate_grad_batches
    epochs = left / max(an_epoch, 1)
    count = trainer.datamodule.spec.counts.get("val", 0)
    seconds = left * times.step + validations(trainer, left) * count * times.image
    schedule = module.schedule
    ends_early = isinstance(schedule, WarmupStableDecay) and schedule.patience is not None
    length = f"{epochs:,.0f} epochs of {an_epoch:,} steps" if epochs > 1 else f"{left:,} steps"
    return (
        f"estimate: {'at most ' if ends_early else ''}about {in_minutes(seconds)} ({length}, "
        f"{times.step:.2g} s each), {times.gigabytes:.1f} GB"
    )


def validations(trainer: Trainer, steps: int) -> float:
    """How often a run of so many steps is validated."""
    if not trainer.enable_validation:
        return 0.0
    batches, every = steps * trainer.accumulate_grad_batches, trainer.check_val_every_n_epoch
    if every is None or trainer.val_check_batch < trainer.num_training_batches:
        return batches / trainer.val_check_batch / (every or 1)
    return batches / trainer.num_training_batches / every


def in_minutes(seconds: float) -> str:
    """A time in the unit that people say it in."""
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            number = seconds / length
            return f"{number:.0f} {unit}" if number >= 10 else f"{number:.1f} {unit}"
    return f"{max(seconds, 1):.0f} seconds"
