"""How many optimiser steps a budget pays for, and a command that takes so many."""

from vit.compare.command import Command
from vit.compare.dry_run import DryRun
from vit.compare.job import Cell
from vit.compare.study import Budget, Study
from vit.compare.validation import MOST_STEPS


def budget_steps(budget: Budget, dry_run: DryRun, factor: float) -> int:
    """The optimiser steps that a budget pays for, one at least.

    Args:
        budget: of a pre-training.
        dry_run: what a step costs.
        factor: what the budget is multiplied by.

    Raises:
        ValueError: no machine would take so many.
    """
    batch = dry_run.data.batch_size
    if budget.flops is not None:
        steps = budget.flops / (dry_run.flops * batch)
    elif budget.images is not None:
        steps = budget.images / batch
    else:
        steps = budget.epochs * (dry_run.data.spec.counts["train"] // batch)
    if steps * factor > MOST_STEPS:
        paid = f"{steps * factor:.3g} steps"
        raise ValueError(f"budget: {paid}, at most {MOST_STEPS:.0e}; lower it")
    return max(round(steps * factor), 1)


def longer_steps(study: Study, task: DryRun, cell: Cell, seen: int) -> int:
    """The final steps of an arm without pre-training whose whole cost is that of one with it.

    Learning rates are tried on fits of the usual length; where the others' final fit is one of
    their trials, nothing is added to the budget here. A budget in epochs counts passes over
    pre-training data: here it is as many images as the longest pre-training sees.

    Args:
        study: its budget, and what is tried.
        task: what a step costs.
        cell: where the final fit stands.
        seen: images of the longest pre-training.
    """
    if study.budget.epochs is not None and seen:
        steps = max(round(seen / task.data.batch_size), 1)
    else:
        steps = budget_steps(study.budget, task, cell.factor)
    final_settings = study.transfer[cell.data].final
    is_trial = study.tuning.trials > 1 and cell.point is None and not final_settings
    return steps if is_trial else steps + study.finetune.steps


def with_length(command: Command, dry_run: DryRun, steps: int) -> Command:
    """A command that ends after so many steps, whatever number of epochs its recipe asks for."""
    endless = {"trainer.max_epochs": -1}
    in_epochs = dry_run.settings["trainer"].get("max_epochs") is not None
    return command.with_settings(endless if in_epochs else {}, {"trainer.max_steps": steps})
