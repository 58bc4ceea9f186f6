"""A table of pictures, labels.csv: its rows, or one line that says what is wrong and where."""

import csv
import os
import posixpath
from collections.abc import Iterator
from pathlib import Path

from vit.data.reading_progress import ReadingProgress

SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test",)}
SPLIT_OF = {name: split for split, names in SPLITS.items() for name in names}
READ = ("file", "label", "labels", "split", "group")  # columns; others are passed over
BETWEEN = ";"  # several labels of an image


def rows_of(root: Path, table: Path) -> list[dict[str, str]]:
    """The rows of a table, one a picture: cells by column, without blanks around.

    Args:
        root: what the column file is below.
        table: a CSV file with columns file and label or labels, and optionally split and group.

    Raises:
        ValueError: a column is missing or doubled, or a row cannot be.
        FileNotFoundError: the table or a picture is not there.
    """
    if not table.is_file():
        raise FileNotFoundError(
            f"data.labels: {table} is no file; give a CSV file with columns file and label, or "
            "remove what is called so"
        )
    rows: list[dict[str, str]] = []
    lines: dict[str, int] = {}
    names: list[str] = []
    for line, cells in ReadingProgress(f"reading {table}").over(csv_rows(table)):
        if not names:
            names, columns = cells, columns_of(table, cells)
            continue
        try:
            rows.append(row_of(cells, columns, len(names)))
            check_row(root, rows[-1], lines, line)
        except (ValueError, FileNotFoundError) as error:
            raise type(error)(f"{table}, line {line}: {error}") from None
    if not rows:
        raise ValueError(
            f"{table}: no row below the header; write one a picture"
            if names
            else f"{table}: needs columns file and label (or labels), holds nothing"
        )
    return rows


def csv_rows(table: Path) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row that is not empty, and the line where it begins."""
    line = 1
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            for cells in reader:
                begun, line = line, reader.line_num + 1
                if cells:
                    yield begun, cells
    except UnicodeDecodeError as error:
        raise ValueError(f"{table}: is not UTF-8; save it as CSV UTF-8 ({error.reason})") from error
    except csv.Error as error:
        raise ValueError(
            f"{table}, line {line}: {error}; close each quote that is opened from here on"
        ) from error
    except OSError as error:
        raise ValueError(f"{table}: cannot be read ({error.strerror}); copy it anew") from error


def columns_of(table: Path, cells: list[str]) -> dict[str, int]:
    """The place of each column that is read."""
    names = [cell.strip() for cell in cells]
    shown = [name[:40] for name in names[:10]]
    held = ", ".join(name if name.isprintable() else ascii(name) for name in shown)
    columns = {name: names.index(name) for name in READ if name in names}
    if "file" not in columns:
        raise ValueError(f"{table}: needs columns file and label (or labels), holds {held}")
    if not {"label", "labels"} & set(columns) and set(names) - set(columns) - {""}:
        raise ValueError(f"{table}: no column label or labels; holds {held}")
    if {"label", "labels"} <= set(columns):
        raise ValueError(f"{table}: holds columns label and labels; keep one")
    for name in columns:
        if names.count(name) > 1:
            raise ValueError(f"{table}: {names.count(name)} columns are called {name}; keep one")
    return columns


def row_of(cells: list[str], columns: dict[str, int], count: int) -> dict[str, str]:
    """A row's cells by column; those that it lacks are empty."""
    if any(cell.strip() for cell in cells[count:]):
        raise ValueError(
            f"{len(cells)} cells below {count} columns; put quotes around what holds a comma"
        )
    row = {name: cells[at].strip() if at < len(cells) else "" for name, at in columns.items()}
    for name, value in row.items():
        if any(letter in value for letter in "\0\r\n"):
            raise ValueError(
                f"the column {name} holds a line break or a NUL byte ({value[:40]!a}); close the "
                "quote that was opened, or save the table anew"
            )
    return row


def check_row(root: Path, row: dict[str, str], lines: dict[str, int], number: int) -> None:
    """Refuse a wrong row, and bring its file name into one form; `lines`: where others stand."""
    if not row["file"]:
        raise ValueError("the column file is empty; name a picture, or remove the line")
    if "\\" in row["file"]:
        raise ValueError(f"{row['file']}: write / between folders")
    row["file"] = posixpath.normpath(row["file"])
    if row["file"].split("/")[0] in ("", ".."):
        raise ValueError(f"{row['file']} lies outside {root}; name files below it")
    first = lines.setdefault(row["file"], number)
    if first != number:
        raise ValueError(f"{row['file']} stands in line {first} too; each file once")
    if not os.path.isfile(f"{root}/{row['file']}"):  # noqa: PTH113 (half the time)
        raise FileNotFoundError(
            f"{root / row['file']} is not there; put it there, or remove the line"
        )
    if row.get("split") and row["split"].lower() not in SPLIT_OF:
        raise ValueError(f"split {row['split']!r}; known: {', '.join(SPLIT_OF)}")


def labels_in(row: dict[str, str]) -> list[str]:
    """The label of one picture, or its labels between semicolons, each once."""
    if "labels" not in row:
        return [row["label"]] if row.get("label") else []
    return sorted({name.strip() for name in row["labels"].split(BETWEEN)} - {""})
