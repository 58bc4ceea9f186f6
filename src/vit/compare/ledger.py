"""What weights cost and saw before they came here, beside what their features cost here.

Nobody's word is completed: what a file does not say of itself is unknown.
"""

from vit.compare.dry_run import DryRun
from vit.compare.findings import Findings
from vit.compare.given_weights import GivenWeights, known_weights
from vit.compare.job import FORWARD
from vit.compare.tables import Rows
from vit.models.lineage import Link
from vit.models.weights.card import card_of
from vit.yaml_text import load_yaml

HEAD = [
    "arm", "trained by", "on", "pictures", "labelled", "FLOPs, not paid here", "licence",
    "shown at", "pooling", "FLOPs of its features here",
]  # fmt: skip
UNKNOWN = "unknown"


def ledger(findings: Findings, dry_runs: dict[tuple[str, str], DryRun]) -> Rows:
    """A row for each training behind each arm's own weights, the last one first.

    Args:
        findings: of the study.
        dry_runs: by arm and task.
    """
    rows, task = [HEAD], findings.study.primary.data
    for name, arm in findings.arms.items():
        given = known_weights(arm.pretrained) if arm.pretrained else None
        if given is None:
            continue
        run = dry_runs[name, task]
        images = sum(run.data.spec.counts.values())
        here = f"{run.flops * FORWARD * images:.2g}"
        for number, link in enumerate(given.lineage):
            title = f"{arm.title}, before that" if number else arm.title
            last = ["", "", ""] if number else [*shown(given, run), here]
            rows.append([title, *upstream(link), *last])
    return rows


def shown(given: GivenWeights, run: DryRun) -> list[str]:
    """At which size pictures are shown, and how features are pooled."""
    side = run.data.spec.image_size[0]
    other = "" if side == given.side else f" (trained at {given.side})"
    return [f"{side} px{other}", given.pool]


def upstream(link: Link) -> list[str]:
    """By what, on what, on how many pictures and labels, for how many FLOPs, which licence."""
    if card := card_of(link):
        labels = 0 if card.uses_labels is False else card.labels
        return [
            card.objective or UNKNOWN, card.data or UNKNOWN, amount(card.images), amount(labels),
            UNKNOWN if card.flops is None else f"{card.flops:.2g}", card.licence or UNKNOWN,
        ]  # fmt: skip
    settings = load_yaml(link.config, "lineage") or {}
    kinds = [class_in(settings, "model", "objective"), class_in(settings, "data")]
    pictures = len(link.hashes) * link.every
    images = f"about {pictures:,}" if link.every > 1 else amount(pictures or None)
    return [*kinds, images, images if link.uses_labels else "0", UNKNOWN, "yours"]


def class_in(settings: dict, *keys: str) -> str:
    """The name of a class in a run's settings."""
    node = settings
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else None
    path = node.get("class_path") if isinstance(node, dict) else None
    return str(path).rpartition(".")[2] if path else UNKNOWN


def amount(number: int | None) -> str:
    """A number of pictures, or that nobody said it."""
    return UNKNOWN if number is None else f"{number:,}"
