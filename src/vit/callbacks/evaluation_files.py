"""What an evaluation leaves in a run folder: summary, correctness by image, list of figures."""

from datetime import date
from pathlib import Path
from typing import Any

import torch

from vit.callbacks.run_folder import write_json
from vit.callbacks.tables import append_rows, write_rows
from vit.evaluate.evaluation import CONTROLS, Evaluation
from vit.models.torch_files import hash_of


def write_evaluation(
    folder: Path, evaluation: Evaluation, seconds: float, extra: dict[str, Any]
) -> None:
    """Write all three.

    Args:
        folder: of the run.
        evaluation: done.
        seconds: that it took.
        extra: what else the summary holds.
    """
    scores, data = evaluation.scores, evaluation.data
    append_figures(folder / "evaluations.csv", evaluation)
    summary = {
        "status": "completed",
        "seed": evaluation.context.seed,
        "seconds": round(seconds, 1),
        "encoder_hash": hash_of(evaluation.encoder),
        "effective_rank": round(scores.effective_rank, 2),
        "labels": {split: data.spec.counts[split] for split in ("train", "val")},
        "splits": {split: data.split_hash(split) for split in evaluation.needed},
        "content": {split: data.content(split) for split in evaluation.needed},
        **extra,
        "chosen": scores.notes,
        "protocol_ids": scores.ids,
        "correct_sha256": {
            split: write_correctness(folder / f"correct.{split}.csv", columns)
            for split, columns in scores.correct.items()
        },
        **scores.metrics,
    }
    write_json(folder / "summary.evaluate.json", summary)


def append_figures(path: Path, evaluation: Evaluation) -> None:
    """A line a figure in the list that only grows, so that every reading of a split is recorded."""
    rows = []
    for metric, value in evaluation.scores.metrics.items():
        split, protocol, measure = metric.split("/")
        ending = next((f"_{c}" for c in CONTROLS if measure.endswith(f"_{c}")), "")
        id_ = evaluation.scores.ids[f"{split}/{protocol}{ending}"]
        name = type(evaluation.data).__name__
        rows.append([date.today().isoformat(), name, metric, id_, repr(value)])
    append_rows(path, ["date", "data", "metric", "protocol_id", "value"], rows)


def write_correctness(path: Path, columns: dict[str, torch.Tensor]) -> str:
    """One row per image, in the split's order: 1 right, 0 wrong; the file's hash."""
    table = torch.stack([right.int().cpu() for right in columns.values()], 1).tolist()
    rows = ([number, *row] for number, row in enumerate(table))
    return write_rows(path, ["index", *columns], rows)
