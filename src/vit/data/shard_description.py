"""dataset.json beside shards: how they were written, and what is in them."""

import json
import math
from pathlib import Path
from typing import Any, Literal, get_args

Form = Literal["as_is", "jpeg", "raw"]
ABOUT = "dataset.json"
SPLITS = ("train", "val", "test")


def read_about(folder: Path) -> dict[str, Any]:
    """What dataset.json says.

    Raises:
        ValueError: it is damaged.
    """
    file = folder / ABOUT
    try:
        written = json.loads(file.read_text("utf-8"))
        if "own" in written:  # what the key was called before version 0.2
            written["apply_exif_and_alpha"] = written.pop("own")
        about = {"form": "as_is", "apply_exif_and_alpha": False} | written
        wrong = faults(about)
    except (ValueError, TypeError, RecursionError, OSError) as error:
        raise ValueError(f"data: {file} is damaged ({error}); get or write it again") from error
    if wrong:
        raise ValueError(
            f"data: {file} is damaged: {wrong[0]} is {ascii(about.get(wrong[0]))[:40]}; get or "
            "write it again"
        )
    return about


def faults(about: dict[str, Any]) -> list[str]:
    """Keys of dataset.json whose value is none that `write` would write."""
    form, classes = about["form"], about.get("classes", [])
    counts = about.get("counts")  # not before all is written
    mean, std = (about.get(key, [0.5]) for key in ("mean", "std"))
    good = {
        "form": form in get_args(Form),
        "apply_exif_and_alpha": isinstance(about["apply_exif_and_alpha"], bool),
        "short_side": form == "as_is" or is_count(about.get("short_side")),
        "quality": form != "jpeg" or is_count(about.get("quality")),
        "classes": isinstance(classes, list) and all(isinstance(name, str) for name in classes),
        "mean": are_numbers(mean),
        "std": are_numbers(std) and 0 not in std,
        "counts": counts is None
        or (isinstance(counts, dict) and all(is_count(counts.get(s)) for s in SPLITS)),
    }
    return [key for key, sound in good.items() if not sound]


def is_count(value: Any) -> bool:
    """A whole number from 0."""
    return type(value) is int and value >= 0


def are_numbers(values: Any) -> bool:
    """One or three, finite and at least 0."""
    numbers = isinstance(values, list) and all(type(x) in (int, float) for x in values)
    return numbers and len(values) in (1, 3) and all(0 <= x < math.inf for x in values)
