"""What a folder of pictures holds where too few classes were read from it, and what would do."""

from collections import Counter
from pathlib import Path

from vit.data.listing import LABELS, survey


def classes_seen(root: Path, table: Path | None = None) -> str:
    """What lies there and what it needs, in a sentence.

    Args:
        root: the folder.
        table: of labels; None: root/labels.csv if there.
    """
    listing = survey(root, table)
    if table or (root / LABELS).is_file():
        names = f" ({', '.join(listing.classes)})" if listing.classes else ""
        return (
            f"{table or root / LABELS} names {count_of(listing.classes)}{names}; write each "
            "picture's class into its column label"
        )
    rows = list(zip(listing.names, listing.labels, listing.splits, strict=True))
    train = [name.split("/")[0] for name, _, split in rows if split == "train"]
    place = root / train[0] if train else root
    counts = Counter(label for _, label, split in rows if split in ("", "train"))
    loose = counts.pop(-1, 0)
    parts = [f"the folder {listing.classes[n]} with {counts[n]:,} pictures" for n in sorted(counts)]
    parts += [f"{loose:,} pictures that lie in no class's folder"] if loose else []
    return (
        f"{place} holds {' and '.join(parts)}; it needs one folder a class ({place}/cat, "
        f"{place}/dog), or a table {root / LABELS} with columns file and label"
    )


def count_of(classes: tuple[str, ...]) -> str:
    """How many classes there are, in words."""
    return "1 class" if len(classes) == 1 else f"{len(classes)} classes"
