"""Each arm is built before its jobs are planned: what cannot be scored, or cheats, is refused."""

import contextlib
from collections.abc import Iterable, Iterator

from vit.compare.dry_run import DryRun
from vit.compare.duplicates import Duplicates, duplicates, too_many
from vit.compare.imported import images_seen, labels_learned
from vit.compare.job import Job
from vit.compare.overlap import Overlap, labels_shared, overlap
from vit.compare.plan import Planner


def check_arms(planner: Planner) -> dict[tuple[str, str], DryRun]:
    """The dry run of each arm's pre-training, `arm, "pretrain"`, and task, `arm, task`.

    Raises:
        ValueError: a task that accuracy cannot be measured on, or weights that no arm names.
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
    for (arm, stage), dry_run in dry_runs.items():
        check_start(f"arm {arm}, {stage}", dry_run, planner.arms[arm].pretrained)
    return dry_runs


def check_start(where: str, dry_run: DryRun, pretrained: str | None) -> None:
    """Refuse a recipe that begins with weights of its own.

    Raises:
        ValueError: naming them.
    """
    given = dry_run.settings["model"].get("pretrained")
    if given and given != pretrained:
        raise ValueError(
            f"{where}: its recipe starts from {given}; only an arm's own `pretrained` may be a "
            "start, so take it out of the recipe"
        )


def check_overlaps(
    planner: Planner, dry_runs: dict[tuple[str, str], DryRun]
) -> dict[tuple[str, str], Overlap]:
    """How many test images each pre-training saw, by arm and task; also those made before.

    Raises:
        ValueError: a labelled training knows the labels that are tested on.
    """
    overlaps, declared = {}, tuple(planner.study.shared_classes)
    for arm in planner.arms:
        before = dry_runs.get((arm, "pretrain"))
        for name in planner.study.transfer:
            task = dry_runs[arm, name]
            seen = []
            if before:
                why = labels_shared(before.data, task.data, declared) if before.uses_labels else ""
                what = f"arm {arm} would pre-train on the labels that {name} tests"
                refuse(what, why, "give pretrain.labelled other classes or images")
                seen.append(overlap(before.data, task.data))
            for link in (*task.lineage, *(before.lineage if before else ())):
                why = labels_learned(link, task.data, declared)
                what = f"arm {arm} starts from weights that learned the labels that {name} tests"
                refuse(what, why, "take weights that did not")
                seen.append(images_seen(link, task.data))
            if seen:
                overlaps[arm, name] = max(seen, key=lambda one: (one.same or 0) + (one.near or 0))
    return overlaps


def refuse(what: str, why: str, remedy: str) -> None:
    """Refuse labels that are known before the task.

    Raises:
        ValueError: there is a reason.
    """
    if why:
        raise ValueError(f"{what}: {why}; {remedy}")


def check_duplicates(
    planner: Planner, dry_runs: dict[tuple[str, str], DryRun]
) -> dict[str, Duplicates]:
    """The images that stand in several splits of a task, by task.

    Raises:
        ValueError: there are so many that its test would say little.
    """
    copies, arm = {}, next(iter(planner.arms))
    for name in planner.study.transfer:
        copies[name] = duplicates(dry_runs[arm, name].data)
        if why := too_many(copies[name], planner.study.tuning.trials):
            raise ValueError(
                f"transfer.{name}: {why} (the same pixels, or re-encoded, moved, mirrored or "
                "resized); remove the copies"
            )
    return copies


def check_same_images(jobs: Iterable[Job]) -> None:
    """Refuse a task that is not the same for all arms.

    Raises:
        ValueError: two jobs learn from other labels, or are tested on other images, and are
            compared with each other.
    """
    first: dict[tuple, Job] = {}
    for job in filter(lambda job: job.splits, jobs):
        place = (job.data, job.fold)
        kind = {"test": "transfer", "control": "probe"}.get(job.stage, job.stage)
        drawn = (*place, job.seed, job.draw, job.point, kind)
        for key, splits, what in (
            (("test", *place), ("test", "content"), "be tested on other images"),
            (("train", *drawn), ("train",), "learn from other labelled images"),
        ):
            other = first.setdefault(key, job)
            if any(job.splits[split] != other.splits[split] for split in splits):
                raise ValueError(
                    f"{job.label} would {what} than {other.label}; a task's data is the same for "
                    "all arms: set it in transfer"
                )


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
