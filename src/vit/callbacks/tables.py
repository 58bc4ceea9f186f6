"""Tables that others read later: written whole, or grown by whole rows."""

import csv
import hashlib
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vit.whole_files import replacing

Rows = Iterable[list[Any]]


def write_rows(path: Path, header: list[str], rows: Rows) -> str:
    """Write a new table in place of an old one; its sha256, by which it is recognised."""
    content = csv_bytes([header, *rows])
    with replacing(path) as file:
        file.write(content)
    return hashlib.sha256(content).hexdigest()


def append_rows(path: Path, header: list[str], rows: Rows) -> None:
    """Append rows; a last one that a kill or a full disk has torn is cut off before."""
    with path.open("ab+") as file:
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
        file.write(csv_bytes(rows if whole else [header, *rows]))


def csv_bytes(rows: Rows) -> bytes:
    """Rows as the csv module writes them."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
