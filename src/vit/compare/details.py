"""How a study came about, in lines: what a reviewer asks for when the answer surprises."""

from collections import defaultdict
from collections.abc import Iterable

from vit.compare.conclusion import state_text
from vit.compare.dry_run import DryRun
from vit.compare.duplicates import Duplicates
from vit.compare.findings import Findings
from vit.compare.given_weights import known_weights
from vit.compare.history import EarlierReports
from vit.compare.overlap import Overlap
from vit.compare.results import Results
from vit.compare.study import Tuning
from vit.compare.trained import still_falling
from vit.compare.tuning import Choice

FEW_NAMES = 5  # are printed of a list


class Details:
    """Everything that the page of a study says beside its figures.

    Args:
        findings: the figures.
        dry_runs: what each arm's pre-training and fine-tuning would do, by (arm, stage).
        overlaps: by (pre-training of an arm, task).
        copies: images that stand in several splits, by task.
        failed: labels and reasons.
        stale: labels of runs that other code made.
        earlier: reports before today's.
    """

    def __init__(
        self,
        findings: Findings,
        dry_runs: dict[tuple[str, str], DryRun],
        overlaps: dict[tuple[str, str], Overlap],
        copies: dict[str, Duplicates],
        failed: list[str],
        stale: list[str],
        earlier: EarlierReports,
    ) -> None:
        self.findings = findings
        self.dry_runs = dry_runs
        self.overlaps = overlaps
        self.copies = copies
        self.failed = failed
        self.stale = stale
        self.earlier = earlier
        self.results, self.study = findings.results, findings.study
        self.arms, self.titles = findings.arms, findings.titles

    def first(self) -> list[str]:
        """What belongs beside the answer, because it could change it."""
        lines = []
        if self.stale:
            lines.append(
                f"{len(self.stale)} of the runs were made by other code than this, so arms may "
                "differ by more than their recipes; --rerun-stale repeats them."
            )
        if self.earlier.extended:
            sizes = ", ".join(f"{seeds} x {draws}" for seeds, draws in self.earlier.extended)
            lines.append(
                f"Reported before with fewer seeds x draws ({sizes}): each look halves alpha, "
                f"which is {self.findings.alpha:g}."
            )
        return lines

    def on_differences(self) -> str:
        """How the table of differences is read."""
        return (
            f"Each {self.findings.level} is for its pair alone; Holm's p is for all pairs of arms "
            "together, controls apart. Everything but these is exploratory."
        )

    def validity(self) -> list[str]:
        """Whether each arm with weights trained at all, task by task."""
        lines = [
            (
                f"{self.titles[arm]}, {task}",
                f"{state_text(validity)}: {'; '.join(validity.reasons)}",
            )
            for (arm, task), validity in self.findings.validities.items()
        ]
        return merged(lines) or ["no arm brings weights"]

    def fairness(self) -> list[str]:
        """Budgets, seeds, tuning, folds."""
        study, choice = self.study, self.results.choice
        budget = next((f"{v:g} {k}" for k, v in vars(study.budget).items() if v), "none")
        tuned = "none" if study.frozen_only else f"{study.finetune.steps} steps"
        lines = [
            f"pre-training budget of each arm: {budget}; fine-tuning: {tuned}",
            f"{study.seeds} seeds x {study.draws} label draws, each seed with its own, the same "
            "for all arms; last weights count, each final model read its test split once",
            *([] if study.frozen_only else [tuning_line(choice, study.tuning)]),
        ]
        if study.folds:
            lines.append(
                f"{study.folds} folds: each image is tested once a seed, by a model that did not "
                "learn from it; folds share training images, so intervals are approximate"
            )
        return lines

    def data(self) -> list[str]:
        """What each arm learns from, what it sees of it, and what of it is tested."""
        return [*self._tasks(), *self._pretrainings(), *self._encoders(), *self._overlaps()]

    def _tasks(self) -> list[str]:
        lines = []
        for name in self.study.transfer:
            spec = self.dry_runs[next(iter(self.arms)), name].data.spec
            kinds = len(spec.classes)
            chance = f"chance about {100 / kinds:.0f} %"
            lines.append(f"{name}: {numbers(spec.counts)}, {kinds} classes, {chance}")
            views = [
                (self.titles[arm], f"fine-tunes on {self.dry_runs[arm, name].views_text}")
                for arm in self.arms
            ]
            views = [] if self.study.frozen_only else views
            lines += [f"{name}: {line}" for line in merged(views, all_of=len(self.arms))]
            lines += [f"{name}: {self.copies[name].summary}"] if name in self.copies else []
        return lines

    def _pretrainings(self) -> list[str]:
        lines = []
        for (arm, stage), dry_run in self.dry_runs.items():
            if stage == "pretrain":
                labels = "with labels" if dry_run.uses_labels else "without labels"
                counts = numbers(dry_run.data.spec.counts)
                seen = f"pre-trains on {counts}, {labels}; sees {dry_run.views_text}"
                lines.append((self.titles[arm], seen))
        for name, arm in self.arms.items():
            if arm.pretrained:
                paid = arm.checkpoint_cost or unpaid(arm.pretrained)
                start = f"starts from {arm.pretrained}, not paid here: {paid}"
                lines.append((self.titles[name], start))
        return merged(lines)

    def _encoders(self) -> list[str]:
        others = [
            (self.titles[n], f"encoder {a.encoder}") for n, a in self.arms.items() if a.encoder
        ]
        return [*merged(others), f"every other arm: encoder {self.study.encoder}"] if others else []

    def _overlaps(self) -> list[str]:
        declared = ", ".join(self.study.shared_classes)
        lines = [f"declared to mean other things in the two sets: {declared}"] if declared else []
        return lines + merged(
            (f"{self.titles[arm]}, {task}", overlap_text(overlap))
            for (arm, task), overlap in self.overlaps.items()
        )

    def runs(self) -> list[str]:
        """What failed, what other code made, what was reported before, what still improves."""
        lines = [f"failed: {line}" for line in self.failed]
        if self.stale:
            lines.append(f"made by other code: {listed(self.stale)}")
        if self.earlier.others:
            lines.append(f"reported before with other settings: {'; '.join(self.earlier.others)}")
        return lines + still_improving(self.results, self.titles)


def unpaid(weights: str) -> str:
    """What is known of the cost of weights that come without a `checkpoint_cost`."""
    given = known_weights(weights)
    if given is None:
        return "cost, labels and data are not known"
    notes = "".join(f"; assumed: {note}" for note in given.notes)
    if given.released:
        return f"the table below says what is known{notes}"
    return f"cost is not known; labels and data stand in its checkpoint and were looked at{notes}"


def overlap_text(overlap: Overlap) -> str:
    """How many test images a pre-training saw, and which class names both sets carry."""
    classes = f"; classes in both: {listed(list(overlap.classes))}" if overlap.classes else ""
    if overlap.same is None:
        return (
            "what it was trained on is not here, so nobody can look whether test images were in "
            f"it{classes}"
        )
    look = "by name" if overlap.near is None else f"{overlap.near} more look alike"
    counted = f"{overlap.same} of {overlap.tested} test images were in its pre-training"
    return f"{counted}, {look}{classes}"


def tuning_line(choice: Choice, tuning: Tuning) -> str:
    """The learning rates that were tried, in a sentence."""
    if tuning.trials == 1:
        return "one learning rate for each arm, its file's; nothing was tuned"
    chosen = [
        f"{who} x " + ", ".join(f"{tuning.lr**step:.3g} ({n})" for step, n in sorted(steps.items()))
        for who, steps in choice.counts.items()
    ]
    edge = f"; still at the grid's edge: {', '.join(choice.edge)}" if choice.edge else ""
    return (
        f"{len(choice.trials)} learning rates for each arm, task, seed, draw and fold, chosen on "
        "validation; chosen, as factors of the arm's own, and how often: "
        f"{'; '.join(chosen)}{edge}"
    )


def merged(lines: Iterable[tuple[str, str]], all_of: int = 0) -> list[str]:
    """Sentences by subject; the same sentence of several subjects is one sentence.

    Args:
        lines: subject and predicate.
        all_of: how many subjects are everybody; they are then called so.
    """
    subjects = defaultdict(list)
    for subject, predicate in lines:
        subjects[predicate].append(subject)
    everybody = "every arm"
    return [
        f"{everybody if all_of and len(names) == all_of else ', '.join(names)}: {predicate}"
        for predicate, names in subjects.items()
    ]


def listed(names: list[str]) -> str:
    """The first few of many names."""
    return ", ".join(names[:FEW_NAMES]) + (" ..." if len(names) > FEW_NAMES else "")


def numbers(counts: dict[str, int]) -> str:
    """The images of each split, in words."""
    return ", ".join(f"{count:,} {split}" for split, count in counts.items())


def still_improving(results: Results, titles: dict[str, str]) -> list[str]:
    """Where the loss on validation was still falling when a stage ended, in lines."""
    falling: dict[tuple[str, str], list[bool]] = {}
    for job in results.by_id.values():
        if job.stage in ("pretrain", "transfer") and job.point is None:
            fell = still_falling(results.store.validation_losses(job))
            if fell is not None:
                falling.setdefault((job.arm, job.stage), []).append(fell)
    stages = {"pretrain": "pre-training", "transfer": "task"}
    counts = [
        (f"{titles[arm]} ({stages[stage]})", f"{sum(votes)} of {len(votes)} runs")
        for (arm, stage), votes in falling.items()
        if any(votes)
    ]
    if not counts:
        return []
    told = "; ".join(merged(counts))
    return [
        f"still improving at the end (validation loss fell by over 1 % in the last fifth): {told}"
    ]
