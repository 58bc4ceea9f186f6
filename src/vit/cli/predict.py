"""The verb predict on loose pictures: a model and files in, a table of classes out.

Classes, size and transform come with the model. No data set is asked for, no split is looked at,
and Lightning, which takes longer than an answer, is not loaded. Without --images the verb is the
one of verbs.py: the test split of the run's own data.
"""

import difflib
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from vit.cli.answers import FORMATS, PictureAnswer, ReadPicture, as_csv, as_json, as_line
from vit.cli.argv import split_options
from vit.cli.bar import progress_bar
from vit.cli.errors import UsageError, one_line
from vit.cli.paths import check_weights_path

IMAGES = "--images"
OPTIONS = ("--from", "--top", "--to", "--out", "--trust")
TOP = 5
BATCH = 32  # pictures that are read, and told, at a time
SHOWN = 10  # answers that are printed, where there are no more
PICTURES = frozenset(  # what a folder is searched for; files that are named are tried anyway
    ".jpg .jpeg .jpe .jfif .png .gif .bmp .webp .tif .tiff .ppm .pgm .jp2 .avif .heic .heif".split()
)


def asks_for_images(argv: list[str]) -> bool:
    """Is a command line of `predict` about loose pictures?"""
    keys = {word.partition("=")[0] for word in argv}
    meant = any(difflib.get_close_matches(key, [IMAGES], cutoff=0.8) for key in keys)
    return meant or bool(keys & {"--top", "--to", "--out"})


def predict_images(argv: list[str]) -> int:
    """Tell the classes of pictures; 0 done, 1 none could be read, 2 wrong usage."""
    debug = "--debug" in argv
    try:
        return told(*options_of([word for word in argv if word != "--debug"]))
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception as error:  # the end of the road: one line for people, a traceback on demand
        if debug:
            traceback.print_exc()
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2 if isinstance(error, (ValueError, OSError)) else 1


def options_of(argv: list[str]) -> tuple[dict[str, str], list[str]]:
    """The options, and what --images names.

    Raises:
        UsageError: one is missing, unknown, or says nothing.
    """
    images, rest = split_images(argv)
    options, left = split_options(rest, OPTIONS)
    if left:
        word = left[0].partition("=")[0]
        near = difflib.get_close_matches(word, [IMAGES, *OPTIONS], 1, cutoff=0.75)
        if near:
            raise UsageError(f"predict: unknown {word}; did you mean {near[0]}?")
        raise UsageError(
            f"predict {IMAGES}: {word} is not needed: the model knows its "
            f"classes, size and transform; known: {IMAGES}, {', '.join(OPTIONS)}"
        )
    if not images:
        raise UsageError(f"predict: {IMAGES} needs files or a folder")
    if "--from" not in options:
        raise UsageError("predict: --from needs a run, a checkpoint, released weights or an export")
    form = options.setdefault("--to", form_of(options.get("--out", "")))
    if form not in FORMATS:
        raise UsageError(f"--to: {form!r} is not written; known: {', '.join(FORMATS)}")
    top = options.setdefault("--top", str(TOP))
    if not top.isdecimal() or not int(top):
        raise UsageError(f"--top counts classes from 1, got {top}")
    return options, images


def split_images(argv: list[str]) -> tuple[list[str], list[str]]:
    """Everything between --images and the next option, and the rest."""
    images, rest, inside = [], [], False
    for word in argv:
        key, equals, value = word.partition("=")
        if key == IMAGES:
            inside = True
            images += [value] if equals else []
            continue
        inside = inside and not word.startswith("--")
        (images if inside else rest).append(word)
    return images, rest


def form_of(out: str) -> str:
    """The format that a file's name says."""
    return "json" if out.endswith(".json") else "csv"


def told(options: dict[str, str], images: list[str]) -> int:
    """Read the pictures, tell their classes, write the table."""
    check_weights_path("--from", options["--from"])
    files = named_pictures(images)
    out = place_of(options)
    if out.resolve() in map(Path.resolve, map(Path, files)):
        raise UsageError(f"--out: {out} is one of the pictures; name another file")
    from vit.loading import load  # torch loads here, after whatever can be said without it

    model = load(options["--from"], options.get("--trust"))
    if not model.tells_classes:
        raise UsageError(
            f"predict: {options['--from']} tells no classes; fine-tune it first: python train.py "
            f"fit --config configs/finetune/default.yaml --model.pretrained {options['--from']}"
        )
    for note in model.notes:
        print(f"note: {note}", file=sys.stderr)
    with progress_bar("pictures") as show:
        answers = list(
            predictions_of(model, files, lambda done: show("pictures", done, len(files)))
        )
    top = None if model.several else min(int(options["--top"]), len(model.classes))
    text = (as_json if options["--to"] == "json" else as_csv)(answers, model.classes, top)
    write(out, text)
    lost = [answer for answer in answers if answer.error]
    if len(answers) <= SHOWN:
        print("\n".join(as_line(answer, model.classes, top) for answer in answers))
    for answer in lost if len(answers) > SHOWN else ():
        print(f"unreadable: {answer.file}: {answer.error}", file=sys.stderr)
    unread = f", {len(lost):,} of them unreadable" if lost else ""
    count = f"{len(answers):,} picture" + "s" * (len(answers) != 1)
    print(f"{count}{unread}; predictions: {out}")
    return 1 if len(lost) == len(answers) else 0


def named_pictures(images: list[str]) -> list[str]:
    """Files as they are named, and the pictures below folders, sorted.

    Raises:
        UsageError: something is not there, or a folder holds no picture.
    """
    files = []
    for name in images:
        if Path(name).is_dir():
            below = sorted(walk_pictures(name))
            if not below:
                raise UsageError(f"{IMAGES}: no picture below {name}")
            files += below
        elif Path(name).is_file():
            files.append(name)
        else:
            raise UsageError(f"{IMAGES}: {name}: no such file or folder")
    return list(dict.fromkeys(files))


def walk_pictures(folder: str) -> Iterator[str]:
    """What looks like a picture in a folder and those below it, but for hidden ones."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in PICTURES:
                yield str(Path(place) / name)


def place_of(options: dict[str, str]) -> Path:
    """Where the table goes.

    Raises:
        UsageError: there is no such folder.
    """
    if "--out" in options:
        out = Path(options["--out"])
        if out.is_dir() or not out.parent.is_dir():
            raise UsageError(f"--out: {out} needs to be a file in a folder that is there")
        return out
    source = Path(options["--from"])
    run = source if (source / "config.yaml").is_file() else Path()
    # predictions.csv of a run is that of its test split
    name = "predictions.images" if run != Path() else "predictions"
    return run / f"{name}.{options['--to']}"


def predictions_of(
    model: Any, files: list[str], tell: Callable[[int], None]
) -> Iterator[PictureAnswer]:
    """What a model says of each file, in their order."""
    with warnings.catch_warnings(), ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        warnings.simplefilter("ignore")  # of odd files; filters belong to all threads together
        for start in range(0, len(files), BATCH):
            some = files[start : start + BATCH]
            read: list[ReadPicture] = list(pool.map(partial(read_picture, model), some))
            good = [item.pixels for item in read if not item.error]
            chances = iter(model.predict(good).tolist() if good else [])
            for file, item in zip(some, read, strict=True):
                yield PictureAnswer(file, () if item.error else tuple(next(chances)), item.error)
            tell(start + len(some))


def read_picture(model: Any, file: str) -> ReadPicture:
    """A picture as the model sees it, or why it cannot be read."""
    from PIL import Image

    try:
        return ReadPicture(model.preprocess(file), "")
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        return ReadPicture(None, one_line(error).removeprefix(f"{file} "))


def write(path: Path, text: str) -> None:
    """The table, whole or not at all."""
    from vit.whole_files import write_text

    write_text(path, text)
