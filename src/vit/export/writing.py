"""An export from beginning to end: written aside, verified, described, then put in its place."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vit.export.as_safetensors import presentation
from vit.export.example import example_for
from vit.export.formats import FORMATS
from vit.export.odd_pictures import write_odd_pictures
from vit.export.provenance import provenance_of
from vit.export.readme import model_card
from vit.export.subject import Subject, answers_of
from vit.export.verify import ExportDifference, check_difference, unchanged
from vit.whole_files import write_text

VERSION = 1
ABOUT = "export.json"  # describes a folder, and says that it is one of ours

WHY = {  # measured: of 12 odd pictures at 32 px, timm's differ by 1 of 255 in 0 to 21 % of pixels
    "timm": " (timm resizes them itself: some pixels differ by a level)",
    "huggingface": " (transformers resizes and cuts them itself: some pixels differ)",
}


@dataclass(frozen=True)
class Written:
    """One export that is in its place.

    Args:
        folder: where it lies.
        kind: the format.
        megabytes: of its files of weights.
        difference: to the model, from the second look.
    """

    folder: Path
    kind: str
    megabytes: float
    difference: ExportDifference


def export_model(
    subject: Subject,
    places: dict[str, Path],
    pictures: list[Path],
    more: Callable[[str, Path], dict[str, Any]] | None = None,
) -> list[Written]:
    """Write a model in some formats; nothing is left of one that differs.

    Args:
        subject: the model.
        places: the folder of each format.
        pictures: files to verify on, beside the odd ones.
        more: asked with the format and its folder, once all are verified: writes what else there
            is to write, and returns what to say of it.

    Raises:
        ValueError: a format cannot hold the model, an export differs from it, or a folder holds
            something else.
    """
    for place in places.values():
        check_place(place)
    with tempfile.TemporaryDirectory() as scratch:
        pictures = [*write_odd_pictures(Path(scratch) / "pictures"), *pictures]
        before = answers_of(subject, pictures)
        parts = {kind: place.with_name(f"{place.name}.part") for kind, place in places.items()}
        try:
            files = {kind: written_into(part, kind, subject) for kind, part in parts.items()}
            # all are looked at after all were written: none may change what another says
            seen = {
                kind: verified(subject, kind, part, pictures, before)
                for kind, part in parts.items()
            }
            if not unchanged(subject, pictures, before):
                raise ValueError("export: the model itself answers otherwise after it was exported")
            for kind, part in parts.items():
                extra = more(kind, part) if more else {}
                describe_folder(subject, kind, part, seen[kind], extra)
            for kind, part in parts.items():
                shutil.rmtree(places[kind], ignore_errors=True)
                part.rename(places[kind])
        finally:
            for part in parts.values():
                shutil.rmtree(part, ignore_errors=True)
    return [
        Written(places[kind], kind, megabytes(places[kind], files[kind]), seen[kind])
        for kind in places
    ]


def check_place(place: Path) -> None:
    """Refuse to write over something that is no export.

    Raises:
        ValueError: naming the folder.
    """
    if place.is_file() or (place.is_dir() and any(place.iterdir()) and not is_export(place)):
        raise ValueError(f"export: {place} holds something else than an export; give another --out")


def is_export(folder: Path) -> bool:
    """Was this folder written by an export?"""
    return (folder / ABOUT).is_file()


def written_into(part: Path, kind: str, subject: Subject) -> list[str]:
    """Write a format's files into a new folder."""
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    return FORMATS[kind].write(subject, part)


def verified(
    subject: Subject, kind: str, part: Path, pictures: list[Path], expected: list
) -> ExportDifference:
    """Open a written format and compare.

    Raises:
        ValueError: it differs.
    """
    difference = FORMATS[kind].measure(subject, part, pictures, expected)
    check_difference(difference, FORMATS[kind].bound, kind)
    return difference


def describe_folder(
    subject: Subject, kind: str, part: Path, difference: ExportDifference, extra: dict[str, Any]
) -> None:
    """Write export.json, README.md, and example.py where onnxruntime runs it."""
    known, spec = provenance_of(subject), subject.stored.spec
    about = {
        "version": VERSION,
        "format": kind,
        "classes": list(subject.classes),
        "multi_label": spec.multi_label,
        "outputs": subject.answers.names,
        "image_size": list(spec.image_size),
        "channels": spec.channels,
        "mean": list(spec.mean),
        "std": list(spec.std),
        "preprocessing": presentation(subject.preprocess),
        "card": asdict(known.card),
        "upstream": [asdict(card) for card in known.upstream],
        "seed": known.seed,
        "commit": known.commit,
        "figures": known.figures,
        "protocol_ids": known.protocol_ids,
        "verified": asdict(difference),
        **extra,
    }
    write_text(part / "README.md", model_card(subject, known, kind, as_sentence(difference, kind)))
    if kind == "onnx":
        write_text(part / "example.py", example_for(subject))
    names = sorted(path.name for path in part.iterdir())
    about["sha256"] = {name: sha256_of_file(part / name) for name in names}
    write_text(part / ABOUT, json.dumps(about, indent=1) + "\n")


def as_sentence(difference: ExportDifference, kind: str) -> str:
    """How an export was verified, and why files and pixels differ where they do.

    Args:
        difference: to the model.
        kind: the format.
    """
    if difference.files is None:
        return "not verified: the library that opens it is not installed"
    files = f"{difference.files:.1e} from {difference.pictures} encoded files"
    parts = [files + WHY.get(kind, "")]
    if difference.network is not None:
        parts.append(f"{difference.network:.1e} from the same pixels")
    if difference.batch is not None:
        parts.append(f"{difference.batch:.1e} between a picture alone and in a batch")
    return "largest difference to the model: " + ", ".join(parts)


def sha256_of_file(path: Path) -> str:
    """The hash of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def megabytes(folder: Path, names: list[str]) -> float:
    """The size of some files."""
    return sum((folder / name).stat().st_size for name in names) / 1e6
