"""Files of a test take the place of the published ones."""

from pathlib import Path

from vit.published.download import md5_of
from vit.published.raw import Raw


def pin(monkeypatch, kind: type[Raw], *files: Path) -> None:
    """Let a data set expect these very files."""
    archives = tuple((f"https://nowhere/{file.name}", md5_of(file)) for file in files)
    monkeypatch.setattr(kind, "archives", archives)
