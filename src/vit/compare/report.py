"""report.md: the conclusion, its tables, and everything that a reviewer asks for."""

from pathlib import Path

from vit.compare.curves import draw
from vit.compare.dry_run import DryRun
from vit.compare.findings import Findings
from vit.compare.overlap import Overlap
from vit.compare.results import Results
from vit.compare.study import Tuning
from vit.compare.trained import still_falling
from vit.compare.tuning import Choice
from vit.whole_files import write_text


class Report:
    """Everything that the page of a study says.

    Args:
        findings: figures and what follows from them.
        dry_runs: what each arm's pre-training and fine-tuning would do, by (arm, stage).
        overlaps: by (pre-training of an arm, task).
        failed: labels and reasons.
        stale: labels of runs that other code made.
        others: earlier reports under this name, of other settings.
    """

    def __init__(
        self,
        findings: Findings,
        dry_runs: dict[tuple[str, str], DryRun],
        overlaps: dict[tuple[str, str], Overlap],
        failed: list[str],
        stale: list[str],
        others: list[str],
    ) -> None:
        self.findings = findings
        self.dry_runs = dry_runs
        self.overlaps = overlaps
        self.failed = failed
        self.stale = stale
        self.others = others
        self.results, self.study = findings.results, findings.study
        self.arms, self.titles = findings.arms, findings.titles

    def page(self, pictures: list[str]) -> str:
        """The whole page in Markdown, pictures by their names."""
        study, findings = self.study, self.findings
        data, protocol, _ = findings.primary
        short, *rest = findings.conclusion()
        parts = [
            f"# {study.question}",
            f"**{short}**",
            bullets(rest),
            f"Primary endpoint: accuracy on the test split of {data}, {protocol}, with its "
            f"{findings.level}; everything else is exploratory, with 95 % intervals. All in "
            "percent, over seeds and test images.",
        ]
        for name in study.transfer:
            parts += [f"## {name}", markdown(findings.headline(name))]
        if task_means := findings.suite_means():
            parts += [f"## Means over {len(study.transfer)} tasks of VTAB-1k", markdown(task_means)]
            parts += ["all: the plain mean, as VTAB; groups: the mean of the groups' means."]
        if study.claims:
            parts += ["## Published claims, on this data", markdown(findings.claims())]
        parts += ["## Differences at the primary endpoint", markdown(findings.pairs())]
        parts += ["Each interval is for itself; Holm's p is for all pairs of arms together."]
        parts += [f"![{Path(p).stem}]({p})" for p in pictures]
        parts += ["## Validity, on validation", bullets(self._validity())]
        parts += ["## How it was made fair", bullets(self._fairness())]
        parts += ["## Ranks by protocol", markdown(findings.ranks())]
        if notes := self._runs():
            parts += ["## Notes on the runs", bullets(notes)]
        parts += ["Scope: this data, this size; not other data sets."]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _validity(self) -> list[str]:
        return [
            f"{self.titles[name]}: {verdict.summary}: {'; '.join(verdict.reasons)}"
            for name, verdict in self.findings.verdicts.items()
        ] or ["no self-supervised arm"]

    def _fairness(self) -> list[str]:
        study, choice = self.study, self.results.choice
        budget = next((f"{v:g} {k}" for k, v in vars(study.budget).items() if v), "none")
        lines = [
            f"pre-training budget of each arm: {budget}; fine-tuning: {study.finetune.steps} steps",
            f"{study.seeds} seeds x {study.label_draws} label draws, each seed with its own, the "
            "same for all arms; last weights count, each final model read its test split once",
            tuning_line(choice, study.tuning),
        ]
        if study.folds:
            lines.append(
                f"{study.folds} folds: each image is tested once a seed, by a model that did not "
                "learn from it; folds share training images, so intervals are approximate"
            )
        return lines + self._data() + self._overlaps()

    def _data(self) -> list[str]:
        """What each arm learns from and what it sees of it, in lines."""
        study, lines = self.study, []
        for name in study.transfer:
            spec = self.dry_runs[next(iter(self.arms)), name].data.spec
            kinds = len(spec.classes)
            chance = f"chance about {100 / kinds:.0f} %"
            lines.append(f"{name}: {numbers(spec.counts)}, {kinds} classes, {chance}")
        for (arm, stage), dry_run in self.dry_runs.items():
            if stage == "pretrain":
                labels = "with labels" if dry_run.uses_labels else "without labels"
                lines.append(
                    f"{self.titles[arm]} pre-trains on {numbers(dry_run.data.spec.counts)}, "
                    f"{labels}; it sees {dry_run.views_text}"
                )
        first = self.dry_runs[next(iter(self.arms)), next(iter(study.transfer))]
        return [*lines, f"every arm fine-tunes on {first.views_text}"]

    def _overlaps(self) -> list[str]:
        """What pre-trainings, also those that others paid for, saw of the tasks, in lines."""
        lines = []
        for (arm, task), overlap in self.overlaps.items():
            look = "by name" if overlap.near is None else f"{overlap.near} more look alike"
            names = ", ".join(overlap.classes[:5])
            classes = f"; classes in both: {names}" if names else ""
            lines.append(
                f"{self.titles[arm]}, {task}: {overlap.same} of {overlap.tested} test images were "
                f"in its pre-training, {look}{classes}"
            )
        for name, arm in self.arms.items():
            if arm.pretrained:
                lines.append(
                    f"{self.titles[name]} starts from {arm.pretrained}, not paid here: "
                    f"{arm.checkpoint_cost or 'cost, labels and data are not known'}"
                )
        return lines

    def _runs(self) -> list[str]:
        lines = [f"failed: {line}" for line in self.failed]
        if self.stale:
            lines.append(
                f"{len(self.stale)} runs were made by other code (--rerun-stale repeats them): "
                + ", ".join(self.stale[:5])
                + (" ..." if len(self.stale) > 5 else "")
            )
        if self.others:
            lines.append(f"reported before with other settings: {'; '.join(self.others)}")
        if before := self.findings.seeds_before:
            lines.append(
                f"extended from {', '.join(map(str, before))} to {self.study.seeds} seeds; each "
                f"extension halves alpha, which is {self.findings.alpha:g}"
            )
        lines += still_improving(self.results, self.titles)
        return lines


def write_report(report: Report, folder: Path) -> None:
    """Write results.csv, the pictures and report.md, and print the tables and the conclusion."""
    findings, study = report.findings, report.study
    report.results.write(folder / "results.csv")
    pictures = draw(findings, folder)
    write_text(folder / "report.md", report.page(pictures))
    for name in study.transfer:
        print(f"\n{name}: test accuracy, %, with {findings.level}s")
        print(aligned(findings.headline(name)))
    if task_means := findings.suite_means():
        print(f"\nmeans over tasks\n{aligned(task_means)}")
    if study.claims:
        print(f"\n{aligned(findings.claims())}")
    print("\n" + "\n- ".join(findings.conclusion()))
    print(f"report: {folder / 'report.md'}")


def still_improving(results: Results, titles: dict[str, str]) -> list[str]:
    """Where the loss on validation was still falling when a stage ended, in lines."""
    falling: dict[tuple[str, str], list[bool]] = {}
    for job in results.by_id.values():
        if job.stage in ("pretrain", "transfer") and job.point is None:
            fell = still_falling(results.store.validation_losses(job))
            if fell is not None:
                falling.setdefault((job.arm, job.stage), []).append(fell)
    return [
        f"{titles[arm]}, {'pre-training' if stage == 'pretrain' else 'task'}: still improving at "
        f"the end (validation loss fell by more than 1 % in its last fifth): "
        f"{sum(votes)} of {len(votes)} runs"
        for (arm, stage), votes in falling.items()
    ]


def tuning_line(choice: Choice, tuning: Tuning) -> str:
    """The learning rates that were tried, in a sentence."""
    if tuning.trials == 1:
        return "one learning rate for each arm, its file's; nothing was tuned"
    factors = {who: tuning.lr**lr_exponent for who, lr_exponent in choice.chosen.items()}
    chosen = ", ".join(f"{who} x {factor:.3g}" for who, factor in factors.items())
    edge = f"; still at the grid's edge: {', '.join(choice.edge)}" if choice.edge else ""
    return (
        f"{len(choice.trials)} learning rates for each arm and task; chosen, as factors of the "
        f"arm's own: {chosen}{edge}"
    )


def numbers(counts: dict[str, int]) -> str:
    """The images of each split, in words."""
    return ", ".join(f"{count:,} {split}" for split, count in counts.items())


def bullets(lines: list[str]) -> str:
    """A Markdown list."""
    return "\n".join(f"- {line}" for line in lines)


def markdown(rows: list[list[str]]) -> str:
    """A Markdown table; empty where there is only a header."""
    if len(rows) < 2:
        return ""
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def aligned(rows: list[list[str]]) -> str:
    """A table for a terminal."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)
