"""The verb prepare: read the command line, hand it to prepare/, print what came of it."""

import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import get_args

from jsonargparse import ArgumentParser
from lightning.pytorch import LightningDataModule

from vit.cli.bar import progress_bar
from vit.cli.errors import UsageError, condense
from vit.cli.suggestions import nearest_file
from vit.data import import_data_sets
from vit.data.base import Images
from vit.prepare.check import check_data
from vit.prepare.contact_sheet import write_contact_sheet
from vit.prepare.overview import overview_of
from vit.prepare.shards import Form, write_shards
from vit.prepare.vtab import write_task
from vit.published.sources import SOURCES
from vit.published.tasks import TASKS, task_called

import_data_sets()  # short class names in YAML are those of classes that are loaded

FLAGS = ("--check", "--show")
SHARD_OPTIONS = {"--form": "jpeg", "--short_side": "288", "--per_shard": "1000"}


def run_prepare(options: dict[str, str], rest: list[str]) -> int:
    """One of: get a data set, --check it, --show it, --to shards, --vtab make VTAB's folders."""
    flags = [flag for flag in FLAGS if flag in rest]
    rest = [word for word in rest if word not in FLAGS]
    check_options(options, flags)
    if "--vtab" in options:
        return write_vtab(options, rest)
    data = data_of(rest)
    data.prepare_data()
    if flags == ["--check"]:
        with progress_bar("reading") as show:
            report = check_data(data, lambda done, of: show("reading", done, of))
        print("\n".join(report.lines()))
        return 0 if report.clean else 1
    if "--to" in options:
        return write_tars(options, data)
    if flags == ["--show"]:
        name = Path(value_of(rest, "--data")).stem
        path = Path(options.get("--logs", "logs")) / "prepare" / f"{name}.png"
        for name, why in write_contact_sheet(data, path):
            print(f"unreadable: {name}: {why}")
        print(f"picture: {path}")
        return 0
    for line in overview_of(data, rest):
        print(line)
    return 0


def check_options(options: dict[str, str], flags: list[str]) -> None:
    """Refuse options that contradict each other, or that belong elsewhere."""
    if len(flags) + ("--vtab" in options) + ("--to" in options) > 1:
        raise UsageError("prepare: one thing at a time: --check, --show, --vtab or --to")
    lonely = SHARD_OPTIONS.keys() & options.keys()
    if "--to" not in options and (lonely or ("--out" in options and "--vtab" not in options)):
        raise UsageError("prepare: --out and how shards are written belong to --to shards")
    if "--trust" in options:
        raise UsageError("prepare: --trust is for stored settings; what is typed needs none")


def write_vtab(options: dict[str, str], rest: list[str]) -> int:
    """Write the folders of one task, several, or all 19."""
    if rest:
        raise UsageError(f"prepare --vtab: unknown {rest[0]}; it takes --raw and --out")
    tasks = list(TASKS) if options["--vtab"] == "all" else options["--vtab"].split(",")
    raw = Path(options.get("--raw", "data"))
    out = Path(options.get("--out", "data/vtab-1k"))
    missing = []
    for name in map(task_called, tasks):
        with progress_bar(name) as show:
            try:
                folder = write_task(name, SOURCES[name](raw), out, prefixed(show, name))
            except FileNotFoundError as error:
                missing.append(f"{name}: {error}")
                continue
        print(f"{name}: {folder}")
    for line in missing:
        print(f"missing: {line}", file=sys.stderr)
    return 1 if missing else 0


def write_tars(options: dict[str, str], data: Images) -> int:
    """Write tar shards."""
    form, side, per_shard = (options.get(key, usual) for key, usual in SHARD_OPTIONS.items())
    if options["--to"] != "shards" or form not in get_args(Form):
        raise UsageError(f"prepare: --to shards --form {' | '.join(get_args(Form))}")
    counts = side.isdigit() and per_shard.isdigit() and int(side) and int(per_shard)
    if "--out" not in options or not counts:
        raise UsageError(
            "prepare --to shards: --out DIR; --short_side and --per_shard count from 1"
        )
    with progress_bar("shards") as show:
        out = Path(options["--out"])
        folder = write_shards(data, out, form, int(side), int(per_shard), show)
    print(f"shards: {folder}")
    return 0


def data_of(argv: list[str]) -> Images:
    """The data set that --data and its keys name."""
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_subclass_arguments(LightningDataModule, "data", required=True)
    file = value_of(argv, "--data")
    if file.endswith(".yaml") and not Path(file).is_file():
        raise UsageError(f"--data: {file}: no such file{nearest_file(file)}")
    try:
        return parser.instantiate(parser.parse_args(argv)).data
    except Exception as error:  # whatever jsonargparse meets, in one line
        raise UsageError(condense(str(error))) from error


def value_of(argv: list[str], key: str) -> str:
    """What stands behind a key of the command line."""
    for word, value in pairwise([*argv, ""]):
        if word == key and value:
            return value
        if word.startswith(f"{key}="):
            return word.partition("=")[2]
    raise UsageError("prepare: say which data: --data configs/data/<file>.yaml")


def prefixed(show: Callable[[str, int, int], None], name: str) -> Callable[[str, int, int], None]:
    """The same bar, each description behind a name."""
    return lambda part, done, of: show(f"{name}, {part}", done, of)
