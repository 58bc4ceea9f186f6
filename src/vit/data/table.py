"""A table of pictures, labels.csv: its rows, or one line that says what is wrong and where."""

import csv
import os
from pathlib import Path

SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test",)}
WORDS = {word: split for split, known in SPLITS.items() for word in known}
BETWEEN = ";"  # several labels of an image


def rows_of(root: Path, table: Path) -> list[dict[str, str]]:
    """A row a picture, by column, without blanks around.

    Args:
        root: what the column file is below.
        table: a CSV file with columns file and label or labels, and where wanted split and group.

    Raises:
        ValueError: a column is missing or doubled, or a row cannot be.
        FileNotFoundError: a picture is not there.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except UnicodeDecodeError as error:
        raise ValueError(f"{table}: is not UTF-8; save it as CSV UTF-8 ({error.reason})") from error
    if not rows or "file" not in rows[0]:
        found = ", ".join(rows[0]) if rows else "nothing"
        raise ValueError(f"{table}: wants columns file and label (or labels), holds {found}")
    columns = {column for column in rows[0] if column}
    if not columns & {"label", "labels"} and columns - {"file", "split", "group"}:
        raise ValueError(f"{table}: no column label or labels; holds {', '.join(rows[0])}")
    if columns >= {"label", "labels"}:
        raise ValueError(f"{table}: holds columns label and labels; keep one")
    rows = [{k: (v or "").strip() for k, v in row.items() if k} for row in rows]
    lines: dict[str, int] = {}
    for number, row in enumerate(rows, 2):
        try:
            check(root, row, lines, number)
        except (ValueError, FileNotFoundError) as error:
            raise type(error)(f"{table}, line {number}: {error}") from None
    return rows


def check(root: Path, row: dict[str, str], lines: dict[str, int], number: int) -> None:
    """One row, whose file name is brought into one form; `lines`: where others stand."""
    if not row["file"]:
        raise ValueError("the column file is empty")
    if "\\" in row["file"]:
        raise ValueError(f"{row['file']}: write / between folders")
    row["file"] = Path(os.path.normpath(row["file"])).as_posix()
    first = lines.setdefault(row["file"], number)
    if first != number:
        raise ValueError(f"{row['file']} stands in line {first} too; each file once")
    if not (root / row["file"]).is_file():
        raise FileNotFoundError(f"{root / row['file']} is not there")
    if row.get("split") and row["split"].lower() not in WORDS:
        raise ValueError(f"split {row['split']!r}; known: {', '.join(WORDS)}")


def labels_in(row: dict[str, str]) -> list[str]:
    """Of one picture: its label, or its labels between semicolons, each once."""
    if "labels" not in row:
        return [row["label"]] if row.get("label") else []
    return sorted({name.strip() for name in row["labels"].split(BETWEEN)} - {""})
