"""The table of README.md: run benchmarks anew, or say which rows no longer hold.

    python tests/benchmarks/table.py [NAME ...] [--cifar FOLDER] [--pictures FOLDER]
                                     [--timm-train FILE] [--peers PYTHON] [--hardware TEXT]
    python tests/benchmarks/table.py --stale

NAME is a script (`step_peers`) or a row's whole command; without one all are run: a quarter of an
hour, on a quiet machine. The words in capitals in a row's command stand for the options above; a
row that needs one that is not given stays as it was. A new figure pushes the one before it into the
column `earlier`.

A row is stale where no figure was made yet, or the sources that the script names in SOURCES, or the
script itself, have changed since. Comments, docstrings and layout do not count. Sources that a
script does not name may move its figure too: torch, Lightning, and what those files import.
"""

import argparse
import ast
import hashlib
import json
import os
import platform
import subprocess
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
README = HERE / "README.md"
COMMANDS = (
    "decode.py PICTURES --rounds 9",
    "first_step.py --timm-train TIMM_TRAIN --peers PEERS",
    "listing.py",
    "loader_cifar.py CIFAR --rounds 7",
    "loader_fit.py PICTURES",
    "step_objectives.py --batch 4",
    "step_objectives.py --batch 8",
    "step_overhead.py",
    "step_overhead.py --size Ti/16 --epochs 1",
    "step_peers.py --size S/16 --rounds 5",
    "step_peers.py --size Ti/16",
    "step_trees.py --encoders mini --rounds 3",
)
WITH_PEERS = ("step_peers.py",)  # scripts that the interpreter of --peers runs
NO_BENCHMARKS = ("gpu.py", "table.py", "trainer_peer.py")  # gpu.py writes a record of its own
HEAD = "| command | claim | measured | earlier | sources, date | hardware |"


class Row(NamedTuple):
    """One line of the table, cell by cell.

    Args:
        command: script and arguments; words in capitals stand for this machine's paths.
        claim: what the script says it measures, and the bound it should keep.
        measured: its last figure.
        earlier: figures before it, each with its date.
        sources: their hash when the figure was made, and the date of that.
        hardware: cores, Python and torch.
    """

    command: str
    claim: str
    measured: str
    earlier: str
    sources: str
    hardware: str

    def __str__(self) -> str:
        return f"| `{self.command}` | {' | '.join(self[1:])} |"


def read_table(text: str) -> dict[str, Row]:
    """The rows by their commands."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {cells[0].strip("`"): Row(cells[0].strip("`"), *cells[1:]) for cells in lines}


def write_table(text: str, rows: dict[str, Row]) -> str:
    """The text with these rows, in the order of their commands; the table is its end."""
    above = text[: text.index("| command")]
    ruler = "| --- " * len(Row._fields) + "|"
    return "\n".join([above + HEAD, ruler, *(str(rows[name]) for name in sorted(rows))]) + "\n"


def renewed(
    row: Row | None, command: str, figure: dict[str, str], digest: str, hardware: str
) -> Row:
    """The row with a new figure; the one before it stands beside it.

    Args:
        row: the one before; None: there was none.
        command: of the row.
        figure: claim and measured, as the script prints them.
        digest: of the sources that were measured.
        hardware: cores, Python and torch.
    """
    earlier = "none"
    if row:
        before = f"{row.sources.rpartition(', ')[2]}: {row.measured}"
        earlier = before if row.earlier == "none" else f"{row.earlier}<br>{before}"
    sources = f"{digest}, {date.today()}"
    return Row(command, figure["claim"], figure["measured"], earlier, sources, hardware)


def sources_of(script: str) -> tuple[str, ...]:
    """The files and folders that a script names in SOURCES, read without running it."""
    for node in ast.parse((HERE / script).read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SOURCES":
            return ast.literal_eval(node.value)
    raise ValueError(f"{script}: needs SOURCES, the files that it measures; name them")


def hash_of(script: str) -> str:
    """Eight hexadecimal digits that change with what a script or its sources do."""
    digest = hashlib.sha256()
    for name in (f"{HERE.relative_to(ROOT)}/{script}", *sources_of(script)):
        path = ROOT / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            text = file.read_text()
            content = meaning(ast.parse(text)) if file.suffix == ".py" else text
            digest.update(repr((file.relative_to(ROOT).as_posix(), content)).encode())
    return digest.hexdigest()[:8]


def meaning(node: Any) -> Any:
    """A syntax tree as nested lists, without docstrings; the same in all versions of Python."""
    if isinstance(node, list):
        return [meaning(item) for item in node if not is_text(item)]
    if not isinstance(node, ast.AST):
        return node
    fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, [])]
    return [type(node).__name__, *((name, meaning(value)) for name, value in fields)]


def is_text(node: Any) -> bool:
    """Is this statement a string alone?"""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def scripts() -> set[str]:
    """The benchmarks that lie here."""
    return {path.name for path in HERE.glob("*.py")} - {*NO_BENCHMARKS}


def stale(rows: dict[str, Row]) -> dict[str, str]:
    """Why a command has no figure that holds, for each that has none."""
    reasons = dict.fromkeys(rows.keys() - {*COMMANDS}, "a row whose command is not in table.py")
    missing = scripts() - {command.split()[0] for command in COMMANDS}
    reasons |= dict.fromkeys(missing, "a script without a command in table.py")
    for command in COMMANDS:
        reason = why_stale(rows.get(command), command.split()[0])
        reasons |= {command: reason} if reason else {}
    return dict(sorted(reasons.items()))


def why_stale(row: Row | None, script: str) -> str | None:
    """Why a row's figure no longer holds; None where it does."""
    gone = [name for name in sources_of(script) if not (ROOT / name).exists()]
    if gone:
        return f"{', '.join(gone)} is gone; name other SOURCES in {script}"
    if row is None:
        return "no row yet"
    digest, _, day = row.sources.partition(", ")
    return None if digest == hash_of(script) else f"sources changed since {day}"


def filled_in(command: str, options: argparse.Namespace) -> list[str] | None:
    """What to run: interpreter, script and arguments; None where an option is missing."""
    script, *arguments = command.split()
    settings = {name.upper(): value for name, value in vars(options).items()}
    arguments = [settings.get(word, word) if word.isupper() else word for word in arguments]
    if None in arguments:
        return None
    python = options.peers if script in WITH_PEERS else sys.executable
    return [python, str(HERE / script), *arguments]


def measure(argv: list[str]) -> dict[str, str]:
    """Run one script on one thread; its last line is its claim and its figure."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT, env=os.environ | threads
    )
    print(done.stdout)
    if done.returncode:
        sys.exit(f"{argv[1]} failed with {done.returncode}; the table keeps what was there before")
    return json.loads(done.stdout.splitlines()[-1])


def hardware_here() -> str:
    """The GPU if the scripts will take one, else the cores; Python and torch."""
    import torch

    cores = f"{os.cpu_count()} {platform.machine()} cores"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else cores
    return f"{device}, Python {platform.python_version()}, torch {version('torch')}"


def chosen(names: list[str]) -> list[str]:
    """The commands that are asked for, by script or in full."""
    by_name = {name: [name] for name in COMMANDS}
    for command in COMMANDS:
        by_name.setdefault(Path(command.split()[0]).stem, []).append(command)
    unknown = [name for name in names if name not in by_name]
    if unknown:
        sys.exit(f"table: no benchmark is called {', '.join(unknown)}; see COMMANDS in table.py")
    asked = {command for name in names for command in by_name[name]}
    return [command for command in COMMANDS if command in asked or not names]


def main(argv: list[str] | None = None) -> None:
    """List stale rows, or measure row by row and write each at once: a failure loses nothing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("names", nargs="*", help="step_peers, ...; all of them if none is named")
    parser.add_argument("--stale", action="store_true", help="list stale rows and run nothing")
    parser.add_argument("--cifar", help="folder that holds cifar-10-batches-py")
    parser.add_argument("--pictures", help="folder of photographs, a folder a class")
    parser.add_argument("--timm-train", help="train.py of a checkout of timm")
    parser.add_argument("--peers", default=sys.executable, help="interpreter that has the peers")
    parser.add_argument("--hardware", help="what to write of the machine, where it says too little")
    options = parser.parse_args(argv)
    commands = chosen(options.names)
    if options.stale:
        reasons = stale(read_table(README.read_text()))
        print("\n".join(f"{name}: {reason}" for name, reason in reasons.items()) or "none is stale")
        return
    for command in commands:
        line = filled_in(command, options)
        if line is None:
            print(f"{command}: left as it was; it needs an option, see above")
            continue
        print(f"{command} ...", flush=True)
        digest, figure = hash_of(command.split()[0]), measure(line)
        rows, hardware = read_table(README.read_text()), options.hardware or hardware_here()
        row = renewed(rows.get(command), command, figure, digest, hardware)
        README.write_text(write_table(README.read_text(), rows | {command: row}))


if __name__ == "__main__":
    main()
