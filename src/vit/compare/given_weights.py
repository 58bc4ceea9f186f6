"""Released encoders that a study is handed by name: an arm for each, and what their files say.

A file says how large its pictures were, what it was trained on and by whom, as far as anybody knows
(`vit.models.weights.card`). What it does not say stays unknown in every table.
"""

import hashlib
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from vit.compare.study import Arm
from vit.compare.verdict import Kind
from vit.models.lineage import Link
from vit.models.weights import Stored, checkpoint_in, stored_encoder
from vit.models.weights.card import Card, card_of

PLAIN = {  # names of files that say nothing; the folder above does
    "model", "pytorch_model", "weights", "checkpoint", "best", "last", "previous", "vit", "encoder",
    "teacher_checkpoint",
}  # fmt: skip
WEIGHTS = (".safetensors", ".bin", ".pth", ".pt", ".npz", ".onnx", ".json")  # that count in a hash
FEATURES = ("knn", "ridge", "linear", "attentive")  # whether released features beat random ones


class GivenWeights(NamedTuple):
    """What a file of weights says of itself; its tensors are not kept.

    Args:
        path: of the file.
        lineage: the trainings behind it, the last one first.
        side: pixels of the pictures that it was trained on, the shorter side.
        patch: pixels of a patch; 1 where it has none.
        pool: how its features are pooled.
        notes: what was assumed because the file does not say it.
    """

    path: Path
    lineage: tuple[Link, ...]
    side: int
    patch: int
    pool: str
    notes: tuple[str, ...]

    @property
    def cards(self) -> list[Card]:
        """The cards of the trainings that were not made with this project."""
        return [card for card in map(card_of, self.lineage) if card]

    @property
    def released(self) -> bool:
        """Was their last training somebody else's?"""
        return bool(self.lineage) and card_of(self.lineage[0]) is not None

    @property
    def kind(self) -> Kind:
        """What they were trained by, as far as their files say."""
        return kind_of_trainings([learned_labels(link) for link in self.lineage])

    def shown_at(self, most: int) -> int:
        """The pixels that it is shown: its own, or as many patches as fit into `most`."""
        side = min(self.side, most)
        return max(side // self.patch, 1) * self.patch


def learned_labels(link: Link) -> bool | None:
    """Did a training learn from labels? None: nobody said."""
    card = card_of(link)
    return card.uses_labels if card else link.uses_labels


def kind_of_trainings(learned: list[bool | None]) -> Kind:
    """One training with labels makes an arm supervised; one of which nobody knows, imported."""
    if True in learned:
        return "supervised"
    return "imported" if None in learned or not learned else "self-supervised"


@cache
def given_weights(text: str) -> GivenWeights:
    """What a path or a name holds, read once.

    Raises:
        ValueError: it holds no encoder, or is damaged.
        FileNotFoundError: there is nothing.
    """
    stored = stored_encoder(text)
    side = min(stored.spec.image_size)
    return GivenWeights(
        stored.path, stored.lineage, side, patch_of(stored), pool_of(stored), stored.notes
    )


def known_weights(text: str) -> GivenWeights | None:
    """What a path or a name holds; None where it was removed, or cannot be read."""
    try:
        return given_weights(text)
    except (ValueError, KeyError, OSError):
        return None


def patch_of(stored: Stored) -> int:
    """The pixels of a patch of a stored encoder; 1 where it has none."""
    return stored.settings.get("patch_size") or 1


def pool_of(stored: Stored) -> str:
    """How a stored encoder pools."""
    return str(stored.settings.get("pool") or "its own")


def weights_hash(text: str) -> str:
    """A hash of the bytes that a path or a name means; equal for equal weights, wherever they lie.

    Raises:
        FileNotFoundError: there is nothing.
    """
    stamps = [(file, file.stat().st_mtime_ns, file.stat().st_size) for file in weight_files(text)]
    return _hash_of_files(tuple(stamps))


@cache
def _hash_of_files(stamps: tuple[tuple[Path, int, int], ...]) -> str:
    """Files that change meanwhile have other stamps, and are read anew."""
    digests = []
    for file, *_ in stamps:
        with file.open("rb") as opened:
            digests.append(hashlib.file_digest(opened, "sha256"))
    several = hashlib.sha256(b"".join(one.digest() for one in digests))
    return (digests[0] if len(digests) == 1 else several).hexdigest()[:12]


def weight_files(text: str) -> list[Path]:
    """The files that a path or a name means."""
    path = Path(text)
    if path.is_dir() and not is_run(path):
        files = sorted(file for file in path.iterdir() if file.suffix in WEIGHTS)
        return [file for file in files if file.is_file()]
    return [checkpoint_in(path if path.exists() else given_weights(text).path)]


def is_run(folder: Path) -> bool:
    """Is it a run folder, or a folder of runs, of this project?"""
    return (folder / "checkpoints").is_dir() or any(folder.glob("*/checkpoints"))


def arms_of(weights: Iterable[str], most_px: int, taken: Iterable[str] = ()) -> dict[str, Arm]:
    """An arm for each of the weights, called by its file.

    Args:
        weights: paths or names.
        most_px: no picture is shown to them larger than this.
        taken: names of other arms.

    Raises:
        ValueError: one of them is not there, holds no encoder, or is another one's equal.
    """
    weights = list(weights)
    for text in weights:
        if not Path(text).exists() and not re.match(r"(timm|hf|torchvision):", text):
            raise ValueError(
                f"weights: {text}: no such file or folder; give a file, a folder, or a name such "
                "as timm:vit_small_patch16_224.augreg_in21k"
            )
    arms: dict[str, Arm] = {}
    first: dict[str, str] = {}
    for text in weights:
        try:
            given, key = given_weights(text), weights_hash(text)
        except (ValueError, OSError) as error:
            named = str(error).startswith(f"weights: {text} ")
            raise ValueError(f"{'' if named else f'weights: {text}: '}{error}") from error
        if key in first:
            raise ValueError(f"weights: {text} holds the same as {first[key]}; leave one out")
        first[key] = text
        name = unique_name(name_of(text), {*arms, *taken})
        arms[name] = Arm(title=name, pretrained=text, image_size=given.shown_at(most_px))
    return arms


def name_of(text: str) -> str:
    """A readable name for weights: their file's, or its folder's where the file's says nothing."""
    if not Path(text).exists():
        return plain(text.partition(":")[2])
    path = Path(text).absolute()
    if path.is_dir() and is_run(path):
        return plain(f"{path.parent.name}_{path.name.rpartition('_')[2]}")
    if path.parent.name == "checkpoints":
        return name_of(str(path.parent.parent))
    known = path.name if path.is_dir() else path.stem
    return plain(path.parent.name if known.lower() in PLAIN else known)


def plain(name: str) -> str:
    """Letters, digits, dots and dashes alone."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "weights"


def unique_name(name: str, taken: set[str]) -> str:
    """The name, with a number behind it where another arm has it."""
    numbered = (f"{name}_{number}" for number in range(2, 1000))
    return name if name not in taken else next(one for one in numbered if one not in taken)
