"""A study from its plan to its report: plan, check, run, tune, report."""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from vit.callbacks.run_folder import hold
from vit.compare.findings import Findings
from vit.compare.forecast import forecast, power_line
from vit.compare.history import History
from vit.compare.job import Job, unique
from vit.compare.plan import Planner
from vit.compare.pool import Pool
from vit.compare.preflight import check_arms, check_overlaps
from vit.compare.progress import StudyProgress
from vit.compare.report import Report, write_report
from vit.compare.results import Results, image_groups
from vit.compare.slurm import write_jobs
from vit.compare.store import Store
from vit.compare.trained import verdicts
from vit.compare.tuning import Choice, first_trials, tune


class Runner:
    """One study; building it plans and checks everything, and runs nothing.

    Args:
        planner: plans its jobs.
        store: knows how far they are.
        folder: of the study's results.
        at_a_time: how many runs; None: one a GPU, or one a core.

    Raises:
        ValueError: what no run shall begin with.
    """

    def __init__(self, planner: Planner, store: Store, folder: Path, at_a_time: int | None) -> None:
        self.planner = planner
        self.store = store
        self.folder = folder
        self.gpus = torch.cuda.device_count()
        self.at_a_time = at_a_time or self.gpus or os.cpu_count() or 1
        self.history = History(folder / "study.json")
        self.dry_runs = check_arms(planner)
        self.overlaps = check_overlaps(planner, self.dry_runs)
        self.trials = first_trials(planner.study.tuning.trials)
        planner.all_jobs({}, self.trials)  # mistakes come out now

    def describe(self) -> int:
        """Print every run, its cost, what is done, and what the study could see."""
        lines = forecast(self.planner, self.store, self.at_a_time, self.trials)
        print("\n".join([*lines, power_line(self.planner, self.dry_runs)]))
        return 0

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
        say = partial(print, flush=True)
        pool = Pool(self.store, main, self.at_a_time, self.gpus, say)
        progress = StudyProgress(pool)

        def work(jobs: list[Job]) -> None:
            jobs = unique(jobs)
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

    def _take_folder(self) -> None:
        """Keep other processes of this study out, and refuse now what would fail at the end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        hold(self.folder)
        for file in (self.folder / "results.csv", self.folder / "report.md"):
            if file.is_dir():
                raise ValueError(f"{file} is a folder, and the study writes a file; remove it")

    def report(self, jobs: list[Job], choice: Choice, failed: dict[str, str]) -> None:
        """Write results and report, and print the table.

        Args:
            jobs: all of the study.
            choice: of learning rates.
            failed: reasons by id.
        """
        study, arms = self.planner.study, self.planner.arms
        results = Results(study, list(arms), jobs, self.store, choice)
        self.folder.mkdir(parents=True, exist_ok=True)  # somebody may have tidied up meanwhile
        seeds_before, others = self.history.add_study(study, arms)
        labels = {job.id: job.label for job in jobs}
        report = Report(
            Findings(
                results,
                arms,
                verdicts(self.dry_runs, jobs, self.store),
                seeds_before,
                image_groups(self.planner),
            ),
            self.dry_runs,
            self.overlaps,
            failed=[f"{labels.get(id_, id_)}: {why}" for id_, why in failed.items()],
            stale=[job.label for job in unique(jobs) if self.store.stale(job)],
            others=others,
        )
        write_report(report, self.folder)
