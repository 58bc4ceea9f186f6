"""What each arm learned from before it saw the task: nothing, labels, or images alone."""

from pathlib import Path

from vit.compare.dry_run import DryRun
from vit.compare.given_weights import kind_of_trainings, known_weights, learned_labels
from vit.compare.study import Arm
from vit.compare.verdict import Kind


def kinds_of(arms: dict[str, Arm], dry_runs: dict[tuple[str, str], DryRun]) -> dict[str, Kind]:
    """The kind of each arm; weights that others made are `imported` where they do not say.

    Args:
        arms: by name.
        dry_runs: by arm and stage; those of `pretrain` know if labels are used.
    """
    kinds: dict[str, Kind] = {}
    for name, arm in arms.items():
        if arm.pretrain:
            before = dry_runs[name, "pretrain"]  # its teacher's labels are labels too
            known = [before.uses_labels, *map(learned_labels, before.lineage)]
            kinds[name] = kind_of_trainings(known)
        else:
            kinds[name] = imported_kind(Path(arm.pretrained)) if arm.pretrained else "none"
    return kinds


def imported_kind(weights: Path) -> Kind:
    """The kind of the trainings behind weights; one of them with labels makes it supervised."""
    given = known_weights(str(weights))
    return given.kind if given else "imported"
