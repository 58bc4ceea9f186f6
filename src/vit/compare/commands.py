"""Parts of commands: settings as the words that a person would type."""

import hashlib
import json
from pathlib import Path
from typing import Any

from vit.compare.study import Part
from vit.models.weights import checkpoint_in


def data_words(part: Part) -> tuple[str, ...]:
    """The words that choose data."""
    return ("--data", part.config, *keys(part.set, "data."))


def keys(settings: dict[str, Any], above: str = "") -> tuple[str, ...]:
    """Settings as words of a command."""
    words = []
    for key, value in settings.items():
        text = value if isinstance(value, str) else json.dumps(value)
        words += [f"--{above}{key}", text]
    return tuple(words)


def without(words: tuple[str, ...], key: str) -> tuple[tuple[str, ...], int | None]:
    """A command without one numeric key, and what the key said last; None where it is not there."""
    value = None
    while key in words:
        at = words.index(key)
        text, words = words[at + 1], (*words[:at], *words[at + 2 :])
        if not text.isdecimal():
            raise ValueError(f"{key} needs a whole number, got {text!r}")
        value = int(text)
    return words, value


def file_hash(path: str) -> str:
    """Of an imported checkpoint's bytes."""
    with checkpoint_in(Path(path)).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
