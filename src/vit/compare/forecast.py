"""What a study would run, what that would take, and what it could see, before it has begun."""

from textwrap import wrap
from typing import get_args

from vit.compare.dry_run import DryRun
from vit.compare.job import Job, Stage, unique
from vit.compare.plan import Planner
from vit.compare.pool import placed
from vit.compare.progress import minutes
from vit.compare.sensitivity import LEAST, power_line, study_size
from vit.compare.store import Store
from vit.compare.timing import Timer

BYTES = 4 * 3 * 2  # of a parameter: float32, with AdamW's two moments, in two checkpoints
WIDTH = 100  # columns of the summary
INDENT = 11  # columns of its left-hand words
NAMED = 8  # arms or tasks that are called by their names


class Forecast:
    """A study before it has begun.

    Args:
        planner: of the study.
        dry_runs: by arm and task.
        store: how far its runs are.
        timer: what their steps take.
        trials: learning-rate steps that every arm tries.
    """

    def __init__(
        self,
        planner: Planner,
        dry_runs: dict[tuple[str, str], DryRun],
        store: Store,
        timer: Timer,
        trials: list[int],
    ) -> None:
        self.planner = planner
        self.dry_runs = dry_runs
        self.store = store
        self.timer = timer
        self.trials = trials
        jobs = unique(planner.all_jobs({}, trials))
        self.status = {job.id: store.status(job) for job in jobs}
        timer.measure([job for job in jobs if self.status[job.id] != "done"])
        self.jobs = timer.timed(jobs)

    @property
    def todo(self) -> list[Job]:
        """The jobs that are not done."""
        return [job for job in self.jobs if self.status[job.id] != "done"]

    def minutes(self, jobs: list[Job]) -> str:
        """The time that jobs take together, as many at a time as the study runs."""
        return minutes(sum(job.seconds for job in jobs) / self.timer.at_a_time)

    @property
    def beginning(self) -> str:
        """How many runs there are, what they take, and how that is known, in one line."""
        return f"{self._count()}; {self.timer.line}"

    def runs(self) -> list[str]:
        """Every run, what it costs, and its command: two lines each."""
        lines = []
        for job in self.jobs:
            about = minutes(job.seconds)
            lines.append(f"{self.status[job.id]:<7} {job.label}  (about {about})")
            lines.append(f"        {typed(job, self.store)}")
        return lines

    def summary(self) -> list[str]:
        """The study on one screen."""
        study = self.planner.study
        return [
            *wrap(study.question, WIDTH),
            "",
            *item("arms", some([arm.title for arm in self.planner.arms.values()], "; ")),
            *item("tasks", self._tasks()),
            *item("labels", self._labels()),
            *item("controls", ", ".join(study.controls).replace("_", " ") or "none"),
            "",
            *self._stages(),
            *item("times", self.timer.line),
            *item("disk", f"{self._gigabytes():.1f} GB more"),
            *self._tuning(),
            "",
            *self._sight(),
            "--list shows every run and its command",
        ]

    def _tasks(self) -> str:
        study, first = self.planner.study, next(iter(self.planner.arms))
        texts = []
        for name in study.transfer:
            spec = self.dry_runs[first, name].data.spec
            images = spec.counts["test"] * (study.folds or 1)
            texts.append(f"{name} ({images:,} test images, {len(spec.classes):,} classes)")
        primary = f"{study.primary.data}, {study.primary.protocol}"
        return f"{some(texts, ', ')}; the verdict is drawn from {primary}"

    def _labels(self) -> str:
        study, arms = self.planner.study, self.planner.arms
        task = self.dry_runs[next(iter(arms)), study.primary.data]
        drawn = self.planner.draws_labels(study.primary.data)
        draws = f" with {study.draws} label draw{'s' * (study.draws > 1)} each" if drawn else ""
        before = {
            f"; {arms[arm].title} learns from {run.data.spec.counts['train']:,} others first"
            for (arm, part), run in self.dry_runs.items()
            if part == "pretrain" and run.uses_labels
        }
        return (
            f"{task.data.spec.counts['train']:,} to learn from, {task.chosen_on:,} to choose on; "
            f"{study.seeds} seeds{draws}{''.join(sorted(before))}"
        )

    def _stages(self) -> list[str]:
        """The runs by stage, and what those that are not done take."""
        lines = [f"{'':<{INDENT}}{'runs':>6}{'done':>6}  time"]
        for stage in get_args(Stage):
            jobs = [job for job in self.jobs if job.stage == stage]
            left = [job for job in self.todo if job.stage == stage]
            if jobs:
                counts = f"{len(jobs):>6,}{len(jobs) - len(left):>6,}"
                lines.append(f"{stage:<{INDENT}}{counts}  {self.minutes(left)}")
        return [*lines, self._count()]

    def _count(self) -> str:
        done = len(self.jobs) - len(self.todo)
        where = f"{self.timer.gpus} GPUs" if self.timer.gpus else "CPU"
        return (
            f"{len(self.jobs):,} runs, {done:,} done; the rest: about {self.minutes(self.todo)}, "
            f"{self.timer.at_a_time} at a time on this machine's {where}"
        )

    def _gigabytes(self) -> float:
        return sum(job.parameters * BYTES for job in self.todo if job.verb == "fit") / 1e9

    def _tuning(self) -> list[str]:
        if len(self.trials) == 1:
            return []
        text = f"{len(self.trials)} learning rates are tried; the runs after them may have another"
        return item("tuning", text)

    def _sight(self) -> list[str]:
        """What the study could detect, and what twice of something would bring and cost."""
        lines = item("sees", power_line(self.planner, self.dry_runs))
        size = study_size(self.planner, self.dry_runs)
        if size.arms < 2 or size.seeds < LEAST:
            return lines
        texts = [
            f"{name}: {100 * points:.1f} points ({self._more(name)})"
            for name, points in sorted(size.doubled.items(), key=lambda pair: pair[1])
        ]
        return [*lines, *item("with twice", "; ".join(texts))]

    def _more(self, name: str) -> str:
        """What doubling something costs."""
        if name == "test images":
            return "no run more"
        jobs = [j for j in self.jobs if name == "seeds" or j.stage not in ("pretrain", "tune")]
        return f"{self.minutes(jobs)} more"


def item(name: str, text: str) -> list[str]:
    """A line of the summary, broken where it is too long."""
    return wrap(text, WIDTH, initial_indent=f"{name:<{INDENT}}", subsequent_indent=" " * INDENT)


def some(names: list[str], between: str) -> str:
    """The first names of a long list, and how many more there are."""
    more = [f"and {len(names) - NAMED} more"] if len(names) > NAMED + 1 else []
    return between.join((names[:NAMED] if more else names) + more)


def typed(job: Job, store: Store) -> str:
    """The command for people, with a pattern where the run before will be."""
    file = "/checkpoints/last.ckpt" if job.verb == "evaluate" else ""
    return placed(job, store).shell(f"{store.root}/*.{''.join(job.needs)}/*{file}")
