"""Early stopping: the cool-down of the learning rate begins when validation no longer improves.

To stop at once would leave weights that a high rate has just shaken; a cool-down from there
settles them (Hägele et al., arXiv:2405.18392). The schedule is a function of progress, so all that
happens is that the end of the run moves: to where this step is the one at which it cools down.
"""

import math
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback

from vit.callbacks.best_metric import BestMetric
from vit.module import ViTModule
from vit.optim.schedules import WarmupStableDecay

LOSS, LOWER = "val/loss", 0.99  # a loss that is lower by a hundredth is lower
STATE = ("best", "loss", "since", "step", "end")


class EarlyCooldown(Callback):
    """Count validations without a better one, for schedules that ask for it (`patience`).

    A validation is better by its metric, or by a loss that has fallen: few pictures give the same
    accuracy many times in a row while a network still learns.

    Args:
        metric: what is better.
    """

    def __init__(self, metric: BestMetric) -> None:
        self.metric = metric
        self.best: float | None = None
        self.loss = math.inf  # the lowest when a validation was last a better one
        self.since = 0  # validations since the best one
        self.step = -1  # of the last validation that was counted
        self.end: int | None = None  # steps of the whole run, once it is shortened

    @property
    def state_key(self) -> str:
        """One name in the checkpoint."""
        return "EarlyCooldown"

    def on_train_start(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """A resumed run is as short as it was."""
        if self.end is not None:
            shorten(trainer, pl_module, self.end)

    def on_validation_end(self, trainer: Trainer, pl_module: ViTModule) -> None:
        """Each validation of a fit counts once, also where Lightning repeats it after a resume."""
        schedule, step = pl_module.schedule, trainer.global_step
        outside = trainer.state.fn != "fit" or trainer.sanity_checking
        if outside or not isinstance(schedule, WarmupStableDecay) or schedule.patience is None:
            return
        value = self.metric.value(trainer.datamodule, pl_module)
        if value is None or step == self.step or self.end is not None:
            return
        self.step = step
        better = self.metric.is_better(value, self.best, pl_module)
        loss = pl_module.results.get(LOSS, math.inf)
        self.best = value if better else self.best
        if better or loss < LOWER * self.loss:
            self.loss, self.since = min(loss, self.loss), 0
            return
        self.since += 1
        end = math.ceil(step / (1 - schedule.cooldown))
        warm = pl_module.progress >= schedule.warmup
        if warm and self.since >= schedule.patience and end < pl_module.total_steps:
            self.end = end
            shorten(trainer, pl_module, end)
            if trainer.is_global_zero:
                name = self.metric.name(trainer.datamodule, pl_module)
                print(
                    f"early stopping: {self.since} validations without a better {name}; the "
                    f"learning rate falls to 0 until step {end:,}, the last one",
                    flush=True,
                )

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run must know."""
        return {name: vars(self)[name] for name in STATE}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it from the checkpoint."""
        for name in STATE:
            setattr(self, name, state_dict[name])


def shorten(trainer: Trainer, module: ViTModule, steps: int) -> None:
    """Let the run have so many steps in all."""
    module.total_steps = steps
    trainer.fit_loop.epoch_loop.max_steps = steps
