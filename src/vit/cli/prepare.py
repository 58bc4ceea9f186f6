"""The verb prepare: get data, check it, look at it, bring it into another form."""

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from jsonargparse import ArgumentParser
from lightning.pytorch import LightningDataModule
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import vit.data  # noqa: F401  short class names in YAML need the classes imported
from vit.cli.errors import UsageError, condense, nearest_file
from vit.data.base import Images
from vit.prepare.check import SPLITS, check
from vit.prepare.contact_sheet import sheet
from vit.prepare.shards import Form, write
from vit.prepare.vtab import prepare as prepare_task
from vit.published.sources import SOURCES
from vit.published.tasks import TASKS, task_called

FLAGS = ("--check", "--show")


def prepare(own: dict[str, str], rest: list[str]) -> int:
    """One of: get a data set, --check it, --show it, --vtab make VTAB's folders."""
    flags = [flag for flag in FLAGS if flag in rest]
    rest = [word for word in rest if word not in FLAGS]
    check_options(own, flags)
    if "--vtab" in own:
        return vtab(own, rest)
    data = data_of(rest)
    data.prepare_data()
    if flags == ["--check"]:
        with bar("reading") as (progress, task):
            found = check(data, lambda n, of: progress.update(task, completed=n, total=of))
        print("\n".join(found.lines()))
        return 0 if found.clean else 1
    if own.get("--to"):
        return shards(own, data)
    if flags == ["--show"]:
        name = Path(word_after(rest, "--data")).stem
        print(
            f"picture: {sheet(data, Path(own.get('--logs', 'logs')) / 'prepare' / f'{name}.png')}"
        )
        return 0
    for split in SPLITS:
        print(f"{split}: {len(data.open(split)):,} images")
    return 0


def check_options(own: dict[str, str], flags: list[str]) -> None:
    """Refuse options that contradict each other, or that belong elsewhere."""
    if len(flags) + ("--vtab" in own) + ("--to" in own) > 1:
        raise UsageError("prepare: one thing at a time: --check, --show, --vtab or --to")
    lonely = {"--form", "--short_side", "--per_shard"} & set(own)
    if "--to" not in own and (lonely or ("--out" in own and "--vtab" not in own)):
        raise UsageError("prepare: --out and how shards are written belong to --to shards")
    if "--trust" in own:
        raise UsageError("prepare: --trust is for stored settings; what is typed needs none")


def vtab(own: dict[str, str], rest: list[str]) -> int:
    """Write the folders of one task, several, or all 19."""
    if rest:
        raise UsageError(f"prepare --vtab: unknown {rest[0]}; it takes --raw and --out")
    wanted = list(TASKS) if own["--vtab"] == "all" else own["--vtab"].split(",")
    raw, out = Path(own.get("--raw", "data")), Path(own.get("--out", "data/vtab-1k"))
    missing = []
    for name in map(task_called, wanted):
        with bar(name) as (progress, task):

            def tell(part: str, done: int, of: int, bar: Any = progress, task: Any = task,
                     name: str = name) -> None:  # fmt: skip
                bar.update(task, description=f"{name}, {part}", completed=done, total=of)

            try:
                folder = prepare_task(name, SOURCES[name](raw), out, tell)
            except FileNotFoundError as error:
                missing.append(f"{name}: {error}")
                continue
        print(f"{name}: {folder}")
    for line in missing:
        print(f"missing: {line}", file=sys.stderr)
    return 1 if missing else 0


def shards(own: dict[str, str], data: Images) -> int:
    """Write tar shards."""
    usual = {"--form": "jpeg", "--short_side": "288", "--per_shard": "1000"}
    form, side, per = ((usual | own)[key] for key in usual)
    if own["--to"] != "shards" or form not in get_args(Form):
        raise UsageError(f"prepare: --to shards --form {' | '.join(get_args(Form))}")
    if "--out" not in own or not (side.isdigit() and per.isdigit() and int(side) and int(per)):
        raise UsageError(
            "prepare --to shards: --out DIR; --short_side and --per_shard count from 1"
        )
    with bar("shards") as (progress, task):

        def tell(split: str, done: int, of: int) -> None:
            progress.update(task, description=split, completed=done, total=of)

        folder = write(data, Path(own["--out"]), form, int(side), int(per), tell)
    print(f"shards: {folder}")
    return 0


def data_of(words: list[str]) -> Images:
    """The data set that --data and its keys name."""
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_subclass_arguments(LightningDataModule, "data", required=True)
    file = word_after(words, "--data")
    if file.endswith(".yaml") and not Path(file).is_file():
        raise UsageError(f"--data: {file}: no such file{nearest_file(file)}")
    try:
        return parser.instantiate(parser.parse_args(words)).data
    except Exception as error:  # whatever jsonargparse meets, said in one line
        raise UsageError(condense(str(error))) from error


def word_after(words: list[str], key: str) -> str:
    """What an option says."""
    for word, value in pairwise([*words, ""]):
        if word == key and value:
            return value
        if word.startswith(f"{key}="):
            return word.partition("=")[2]
    raise UsageError("prepare: say which data: --data configs/data/<file>.yaml")


class bar:
    """A progress bar and its only task."""

    def __init__(self, words: str) -> None:
        self.words = words
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeRemainingColumn(), console=Console(stderr=True), transient=True,
            disable=not sys.stderr.isatty(),
        )  # fmt: skip

    def __enter__(self) -> tuple[Progress, Any]:
        return self.progress.__enter__(), self.progress.add_task(self.words, total=None)

    def __exit__(self, *why: Any) -> None:
        self.progress.__exit__(*why)
