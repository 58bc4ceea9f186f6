"""What a command line names on disk, looked at before anything that takes seconds is loaded."""

import difflib
import re
from itertools import pairwise
from pathlib import Path

from vit.cli.errors import UsageError

START = 512  # bytes of a file that tell what it seems to be
WEIGHTS = "a run folder, a checkpoint (.ckpt, .pth, .bin), .safetensors, .npz or .onnx"
NAME = re.compile(r"[a-z_]{2,}:[^/\\]\S*")  # timm:vit_small_patch16_224, fetched by its library
KINDS = (  # how files begin that hold no weights we could read, and what they are
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG", "a PNG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"\x89HDF\r\n", "an HDF5 file (Keras?)"),
    (b"GGUF", "a GGUF file of a language model"),
    (b"\x1f\x8b", "a gzip archive; unpack it"),
    (b"BZh", "a bzip2 archive; unpack it"),
    (b"\xfd7zXZ", "an xz archive; unpack it"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself; run git lfs pull"),
    (b"<!DOCTYPE", "a web page; download the file itself"),
    (b"<html", "a web page; download the file itself"),
    (b"\x93NUMPY", "one NumPy array"),
)


def check_paths(verb: str, argv: list[str]) -> None:
    """Look at every path to weights and runs that a command line gives.

    Raises:
        UsageError: it is not there, or is something else.
    """
    for key, value in options_in(argv):
        if key == "--model.pretrained" or (key == "--from" and verb != "fit"):
            check_weights_path(key, value)
        elif key == "--resume" and not Path(value).is_dir():
            raise UsageError(f"--resume: {value} is not a run folder{nearest(Path(value))}")


def options_in(argv: list[str]) -> list[tuple[str, str]]:
    """Options and their values, in either spelling."""
    given = []
    for word, after in pairwise([*argv, ""]):
        key, equals, value = word.partition("=")
        value = value if equals else after
        if key.startswith("--") and value and not value.startswith("--"):
            given.append((key, value))
    return given


def check_weights_path(key: str, value: str) -> None:
    """Is there something, and does it begin like weights? Folders are looked into later.

    Raises:
        UsageError: there is nothing, or it is something else; the line says what.
    """
    path = Path(value)
    if value == "null" or NAME.fullmatch(value) or path.is_dir():
        return
    if not path.is_file():
        near = nearest(path)
        raise UsageError(f"{key}: no such file or run folder: {value}{near}; give {WEIGHTS}")
    try:
        with path.open("rb") as file:
            kind = seems_to_be(file.read(START))
    except OSError as error:
        raise UsageError(f"{key}: {value}: {error.strerror}") from error
    if kind:
        raise UsageError(f"{key}: {value} is {kind}; give {WEIGHTS}")


def seems_to_be(start: bytes) -> str:
    """What a file is that holds no weights, by how it begins; empty where it may hold some."""
    if not start:
        return "empty"
    for begin, kind in KINDS:
        if start.startswith(begin):
            return kind
    if start[257:262] == b"ustar":
        return "a tar archive; unpack it"
    try:
        text = start.decode()
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:  # a letter that is cut off at the end is still text
            return ""
        text = start[: error.start].decode()
    plain = all(letter.isprintable() or letter in "\r\n\t\f" for letter in text)
    return "a text file" if plain else ""


def nearest(path: Path) -> str:
    """Something beside it whose name is close."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, 1)
    return f"; did you mean {path.parent / close[0]}?" if close else ""
