"""What a study would run, what that would take, and what it could see, before it has begun."""

from vit.compare import statistics
from vit.compare.dry_run import DryRun
from vit.compare.job import Job, unique
from vit.compare.plan import Planner
from vit.compare.pool import placed
from vit.compare.progress import minutes
from vit.compare.store import Store
from vit.compare.study import FINETUNE

BYTES = 4 * 3 * 2  # of a parameter: float32, with AdamW's two moments, in two checkpoints


def forecast(planner: Planner, store: Store, at_a_time: int, trials: list[int]) -> list[str]:
    """Every run, its cost, and what is done, in lines."""
    jobs = unique(planner.all_jobs({}, trials))
    lines = []
    for job in jobs:
        lines.append(f"{store.status(job):<7} {job.label}  (about {minutes(job.seconds)})")
        lines.append(f"        {typed(job, store)}")
    todo = [job for job in jobs if store.status(job) != "done"]
    disk = sum(job.parameters * BYTES for job in todo if job.verb == "fit") / 1e9
    lines.append(
        f"{len(jobs)} runs, {len(jobs) - len(todo)} done; the rest: about "
        f"{minutes(sum(job.seconds for job in todo) / at_a_time)}, {at_a_time} at a time on "
        f"this machine's CPU, {disk:.1f} GB on disk"
    )
    if len(trials) > 1:
        lines.append("learning rates are chosen on the way: the runs after them may have another")
    return lines


def typed(job: Job, store: Store) -> str:
    """The command for people, with a pattern where the run before will be."""
    file = "/checkpoints/last.ckpt" if job.verb == "evaluate" else ""
    return placed(job, store).shell(f"{store.root}/*.{''.join(job.needs)}/*{file}")


def power_line(planner: Planner, dry_runs: dict[tuple[str, str], DryRun]) -> str:
    """The difference that the study finds with 80 % power, guessed before it has begun.

    Args:
        planner: of the study.
        dry_runs: by arm and task.
    """
    study, arms = planner.study, planner.arms
    on_features = study.primary.protocol != FINETUNE  # only arms with an encoder before the task
    count = sum(bool(a.pretrain or a.pretrained) or not on_features for a in arms.values())
    images = dry_runs[next(iter(arms)), study.primary.data].data.spec.counts["test"]
    images *= study.folds or 1
    if study.seeds < 2 or count < 2:
        return "no difference can be detected: it needs two arms and two seeds at least"
    noise = statistics.expected()
    points = 100 * statistics.detectable(study.seeds, images, count, noise)
    cheaper = statistics.cheaper(study.seeds, images, count, noise)
    return (
        f"with {study.seeds} seeds and {images:,} test images it detects, with 80 % power, a "
        f"difference of {points:.1f} points between two of {count} arms (guessed: accuracy "
        f"80 %, seeds 0.7 points apart); twice the {cheaper} would lower it most"
    )
