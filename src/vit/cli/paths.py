"""What a command line names on disk, looked at before Lightning is loaded, which takes seconds."""

import contextlib
import difflib
import re
from itertools import pairwise
from pathlib import Path

from vit.cli.cut_off import is_cut_off
from vit.cli.errors import UsageError, one_line
from vit.yaml_text import load_yaml

START = 512  # bytes of a file that tell what it seems to be
WEIGHTS = "a run folder, a checkpoint (.ckpt, .pth, .bin), .safetensors, .npz or .onnx"
NAME = re.compile(r"[a-z_]{2,}:[^/\\]\S*")  # timm:vit_small_patch16_224, fetched by its library
FIRST = ("evaluate", "export")  # verbs whose first word is a run or weights
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
    given = with_files(verb, options_in(argv))
    if verb in FIRST and argv and not argv[0].startswith("-"):
        given.append((verb, argv[0]))
    for key, value in given:
        if key in ("--model.pretrained", verb) or (key == "--from" and verb != "fit"):
            check_weights_path(key, value)
            check_weights_format(value)
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


def with_files(verb: str, given: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The same, and the weights that the last of the files names, unless a word names others."""
    files = [value for key, value in given if key == "--config" and Path(value).is_file()]
    if verb == "compare" or any(key == "--model.pretrained" for key, _ in given):
        return given
    named = None
    for file in files:
        with contextlib.suppress(ValueError, OSError):  # the parser says what is wrong with it
            content = load_yaml(Path(file).read_text(), file)
            model = content.get("model") if isinstance(content, dict) else None
            named = model.get("pretrained", named) if isinstance(model, dict) else named
    return [*given, ("--model.pretrained", named)] if isinstance(named, str) else given


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
        cut_off = not kind and path.suffix != ".ckpt" and is_cut_off(path)  # ours are named later
    except OSError as error:
        raise UsageError(f"{key}: {value}: {error.strerror}") from error
    if cut_off:
        raise UsageError(f"{key}: {value} is not whole (an interrupted download?); fetch it again")
    if kind:
        raise UsageError(f"{key}: {value} is {kind}; give {WEIGHTS}")


def check_weights_format(value: str) -> None:
    """Do its tensors' names and shapes make an encoder? Lightning is not loaded, nor any number.

    Raises:
        UsageError: the file is damaged or foreign; the line says what it holds. Or a name means
            nothing that is here or can be fetched.
    """
    if value == "null":
        return
    from vit.models.weights.checkpoint import checkpoint_in, encoder_in  # torch loads here
    from vit.models.weights.exported import is_exported
    from vit.models.weights.fetch import is_published_name, weights_by_name
    from vit.models.weights.graph_export import refuse_graph
    from vit.models.weights.opening import open_weights, weights_in
    from vit.models.weights.recognise import format_of

    try:
        path = weights_by_name(value) if is_published_name(value) else Path(value)
        if path.is_dir() and weights_in(path) is None:
            path = checkpoint_in(path)
        refuse_graph(path)
        try:
            file = open_weights(path)
        except ValueError:
            if path.suffix == ".ckpt":
                encoder_in(path)  # it says better what is wrong with one of ours
            raise
        ours = {"format", "encoder", "global_step"} <= file.about.keys()
        if not ours and not is_exported(file):
            format_of(file).convert(file)
    except (ValueError, OSError) as error:
        raise UsageError(one_line(error)) from error


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
