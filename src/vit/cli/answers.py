"""What a model says of pictures, as a table (CSV), as JSON, and as a line for people."""

import csv
import io
import json
from typing import Any, NamedTuple

FORMATS = ("csv", "json")


class ReadPicture(NamedTuple):
    """A picture as a model sees it, or why it cannot be read.

    Args:
        pixels: what the model takes; None where it cannot be read.
        error: why; empty where it could.
    """

    pixels: Any
    error: str


class PictureAnswer(NamedTuple):
    """What a model says of a file.

    Args:
        file: as it was named.
        chances: the probability of each class; empty where the file cannot be read.
        error: why it cannot be read; else empty.
    """

    file: str
    chances: tuple[float, ...]
    error: str


def best(
    answer: PictureAnswer, classes: tuple[str, ...], top: int | None
) -> list[tuple[str, float]]:
    """Classes with their probabilities, the most probable first; None: all of them."""
    named = sorted(zip(classes, answer.chances, strict=False), key=lambda pair: -pair[1])
    return named[:top]


def as_csv(answers: list[PictureAnswer], classes: tuple[str, ...], top: int | None) -> str:
    """A row a picture: file, class_1, probability_1 ... error.

    Of several labels a picture (top is None): file, the probability of each label, error.
    """
    if top is None:
        header = [f"p_{name}" for name in classes]
    else:
        header = [f"{what}_{i}" for i in range(1, top + 1) for what in ("class", "probability")]
    rows = []
    for answer in answers:
        if answer.error:
            cells = [""] * len(header)
        elif top is None:
            cells = [f"{chance:.6f}" for chance in answer.chances]
        else:
            pairs = best(answer, classes, top)
            cells = [cell for name, chance in pairs for cell in (name, f"{chance:.6f}")]
        rows.append([printable(answer.file), *cells, answer.error])
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["file", *header, "error"], *rows])
    return text.getvalue()


def as_json(answers: list[PictureAnswer], classes: tuple[str, ...], top: int | None) -> str:
    """A list of objects: file, predictions (class and probability, the best first) or error."""
    content = []
    for answer in answers:
        pairs = best(answer, classes, top)
        told = [{"class": name, "probability": round(chance, 6)} for name, chance in pairs]
        rest = {"error": answer.error} if answer.error else {"predictions": told}
        content.append({"file": printable(answer.file)} | rest)
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def as_line(answer: PictureAnswer, classes: tuple[str, ...], top: int | None) -> str:
    """One picture for people."""
    pairs = best(answer, classes, top)
    told = ", ".join(f"{name} {100 * chance:.1f} %" for name, chance in pairs)
    return f"{printable(answer.file)}: {told or answer.error}"


def printable(file: str) -> str:
    """A file's name, also where its bytes are no text."""
    return file.encode("utf-8", "backslashreplace").decode()
