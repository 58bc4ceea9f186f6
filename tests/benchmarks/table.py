"""Run the benchmarks and write what they measured into the table of README.md.

    python tests/benchmarks/table.py [script ...] [--cifar FOLDER] [--timm-train FILE]
                                     [--peers PYTHON] [--pictures FOLDER]

Without a script all are run: minutes. FOLDER holds cifar-10-batches-py; photographs, a folder a
class, at least ten in each; FILE and PYTHON are as in
first_step.py, and PYTHON also runs step_peers.py. A row whose script is not asked for, or lacks
what it needs, stays as it was.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
HEAD = "| script | claim | measured | when and on what |"


def commands(options: argparse.Namespace) -> dict[str, list[str] | None]:
    """The row's name, and interpreter and words to run; None where something is missing."""
    own, peers = sys.executable, options.peers
    timm = ["--timm-train", options.timm_train] if options.timm_train else []
    return {
        "step_overhead.py": [own, "step_overhead.py"],
        "step_overhead.py --size Ti/16": [own, "step_overhead.py", "--size", "Ti/16"],
        "loader_cifar.py": [own, "loader_cifar.py", options.cifar, "7"] if options.cifar else None,
        "decode.py": [own, "decode.py", options.pictures, "9"] if options.pictures else None,
        "loader_fit.py": [own, "loader_fit.py", options.pictures, "5"]
        if options.pictures
        else None,
        "step_objectives.py --depth 12 --batch 8": [
            own,
            "step_objectives.py",
            "--depth",
            "12",
            "--batch",
            "8",
        ],
        "step_peers.py": [peers, "step_peers.py"],
        "step_peers.py --size S/16": [peers, "step_peers.py", "--size", "S/16", "--rounds", "5"],
        "first_step.py": [own, "first_step.py", "--peers", peers, *timm],
    }


def measure(python: str, script: str, *words: str) -> dict[str, str]:
    """Run one script on one thread; its last line is what it found."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(
        [python, str(HERE / script), *words], stdout=subprocess.PIPE, text=True, check=False,
        cwd=HERE.parents[1], env=os.environ | threads,
    )  # fmt: skip
    print(done.stdout)
    if done.returncode:
        sys.exit(f"{script} failed with {done.returncode}; the table keeps what was written before")
    return json.loads(done.stdout.splitlines()[-1])


def here() -> str:
    """Date, hardware and versions."""
    return f"{date.today()}; {os.cpu_count()} cores, 1 thread, {processor()}; " + ", ".join(
        f"{name} {version(name)}" for name in ("torch", "torchvision", "lightning")
    )


def processor() -> str:
    """The GPU if the scripts will take one, else the CPU's model."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def rows_of(text: str) -> dict[str, str]:
    """The table's rows by the name in their first cell."""
    return {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}


def written(text: str, name: str, found: dict[str, str], where: str) -> str:
    """The README with one row new and all else as it was."""
    rows = rows_of(text) | {
        name: f"| `{name}` | {found['claim']} | {found['measured']} | {where} |"
    }
    above = text[: text.index("| script")]
    lines = [rows[row] for row in sorted(rows)]
    return "\n".join([above + HEAD, "| --- | --- | --- | --- |", *lines]) + "\n"


def main(options: argparse.Namespace) -> None:
    """Row by row, so that a failure loses nothing."""
    asked = {Path(word).stem for word in options.scripts}
    found = commands(options)
    unknown = asked - {name.split(".")[0] for name in found}
    if unknown:
        sys.exit(f"no script is called {', '.join(sorted(unknown))}")
    readme, where = HERE / "README.md", here()
    for name, command in found.items():
        if asked and name.split(".")[0] not in asked:
            continue
        if command is None:
            print(f"{name}: left as it was; it needs an option, see above")
            continue
        print(f"{name} ...", flush=True)
        readme.write_text(written(readme.read_text(), name, measure(*command), where))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scripts", nargs="*", help="step_peers, ...; all of them if none is named")
    parser.add_argument("--cifar", help="folder that holds cifar-10-batches-py")
    parser.add_argument("--pictures", help="folder of photographs, a folder a class")
    parser.add_argument("--timm-train", help="train.py of a checkout of timm")
    parser.add_argument("--peers", default=sys.executable, help="interpreter that has the peers")
    main(parser.parse_args())
