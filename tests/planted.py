"""Results of a study whose true accuracies are known."""

from unittest.mock import Mock

import numpy as np

from vit.compare.command import Command
from vit.compare.findings import Findings
from vit.compare.job import Job
from vit.compare.results import Results
from vit.compare.store import Store
from vit.compare.study import Arm, Budget, ConfigPatch, Finetuning, Primary, Study, Tuning
from vit.compare.trained import Validity
from vit.compare.tuning import Choice

SEEDS, IMAGES = 5, 1000
KINDS = {"scratch": "none", "supervised": "supervised", "dino": "self-supervised"}
TITLES = {"scratch": "scratch", "supervised": "supervised", "dino": "DINO"}


def planted(
    accuracy: dict[str, float],
    odd: dict[tuple[str, int], float] | None = None,
    failed: tuple[tuple[str, int], ...] = (),
    controls: dict[str, float] | None = None,
    images: int = IMAGES,
    **settings,
) -> Results:
    """Results of arms with these true accuracies; images are equally hard for all arms.

    `odd`: the accuracy of single seeds; `failed`: seeds whose loss was not finite; `controls`: the
    accuracy of a control's column.
    """
    study = Study(
        question="?", arms=list(accuracy), encoder="", transfer={"task": ConfigPatch("")},
        finetune=Finetuning("", 1), primary=Primary("task"), budget=Budget(), protocols=["knn"],
        tuning=Tuning(1), **{"seeds": SEEDS} | settings,
    )  # fmt: skip
    draw, hard = np.random.default_rng(0), np.random.default_rng(1).random(images)
    right, jobs, lost = {}, [], set()

    def answers(level: float) -> np.ndarray:
        lucky = draw.random(images) < 0.1
        return np.where(lucky, draw.random(images) < level, hard < level) * 1.0

    for arm, level in accuracy.items():
        for seed in range(study.seeds):
            right[f"{arm}{seed}t", "accuracy"] = answers((odd or {}).get((arm, seed), level))
            fit = Job(f"{arm}{seed}", Command("fit"), "transfer", arm, seed, 0, "task", flops=10.0,
                      images=100, labels=50, validation=20)  # fmt: skip
            jobs += [fit, Job(f"{arm}{seed}t", Command("test"), "test", arm, seed, 0, "task",
                              needs=(fit.id,))]  # fmt: skip
            lost |= {fit.id, f"{arm}{seed}t"} if (arm, seed) in failed else set()
    for seed in range(study.seeds if controls else 0):
        jobs.append(Job(f"c{seed}", Command("evaluate"), "control", "random_encoder", seed, 0,
                        "task", labels=50))  # fmt: skip
        right |= {(f"c{seed}", column): answers(level) for column, level in controls.items()}
    store = Mock(spec=Store, summary=lambda job: {"seconds": 60.0}, folder=lambda job: None)
    store.validation_losses.return_value = {}
    store.status = lambda job: "failed" if job.id in lost else "done"
    store.correct = lambda job, column: None if job.id in lost else right.get((job.id, column))
    return Results(study, list(accuracy), jobs, store, Choice([0]))


def findings(results: Results, states: dict[str, str] | None = None, **settings) -> Findings:
    """Findings of those results; every arm with weights has trained unless `states` says else."""
    arms = {name: Arm(title=TITLES.get(name, f"arm {name}")) for name in results.arms}
    kinds = {name: KINDS.get(name, "none") for name in arms}
    validities = {
        (name, "task"): Validity((states or {}).get(name, "trained"), ["kNN on validation"])
        for name, kind in kinds.items()
        if kind != "none"
    }
    return Findings(results, arms, validities, kinds, **settings)
