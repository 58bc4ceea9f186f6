"""A study from its plan to its report: plan, check, run, tune, report."""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from vit.callbacks.run_folder import hold
from vit.compare.details import Details
from vit.compare.findings import Findings
from vit.compare.forecast import Forecast
from vit.compare.history import History
from vit.compare.job import Job, unique
from vit.compare.kinds import kinds_of
from vit.compare.plan import Planner
from vit.compare.pool import Pool
from vit.compare.preflight import (
    check_arms,
    check_duplicates,
    check_overlaps,
    check_same_images,
)
from vit.compare.progress import StudyProgress
from vit.compare.report import Report, write_report
from vit.compare.results import Results, image_groups
from vit.compare.sensitivity import power_line
from vit.compare.slurm import write_jobs
from vit.compare.store import Store
from vit.compare.timing import Timer
from vit.compare.trained import validities
from vit.compare.tuning import Choice, check_validation, first_trials, tune
from vit.whole_files import write_text

COMMAND = "command.txt"  # beside the results: what --report reads the study from


class Runner:
    """One study; building it plans and checks everything, and runs nothing.

    Args:
        planner: plans its jobs.
        store: knows how far they are.
        folder: of the study's results.
        at_a_time: how many runs; None: one a GPU, or one a core.
        time_steps: times a few steps of a run; see Timer.
        command: the study's, as it is typed; kept beside its results.

    Raises:
        ValueError: what no run shall begin with.
    """

    def __init__(
        self,
        planner: Planner,
        store: Store,
        folder: Path,
        at_a_time: int | None,
        time_steps: Callable[[str, list[str]], int],
        command: str = "",
    ) -> None:
        self.planner = planner
        self.store = store
        self.folder = folder
        self.gpus = torch.cuda.device_count()
        self.at_a_time = at_a_time or self.gpus or os.cpu_count() or 1
        self.command = command
        self.timer = Timer(time_steps, self.at_a_time, self.gpus)
        self.history = History(store.root)
        self.dry_runs = check_arms(planner)
        check_validation(planner.study, self.dry_runs)
        self.overlaps = check_overlaps(planner, self.dry_runs)
        self.duplicates = check_duplicates(planner, self.dry_runs)
        self.trials = first_trials(planner.study.tuning.trials)
        check_same_images(planner.all_jobs({}, self.trials))  # other mistakes come out now too

    def describe(self, list_runs: bool) -> int:
        """Print what the study would take and could see, and perhaps every run before it."""
        forecast = self._forecast()
        print("\n".join([*(forecast.runs() if list_runs else ()), *forecast.summary()]))
        return 0

    def _forecast(self) -> Forecast:
        return Forecast(self.planner, self.dry_runs, self.store, self.timer, self.trials)

    def emit(self) -> int:
        """Write SLURM job arrays, and print how to queue them."""
        planner, trials = self.planner, self.trials
        jobs = planner.tuning_jobs(trials) if len(trials) > 1 else planner.all_jobs({}, trials)
        print("\n".join(write_jobs(unique(jobs), self.store, self.folder)))
        return 0

    def run(self, main: Callable, rerun_stale: bool) -> int:
        """Run what is missing, then report; 1 if a run failed.

        Args:
            main: the command line; a function of a module.
            rerun_stale: repeat what other code made.
        """
        self._take_folder()
        print(power_line(self.planner, self.dry_runs), flush=True)
        print(self._forecast().beginning, flush=True)
        say = partial(print, flush=True)
        pool = Pool(self.store, main, self.at_a_time, self.gpus, say)
        progress = StudyProgress(pool)

        def work(jobs: list[Job]) -> None:
            jobs = self.timer.timed(unique(jobs))
            for job in jobs if rerun_stale else ():
                self.store.set_aside(job)
            progress.begin(jobs, {job.id for job in jobs if self.store.status(job) == "done"})
            pool.work(jobs, progress.tick)

        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: each run saves
        try:
            with progress.bar:
                choice = tune(self.planner, self.store, work, self.trials)
                jobs = self.planner.all_jobs(choice.chosen, choice.trials)
                work(jobs)
        except KeyboardInterrupt:
            print("interrupted; the same command goes on where it stopped", file=sys.stderr)
            return 130
        self.report(jobs, choice, pool.failed)
        return 1 if pool.failed else 0

    def rebuild(self) -> int:
        """Write the report of what is there, running nothing; 1 if a run has failed."""
        self._take_folder()
        choice = tune(self.planner, self.store, lambda jobs: None, self.trials)
        jobs = self.planner.all_jobs(choice.chosen, choice.trials)
        failed = {
            job.id: "see its output.txt" for job in jobs if self.store.status(job) == "failed"
        }
        self.report(jobs, choice, failed)
        return 1 if failed else 0

    def _take_folder(self) -> None:
        """Keep other processes of this study out, and refuse now what would fail at the end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        hold(self.folder)
        for file in (self.folder / "results.csv", self.folder / "report.md"):
            if file.is_dir():
                raise ValueError(f"{file} is a folder, and the study writes a file; remove it")
        write_text(self.folder / COMMAND, self.command + "\n")

    def report(self, jobs: list[Job], choice: Choice, failed: dict[str, str]) -> None:
        """Write results and report, and print the answer.

        Args:
            jobs: all of the study.
            choice: of learning rates.
            failed: reasons by id.
        """
        study, arms = self.planner.study, self.planner.arms
        self.folder.mkdir(parents=True, exist_ok=True)  # somebody may have tidied up meanwhile
        earlier = self.history.add_study(self.folder.name, study, arms)
        labels = {job.id: job.label for job in jobs}
        findings = Findings(
            Results(study, list(arms), jobs, self.store, choice),
            arms,
            validities(self.planner, self.dry_runs, jobs, self.store),
            kinds_of(arms, self.dry_runs),
            len(earlier.extended),
            image_groups(self.planner),
            1 / len(self.dry_runs[next(iter(arms)), study.primary.data].data.spec.classes),
        )
        details = Details(
            findings,
            self.dry_runs,
            self.overlaps,
            self.duplicates,
            [f"{labels.get(id_, id_)}: {why}" for id_, why in failed.items()],
            [job.label for job in unique(jobs) if self.store.stale(job)],
            earlier,
        )
        write_report(Report(findings, details), self.folder)
