"""Did a self-supervised arm train at all? Validation decides, before anybody looks at a test.

An arm that fails is listed as not trained and stays in every table.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vit.compare.dry_run import DryRun
from vit.compare.job import Job
from vit.compare.store import Store
from vit.evaluate.rankme import COLLAPSED

PROTOCOLS = ("attentive", "linear", "knn")  # the first that was measured on both counts


@dataclass
class Verdict:
    """What validation says of one self-supervised arm.

    Args:
        trained: did it pass every check that could be made?
        reasons: what each check saw, failures first.
        short: was its loss on validation still falling when pre-training ended?
    """

    trained: bool
    reasons: list[str]
    short: bool = False

    @property
    def summary(self) -> str:
        """The verdict in words."""
        if self.trained:
            return "trained"
        return "NOT TRAINED, too short: its loss was still falling" if self.short else "NOT TRAINED"


def verdicts(
    dry_runs: dict[tuple[str, str], DryRun], jobs: list[Job], store: Store
) -> dict[str, Verdict]:
    """The verdict on each self-supervised arm.

    Args:
        dry_runs: by arm and stage.
        jobs: of the study.
        store: where runs lie.
    """
    return {
        arm: check_trained(arm, jobs, store, dry_run.trivial_baseline)
        for (arm, stage), dry_run in dry_runs.items()
        if stage == "pretrain" and not dry_run.uses_labels
    }


def check_trained(
    arm: str, jobs: list[Job], store: Store, trivial_baseline: tuple[str, str] | None
) -> Verdict:
    """Is an arm better than random features and a trivial answer, and not collapsed?

    Args:
        arm: its name.
        jobs: of the study.
        store: where runs lie.
        trivial_baseline: the objective's metric and what a trivial answer scores, where it has one.
    """
    declared = [job for job in jobs if job.point is None]
    probes = [store.summary(job) for job in declared if job.arm == arm and job.stage == "probe"]
    controls = [store.summary(job) for job in declared if job.stage == "control"]
    pretrainings = [job for job in jobs if job.arm == arm and job.stage == "pretrain"]
    checks = [
        *check_features([s for s in probes if s], [s for s in controls if s]),
        *check_rank([s["effective_rank"] for s in probes if "effective_rank" in s]),
        *check_baseline([store.summary(job) for job in pretrainings], trivial_baseline),
    ]
    failed = [f"failed: {line}" for passed, line in checks if not passed]
    passed = [f"passed: {line}" for passed, line in checks if passed]
    votes = [
        bool(still_falling(store.validation_losses(job)))
        for job in pretrainings
        if job.point is None
    ]
    short = sum(votes) > len(votes) / 2
    return Verdict(not failed and bool(passed), failed + passed, short)


def check_features(
    probes: list[dict[str, Any]], controls: list[dict[str, Any]]
) -> Iterator[tuple[bool, str]]:
    """Is a protocol's accuracy above that of random features?

    Args:
        probes: summaries of the arm.
        controls: summaries of the random encoder.
    """
    for protocol in PROTOCOLS if probes and controls else ():
        name = f"val/{protocol}/accuracy"
        if all(name in summary for summary in [*probes, *controls]):
            arm, random = (np.mean([s[name] for s in group]) for group in (probes, controls))
            line = f"{name} {100 * arm:.1f} % against {100 * random:.1f} % of random features"
            yield bool(arm > random), line
            return


def check_rank(ranks: list[float]) -> Iterator[tuple[bool, str]]:
    """Is no run's effective rank that of collapsed features?"""
    if ranks:
        yield min(ranks) >= COLLAPSED, f"effective rank {np.mean(ranks):.1f}"


def check_baseline(
    summaries: list[dict[str, Any]], trivial_baseline: tuple[str, str] | None
) -> Iterator[tuple[bool, str]]:
    """Is an arm better at its own task than a trivial answer is?"""
    metric, baseline = trivial_baseline or ("", "")
    pairs = [(s[metric], s[baseline]) for s in summaries if metric in s and baseline in s]
    if pairs:
        score, trivial = np.mean(pairs, axis=0)
        line = f"its own task, {metric}, {score:.3f} against {trivial:.3f} of a trivial answer"
        yield bool(score > trivial), line


def still_falling(losses: dict[int, float]) -> bool | None:
    """Did a loss fall by more than 1 % in the last fifth of a run, or since the one before that?

    Args:
        losses: on validation, by optimiser step.

    Returns:
        None where there was no validation before the last fifth.
    """
    end = max(losses, default=0)
    before = [step for step in losses if step <= 0.8 * end]
    return losses[end] < 0.99 * losses[max(before)] if before else None
