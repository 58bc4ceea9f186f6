"""What is known of a model that is exported: of its training, its figures, and what lies before."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vit.callbacks.run_folder import read_json
from vit.export.subject import Subject
from vit.models.lineage import Link
from vit.models.prefixes import config_value
from vit.models.weights.card import Card, card_of

FIGURES = ("test/", "val/", "knn/", "ridge/", "linear/", "attentive/")  # begin names of figures
MADE_BY = "trained with this project"


@dataclass(frozen=True)
class Provenance:
    """What is known of a model.

    Args:
        card: of its last training.
        seed: of the run; None: not known.
        commit: of the code; None: not known.
        figures: by their names, as the run's summary has them; losses left out.
        protocol_ids: what each figure was measured by, by its name.
        upstream: cards of the trainings before, the last one first.
    """

    card: Card
    seed: int | None = None
    commit: str | None = None
    figures: dict[str, float] = field(default_factory=dict)
    protocol_ids: dict[str, str] = field(default_factory=dict)
    upstream: tuple[Card, ...] = ()


def provenance_of(subject: Subject) -> Provenance:
    """What the files say; what they do not say stays unknown."""
    lineage = subject.stored.lineage
    cards = [card_of(link) or card_of_training(link, subject) for link in lineage]
    card = cards[0] if cards else Card(name=subject.stored.path.stem)
    if subject.run is None:
        return Provenance(card, upstream=tuple(cards[1:]))
    summary = read_json(subject.run / "summary.json")
    for file in sorted(subject.run.glob("summary.*.json")):
        summary |= {k: v for k, v in read_json(file).items() if k.startswith(FIGURES)}
    ids = summary.get("protocol_ids")
    return Provenance(
        card=card,
        seed=summary.get("seed"),
        commit=read_json(subject.run / "environment.json").get("git_commit"),
        figures={
            name: value
            for name, value in summary.items()
            if name.startswith(FIGURES) and isinstance(value, float) and not name.endswith("loss")
        },
        protocol_ids=ids if isinstance(ids, dict) else {},
        upstream=tuple(cards[1:]),
    )


def card_of_training(link: Link, subject: Subject) -> Card:
    """The card of a training of this project, out of its settings."""
    name = config_value(link.config, "model", "objective", "class_path")
    data: Any = config_value(link.config, "data", "class_path")
    root = config_value(link.config, "data", "init_args", "root")
    kind, where = str(data or "").rpartition(".")[2], Path(str(root)).name if root else ""
    last = link is subject.stored.lineage[0]
    return Card(
        name=subject.run.parent.name if subject.run and last else "a training before it",
        objective=str(name or "unknown").rpartition(".")[2],
        uses_labels=link.uses_labels,
        data=f"{kind} ({where})" if where else kind,
        images=subject.stored.spec.counts.get("train") if last else None,
        source=MADE_BY,
        classes=link.classes,
    )
