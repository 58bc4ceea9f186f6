"""Each arm is built before its jobs are planned: what cannot be scored, or cheats, is refused."""

import contextlib
from collections.abc import Iterator

from vit.compare.dry_run import DryRun
from vit.compare.overlap import Overlap, labels_shared, overlap
from vit.compare.plan import Planner


def check_arms(planner: Planner) -> dict[tuple[str, str], DryRun]:
    """The dry run of each arm's pre-training, `arm, "pretrain"`, and task, `arm, task`.

    Raises:
        ValueError: a task that accuracy cannot be measured on.
    """
    dry_runs = {}
    for arm in planner.arms:
        with naming(f"arm {arm}, pre-training"):
            pretraining = planner.pretraining(arm, 0)
        if pretraining:
            dry_runs[arm, "pretrain"] = planner.dry_run(pretraining.command)
        for name in planner.study.transfer:
            with naming(f"arm {arm}, task {name}"):
                task = planner.dry_run(planner.task_command(arm, planner.first_cell(name)))
                check_task(task, planner.study.folds or 1)
                dry_runs[arm, name] = task
    return dry_runs


def check_overlaps(
    planner: Planner, dry_runs: dict[tuple[str, str], DryRun]
) -> dict[tuple[str, str], Overlap]:
    """How many test images each pre-training saw, by arm and task.

    Raises:
        ValueError: a labelled pre-training knows the labels that are tested on.
    """
    overlaps = {}
    for arm in planner.arms:
        before = dry_runs.get((arm, "pretrain"))
        for name in planner.study.transfer if before else ():
            task = dry_runs[arm, name].data
            why = labels_shared(before.data, task) if before.uses_labels else ""
            if why:
                raise ValueError(
                    f"arm {arm} would pre-train on the labels that {name} tests: {why}; give "
                    "pretrain.labelled other classes or images"
                )
            overlaps[arm, name] = overlap(before.data, task)
    return overlaps


def check_task(task: DryRun, folds: int) -> None:
    """Refuse what accuracy on a task cannot be measured with.

    Raises:
        ValueError: naming it.
    """
    spec, trainer = task.data.spec, task.settings["trainer"]
    if spec.multi_label:
        raise ValueError("accuracy is compared, and images have several labels; take other data")
    if not spec.classes:
        raise ValueError("accuracy is compared, and images have no labels; take other data")
    if spec.counts["test"] * folds < 2:
        raise ValueError(
            f"an interval needs two test images, it has {spec.counts['test']}; add some"
        )
    limit = trainer.get("limit_test_batches")  # 1 is one batch, 1.0 all of them
    if trainer.get("fast_dev_run") or not (limit is None or (limit == 1 and type(limit) is float)):
        raise ValueError(
            "trainer.fast_dev_run and trainer.limit_test_batches test a few images alone; take "
            "them out of the trainer's file"
        )


@contextlib.contextmanager
def naming(where: str) -> Iterator[None]:
    """Say which part of the study a mistake belongs to."""
    try:
        yield
    except Exception as error:
        error.args = (f"{where}: {error}",)
        raise
