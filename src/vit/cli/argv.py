"""A command line: our options apart from the parser's arguments, and what they mean."""

import difflib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from vit.cli.errors import UsageError

OPTIONS = ("--name", "--logs", "--resume", "--from", "--trust")  # of every verb
VERB_OPTIONS = {
    "evaluate": ("--protocols", "--split", "--controls", "--cache"),
    "export": ("--to", "--out", "--int8_margin", "--calibration"),
    "compare": ("--jobs", "--emit", "--report"),
    "prepare": ("--vtab", "--raw", "--out", "--to", "--form", "--short_side", "--per_shard"),
}
VERB_FLAGS = {  # they take no value
    "fit": ("--find",),
    "export": ("--int8",),
    "compare": ("--dry-run", "--list", "--rerun-stale", "--finetune", "--weights"),
}
RESUME_MAY = ("data.workers", "trainer.enable_progress_bar", "trainer.enable_model_summary")
FROM_MAY = ("data", "trainer", "seed_everything")
LONGEST = 200  # bytes of a name: file systems take 255, and some of ours grow an ending


def config_of(settings: dict[str, Any], weights: Path, argv: list[str]) -> str:
    """A recorded config whose encoder is built from a checkpoint of the run itself.

    The checkpoint knows its architecture and the normalisation its weights expect, also when the
    file they once came from is gone. Where the command line names other data, nothing of the
    recorded data is left: a split or a choice of classes of the training would else move what is
    evaluated.
    """
    kept = dict(settings)
    if names_data(argv):
        kept.pop("data", None)
    kept["model"] = kept["model"] | {"encoder": None, "pretrained": str(weights)}
    return yaml.safe_dump(kept)


def names_data(argv: list[str]) -> bool:
    """Does a command line choose its data?"""
    return any(word.partition("=")[0] == "--data" for word in argv)


def split_options(argv: list[str], known: tuple[str, ...]) -> tuple[dict[str, str], list[str]]:
    """Our options, and the rest for the parser."""
    options, rest, left = {}, [], iter(argv)
    for word in left:
        key, equals, value = word.partition("=")
        if key not in known:
            rest.append(word)
            continue
        value = value if equals else next(left, "")
        if not value or value.startswith("--"):
            raise UsageError(f"{key} needs a value")
        options[key] = value
    return options, rest


def nearest_option(word: str, verb: str, more: Iterable[str] = ()) -> str:
    """The option of ours that a word nearly is, as a question to stand behind an error.

    Args:
        word: as typed, `--weigths` or `--weigths=x`.
        verb: whose options there are.
        more: keys that it takes beside them.
    """
    known = [*OPTIONS, *VERB_OPTIONS.get(verb, ()), *VERB_FLAGS.get(verb, ()), *more]
    near = difflib.get_close_matches(word.partition("=")[0], known, 1, cutoff=0.75)
    return f"; did you mean {near[0]}?" if near else ""


def only(rest: list[str], allowed: tuple[str, ...], where: str) -> list[str]:
    """The same arguments, once each key among them is one that may be given.

    Raises:
        UsageError: a key would change what was recorded.
    """
    for word in rest:
        key = word.split("=")[0].removeprefix("--")
        is_key = word.startswith("--") or key == "-c"
        if is_key and not any(key == name or key.startswith(name + ".") for name in allowed):
            if near := nearest_option(word, where):
                raise UsageError(f"{where}: unknown {word.partition('=')[0]}{near}")
            longer = (
                " (a longer run is a new one: --model.pretrained)" if where == "--resume" else ""
            )
            raise UsageError(
                f"{where}: {word.split('=')[0]} would change the result; only "
                f"{', '.join('--' + name for name in allowed)} may be given{longer}"
            )
    return rest


def parent_folder(options: dict[str, str], rest: list[str]) -> Path:
    """<logs>/<name>; the name defaults to the stem of the first --config."""
    stem = "run"
    for at, word in enumerate(rest):
        key, equals, value = word.partition("=")
        if key in ("--config", "-c"):
            file = Path(value if equals else [*rest, ""][at + 1])
            # a run's own config.yaml: the new run stands beside it
            above = file.resolve().parent.parent if file.name == "config.yaml" else None
            stem = (above.name if above else file.stem) or stem
            break
    name = folder_name(options.get("--name", stem), "--name")
    return usable(Path(options.get("--logs", "logs")) / name)


def folder_name(name: str, where: str, room: int = 0) -> str:
    """A name that a folder of runs can have, and that leads nowhere else.

    Args:
        name: to look at.
        where: it was given, for the message.
        room: bytes that are added to it.

    Raises:
        UsageError: no folder can have it.
    """
    if (
        not name.isprintable()
        or name.startswith("-")  # an option, to every other program
        or name in ("", "..")
        or Path(name).name != name
        or len(os.fsencode(name)) + room > LONGEST
    ):
        raise UsageError(
            f"{where}: {name!r} is no name for a folder; give one that can be printed, of at most "
            f"{LONGEST - room} bytes, without {os.sep} and without a dash in front"
        )
    return name


def usable(folder: Path) -> Path:
    """A folder that is there or can be made: nothing on the way to it is something else.

    Raises:
        UsageError: something is in the way.
    """
    if "\0" in str(folder):
        raise UsageError(f"--logs: {str(folder)!r} is no name for a folder; give another")
    try:
        for path in (*reversed(folder.parents), folder):
            if path.is_symlink() and not path.exists():
                raise UsageError(
                    f"--logs: {path} is a link to nothing ({path.readlink()}); make that folder, "
                    "or give another"
                )
            if path.exists() and not path.is_dir():
                raise UsageError(f"--logs: {path} is a file; give a folder")
    except OSError as error:
        raise UsageError(f"--logs: {str(folder)[:80]!r}: {error.strerror}; give another") from error
    return folder


def checkpoint_and_folder(
    subject: str, options: dict[str, str], verb: str
) -> tuple[Path, Path | None]:
    """The checkpoint that a verb reads, and the run folder that keeps the figures, if any.

    Raises:
        UsageError: a run folder, and another name or place for its figures.
    """
    from vit.models.weights import checkpoint_in  # slow to load: torch

    file = checkpoint_in(Path(subject))
    inside = file.parent.parent if (file.parent.parent / "config.yaml").is_file() else None
    folder = None if Path(subject).is_file() else inside
    if folder and {"--name", "--logs"} & set(options):
        raise UsageError(f"{verb}: a run keeps its figures; --name and --logs are for a file")
    return file, folder


def folder_to_resume(text: str) -> Path:
    """A folder that a fit made.

    Raises:
        UsageError: it is none.
    """
    folder = Path(text)
    if not (folder / "config.yaml").is_file():
        raise UsageError(
            f"--resume: {folder} is not a run folder (it has no config.yaml: nothing was begun)"
        )
    return folder


def typed_command() -> str:
    """The command line as typed."""
    return "python " + " ".join(sys.argv)
