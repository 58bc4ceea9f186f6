"""Did an arm that brings weights train at all? Validation decides, before a test is looked at.

By arm and task: its frozen features against the random encoder's, with an interval, by the protocol
that suits its objective; whether they collapsed; its own task against a trivial answer. Where the
noise allows no answer, none is given. An arm that fails stays in every table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.special import stdtrit

from vit.compare.dry_run import DryRun, whole_number
from vit.compare.gains import LEVEL, Gain, gains
from vit.compare.given_weights import FEATURES, given_weights
from vit.compare.identity import class_named
from vit.compare.job import Cell, Job, unique
from vit.compare.plan import Planner
from vit.compare.store import Store
from vit.compare.study import Arm
from vit.evaluate.rankme import COLLAPSED
from vit.models.weights import checkpoint_in, open_checkpoint
from vit.objectives.base import Objective
from vit.yaml_text import load_yaml

SMALL = 0.01  # a gain whose interval ends below it is none; ours
GRAVEST = ("not trained", "cannot tell", "trained")
TITLES = {"attentive": "attentive probe", "linear": "linear probe", "knn": "kNN"}
OURS = "vit.objectives."  # the modules that a checkpoint may name


@dataclass
class Validity:
    """What validation says of one arm's weights on one task.

    Args:
        state: trained: better than random features, and no check failed; not trained: a check
            failed; cannot tell: the noise, or what is missing, allows neither.
        reasons: what each check saw, the gravest first.
        short: was its loss on validation still falling when pre-training ended?
    """

    state: Literal["trained", "not trained", "cannot tell"]
    reasons: list[str]
    short: bool = False

    @property
    def too_short(self) -> str:
        """What more training may change, to stand behind the state; empty where nothing."""
        short = self.short and self.state != "trained"
        return ", too short: its loss was still falling" if short else ""


class Check(NamedTuple):
    """What one check says of an arm.

    Args:
        state: as Validity's.
        text: with its figures.
    """

    state: str
    text: str


def validities(
    planner: Planner, dry_runs: dict[tuple[str, str], DryRun], jobs: list[Job], store: Store
) -> dict[tuple[str, str], Validity]:
    """The validity of each arm that brings weights, by arm and task.

    Args:
        planner: of the study.
        dry_runs: by arm and stage.
        jobs: of the study.
        store: where runs lie.
    """
    preferred = preferred_protocols(planner.arms, dry_runs)
    checked = {}
    for task in planner.study.transfer:
        checks = TaskChecks(task, jobs, store, lambda job: validation_images(planner, job))
        features = checks.features(preferred)
        for arm in preferred:
            before = dry_runs.get((arm, "pretrain"))
            others = (checks.rank(arm), checks.baseline(arm, before and before.trivial_baseline))
            checked[arm, task] = validity_of([features[arm], *others], checks.short(arm))
    return checked


def validity_of(checks: list[Check | None], short: bool) -> Validity:
    """What the checks that could be made come to: the gravest of their states."""
    made = sorted(filter(None, checks), key=lambda check: GRAVEST.index(check.state))
    return Validity(made[0].state, [check.text for check in made], short)


def preferred_protocols(
    arms: dict[str, Arm], dry_runs: dict[tuple[str, str], DryRun]
) -> dict[str, tuple[str, ...]]:
    """The protocols that suit each arm with weights, the best first."""
    preferred = {}
    for name, arm in arms.items():
        if arm.pretrain:
            preferred[name] = dry_runs[name, "pretrain"].validity_protocols
        elif arm.pretrained:
            released = given_weights(arm.pretrained).released
            file = None if released else checkpoint_in(Path(arm.pretrained))
            preferred[name] = recorded_protocols(file) if file else FEATURES
    return preferred


def recorded_protocols(file: Path) -> tuple[str, ...]:
    """The protocols that suit the objective in a checkpoint; the default ones where it is foreign.

    Only modules of this project's objectives are imported, whatever the file names.
    """
    try:
        settings = load_yaml(open_checkpoint(file)["config"], str(file))
        class_path = settings["model"]["objective"]["class_path"]
        if class_path.startswith(OURS):
            return class_named(class_path).validity_protocols
    except (ValueError, KeyError, TypeError, AttributeError, ImportError):
        pass  # a released file, or an objective that is gone
    return Objective.validity_protocols


def validation_images(planner: Planner, job: Job) -> np.ndarray:
    """Which image, or group of images that belong together, stands where in a job's validation."""
    val_draw = whole_number(job.command, "data.val_draw") or 0
    cell = Cell(job.data, job.seed, job.draw, job.point, job.fold, val_draw=val_draw)
    data = planner.dry_run(planner.recipes.untrained(cell)).data
    groups = data.groups("val")
    return np.array(data.split_indices()["val"] if groups is None else groups)


class TaskChecks:
    """The checks of all arms on one task.

    Args:
        task: its name.
        jobs: of the study.
        store: where runs lie.
        images: which validation images a job is measured on.
    """

    def __init__(
        self, task: str, jobs: list[Job], store: Store, images: Callable[[Job], np.ndarray]
    ) -> None:
        declared = [job for job in jobs if job.data == task and job.point is None]
        self.probes = [job for job in declared if job.stage == "probe"]
        self.controls = [job for job in declared if job.stage == "control"]
        needing = [job for job in declared if job.stage in ("probe", "transfer")]
        needed = {id_ for job in needing for id_ in job.needs}
        self.pretrainings = [job for job in unique(jobs) if job.id in needed]
        self.store = store
        self.images = images

    def features(self, preferred: dict[str, tuple[str, ...]]) -> dict[str, Check]:
        """Is each arm better than random features?

        Args:
            preferred: protocols by arm, the one that suits it best first.
        """
        if not self.controls:
            text = "the study has no random encoder to compare with"
            return {arm: Check("cannot tell", text) for arm in preferred}
        alike: dict[tuple[str, tuple[int, ...]], list[str]] = {}
        for arm, protocols in preferred.items():
            alike.setdefault(self.measured(arm, protocols), []).append(arm)
        checks = {}
        for (protocol, seeds), arms in alike.items():
            if len(seeds) < 2:
                text = f"complete seeds on validation: {len(seeds)}; an interval needs two"
                checks |= {arm: Check("cannot tell", text) for arm in arms}
                continue
            for arm, gain in self.gains(protocol, seeds, arms).items():
                checks[arm] = Check(state_of(gain), text_of(gain, protocol, preferred[arm][0]))
        return checks

    def measured(self, arm: str, protocols: tuple[str, ...]) -> tuple[str, tuple[int, ...]]:
        """The first protocol that was measured of an arm and of the random encoder; its seeds."""
        probes = [job for job in self.probes if job.arm == arm]
        for protocol in protocols:
            both = self.correct(probes, protocol).keys() & self.correct(self.controls, protocol)
            if both:
                return protocol, tuple(sorted(both))
        return "", ()

    def gains(self, protocol: str, seeds: tuple[int, ...], arms: list[str]) -> dict[str, Gain]:
        """The gains of arms that the same protocol measured with the same seeds."""
        correct = {
            arm: self.correct([job for job in self.probes if job.arm == arm], protocol)
            for arm in arms
        }
        random = self.correct(self.controls, protocol)
        images = by_seed(self.controls, self.images)
        return gains(
            {arm: [cells[seed] for seed in seeds] for arm, cells in correct.items()},
            [random[seed] for seed in seeds],
            [
                [names if len(names) == len(x) else np.arange(len(x)) for names, x in pairs]
                for pairs in (zip(images[seed], random[seed], strict=True) for seed in seeds)
            ],
        )

    def correct(self, jobs: list[Job], protocol: str) -> dict[int, list[np.ndarray]]:
        """Right answers on validation by seed and cell; only of seeds that are complete."""
        cells = by_seed(jobs, lambda job: self.store.correct(job, protocol, "val"))
        return {seed: x for seed, x in cells.items() if all(part is not None for part in x)}

    def rank(self, arm: str) -> Check | None:
        """Do features not lie on a line? Collapse of some seeds leaves open what others learned."""
        summaries = by_seed([j for j in self.probes if j.arm == arm], self.store.summary)
        ranks = {
            seed: float(np.mean([one["effective_rank"] for one in cells]))
            for seed, cells in summaries.items()
            if all("effective_rank" in one for one in cells)
        }
        low = [seed for seed, value in ranks.items() if value < COLLAPSED]
        if not ranks:
            return None
        if not low:
            return Check("trained", f"effective rank {np.mean(list(ranks.values())):.1f}")
        values = ", ".join(f"{ranks[seed]:.1f}" for seed in low)
        where = "every seed" if len(low) == len(ranks) else f"seed {', '.join(map(str, low))}"
        state = "not trained" if len(low) == len(ranks) else "cannot tell"
        return Check(state, f"collapsed in {where}: effective rank {values}")

    def baseline(self, arm: str, trivial_baseline: tuple[str, str] | None) -> Check | None:
        """Is an arm's own task not solved worse than by a trivial answer? With an interval."""
        metric, baseline = trivial_baseline or ("", "")
        runs = by_seed([j for j in self.pretrainings if j.arm == arm], self.store.summary)
        pairs = np.array(
            [
                np.mean([(one[metric], one[baseline]) for one in cells], axis=0)
                for cells in runs.values()
                if all(metric in one and baseline in one for one in cells)
            ]
        )  # n 2
        if not len(pairs):
            return None
        (score, trivial), above = pairs.mean(0), pairs[:, 0] - pairs[:, 1]
        text = f"its own task, {metric}, {score:.3f} against {trivial:.3f} of a trivial answer"
        if above.mean() > 0 or len(above) < 2:
            return Check("trained" if above.mean() > 0 else "cannot tell", text)
        half = -stdtrit(len(above) - 1, (1 - LEVEL) / 2) * above.std(ddof=1) / sqrt(len(above))
        return Check("not trained" if above.mean() + half <= 0 else "cannot tell", text)

    def short(self, arm: str) -> bool:
        """Was the loss on validation still falling in most of an arm's pre-trainings?"""
        votes = [
            bool(still_falling(self.store.validation_losses(job)))
            for job in self.pretrainings
            if job.arm == arm
        ]
        return sum(votes) > len(votes) / 2


def by_seed(jobs: list[Job], value: Callable[[Job], Any]) -> dict[int, list[Any]]:
    """Values of jobs by seed, in the order of their draws and folds."""
    cells: dict[int, list[Any]] = {}
    for job in sorted(jobs, key=lambda job: (job.draw, job.fold or 0)):
        cells.setdefault(job.seed, []).append(value(job))
    return cells


def state_of(gain: Gain) -> str:
    """What an interval allows to say."""
    if gain.low > 0:
        return "trained"
    return "not trained" if gain.high < SMALL else "cannot tell"


def text_of(gain: Gain, protocol: str, preferred: str) -> str:
    """The gain in one line; it says where another protocol would have suited the arm better."""
    name, instead = TITLES.get(protocol, protocol), TITLES.get(preferred, preferred)
    without = "" if protocol == preferred else f", as no {instead} was measured,"
    value, low, high = (f"{100 * x:+.1f}" for x in gain[:3])
    interval = f"{100 * LEVEL:g} % interval {low} to {high}"
    return f"{name} on validation{without} {value} points over random features ({interval})"


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
