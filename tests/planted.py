"""Results of a study whose true accuracies are known."""

from unittest.mock import Mock

import numpy as np

from vit.compare.command import Command
from vit.compare.findings import Findings
from vit.compare.job import Job
from vit.compare.results import Results
from vit.compare.store import Store
from vit.compare.study import Arm, Budget, ConfigPatch, Finetuning, Primary, Study, Tuning
from vit.compare.trained import Verdict
from vit.compare.tuning import Choice

SEEDS, IMAGES = 5, 1000


def planted(accuracy: dict[str, float], **settings) -> Results:
    """Results of arms with these true accuracies; images are equally hard for all arms."""
    study = Study(
        question="?", arms=list(accuracy), encoder="", transfer={"task": ConfigPatch("")},
        finetune=Finetuning("", 1), primary=Primary("task"), budget=Budget(), protocols=["knn"],
        tuning=Tuning(1), seeds=SEEDS, **settings,
    )  # fmt: skip
    draw, hard = np.random.default_rng(0), np.random.default_rng(1).random(IMAGES)
    right, jobs = {}, []
    for arm, share in accuracy.items():
        for seed in range(SEEDS):
            noise = draw.random(IMAGES) < 0.1
            right[f"{arm}{seed}t"] = (
                np.where(noise, draw.random(IMAGES) < share, hard < share) * 1.0
            )
            fit = Job(f"{arm}{seed}", Command("fit"), "transfer", arm, seed, 0, "task", flops=10.0,
                      images=100, labels=50, validation=20)  # fmt: skip
            jobs += [fit, Job(f"{arm}{seed}t", Command("test"), "test", arm, seed, 0, "task",
                              needs=(fit.id,))]  # fmt: skip
    store = Mock(spec=Store, summary=lambda job: {}, folder=lambda job: None)
    store.validation_losses.return_value = {}
    store.correct = lambda job, column: right.get(job.id)
    return Results(study, list(accuracy), jobs, store, Choice([0]))


def findings(results: Results, **verdicts: Verdict) -> Findings:
    arms = {name: Arm(title=f"arm {name}") for name in results.arms}
    return Findings(results, arms, verdicts, [])
