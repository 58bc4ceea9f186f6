"""What a task is tested on, looked at when a study is planned: the same images for every arm.

Files are read once for each place and choice of them, however many arms and draws use them.
"""

from collections.abc import Callable
from typing import Any

from vit.data.base import Images
from vit.data.file_images import FileImages

KNOWN: dict[tuple, Any] = {}  # by what is asked, data, its place, and choice of files


def unread_images(data: Images) -> tuple[int, ...]:
    """The numbers of test images that cannot be read, where data.on_error is skip.

    The split is decoded once, by the data's own workers, and each file that is left out is named.
    Where on_error is raise nothing is looked at: the run that meets the file names it.

    Raises:
        ValueError: there are more than data.most_unread allows.
    """
    skips = isinstance(data, FileImages) and data.on_error == "skip"
    return _once(_unread, data) if skips else ()


def tested_images(data: Images) -> dict[str, Any]:
    """What a job of a task holds of its images, by the job's own names."""
    hashes = {split: data.split_hash(split) for split in ("train", "test")}
    unread = unread_images(data)
    return {
        "tested": data.spec.counts["test"] - len(unread),
        "unread": unread,
        "splits": hashes | {"content": _once(_content, data)},
    }


def _once(look: Callable[[Images], Any], data: Images) -> Any:
    """What a look at the test split says; files are looked at once."""
    if not isinstance(data, FileImages):
        return look(data)
    root = str(getattr(data, "root", ""))
    key = (look.__name__, type(data), root, data.spec.classes, data.split_hash("test"))
    if key not in KNOWN:
        KNOWN[key] = look(data)
    return KNOWN[key]


def _content(data: Images) -> str | None:
    return data.content("test")


def _unread(data: FileImages) -> tuple[int, ...]:
    read: set[int] = set()
    for batch in data.evaluation_loader("test"):
        data.note(batch.unread)
        read |= set(batch.index.tolist())
    return tuple(sorted(set(range(data.spec.counts["test"])) - read))
