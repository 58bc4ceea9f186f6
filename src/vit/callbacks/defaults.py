"""The callbacks that every run has, in the order in which they are called."""

from lightning.pytorch import Callback

from vit.callbacks.best_metric import BestMetric
from vit.callbacks.checkpoints import Checkpoints
from vit.callbacks.collapse_monitor import CollapseMonitor
from vit.callbacks.early_cooldown import EarlyCooldown
from vit.callbacks.estimate import FitEstimate
from vit.callbacks.header import Header
from vit.callbacks.interruption import Interruption
from vit.callbacks.keep_lineage import KeepLineage
from vit.callbacks.per_image_correctness import PerImageCorrectness
from vit.callbacks.position_growth import PositionGrowth
from vit.callbacks.predictions import Predictions
from vit.callbacks.progress_bar import ProgressBar
from vit.callbacks.run import Plan, Run
from vit.callbacks.run_log import RunLog
from vit.callbacks.speed import Speed
from vit.callbacks.step_logging import StepLogging
from vit.callbacks.validate_last_step import ValidateLastStep


def default_callbacks(
    plan: Plan,
    files: RunLog,
    progress_bar: bool,
    checkpoint_every: int,
    keep_best: bool,
    best_metric: str | None = None,
    estimate: bool = False,
) -> list[Callback]:
    """A list of all of them; those of `trainer.callbacks` are called before them.

    Args:
        plan: from the command line.
        files: the run's logger.
        progress_bar: show one.
        checkpoint_every: optimiser steps between checkpoints within an epoch.
        keep_best: keep best.ckpt too.
        best_metric: what is best; None: see BestMetric.
        estimate: say before the first step how long it will take.
    """
    metric = BestMetric(best_metric)
    interruption = Interruption()
    return [
        *([ProgressBar(refresh_rate=10)] if progress_bar else []),
        Run(plan, files),
        EarlyCooldown(metric),
        Header(),
        *([FitEstimate()] if estimate else []),
        StepLogging(files),
        Speed(files),
        ValidateLastStep(),
        CollapseMonitor(),
        PositionGrowth(),
        Predictions(files),
        PerImageCorrectness(files),
        KeepLineage(),
        interruption,
        Checkpoints(files, interruption, checkpoint_every, keep_best, metric),
    ]
