"""From the start of a process to its first optimiser step: ours and other people's scripts.

    python tests/benchmarks/first_step.py [--timm-train FILE] [--peers PYTHON] [--rounds 5]
                                          [--warm-up 1]

Ours is the quick start as a user types it. FILE is train.py of a checkout of timm, which pip does
not bring; it reads the same digits from PNG files. trainer_peer.py is transformers' Trainer. All
have one tiny ViT (64 wide, 4 deep, patches of 2 of 8 px), batches of 64, AdamW, no workers, one
thread. PYTHON is another environment's interpreter for the peers: Lightning imports transformers
wherever it is installed, so ours starts faster without. The processes take turns; each ends at
once after its first step and says its CPU time, children included, and its wall time.

Then our part of it: CPU time from the end of `import torch, torchvision, lightning.pytorch` on, lap
by lap. It is everything that we could make faster, including what Lightning does for us.
"""

import argparse
import gc
import importlib
import json
import os
import runpy
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

SOURCES = (
    "configs/quickstart.yaml", "src/vit/__init__.py", "src/vit/callbacks", "src/vit/cli",
    "src/vit/data/__init__.py", "src/vit/data/digits.py", "src/vit/flops.py",
    "src/vit/lightning_workarounds.py",
    "src/vit/models/__init__.py", "src/vit/module.py", "tests/benchmarks/trainer_peer.py",
    "train.py",
)  # fmt: skip
ROOT = Path(__file__).parents[2]
MARK = "first step: "
CLAIM = """from process start to the first optimiser step of a tiny ViT; our part of it, after \
the imports of torch, torchvision and Lightning, is at most 1 s of CPU"""
OUR_IMPORTS = ("lightning.pytorch.cli", "vit.cli.verbs")
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


def cpu() -> float:
    """CPU seconds of this process and of its children."""
    return time.process_time() + sum(os.times()[2:4])


class Laps:
    """CPU seconds of a row of named parts: whatever ran since the last cut is the part named."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self.last = cpu()

    def cut(self, name: str) -> None:
        """End a part."""
        self.parts[name] = self.parts.get(name, 0.0) + cpu() - self.last
        self.last = cpu()

    def around(self, owner: Any, function: str, before: str, name: str = "") -> None:
        """A part ends where a function begins, and another where it ends."""
        call = getattr(owner, function)

        def clocked(*args: Any, **settings: Any) -> Any:
            self.cut(before)
            result = call(*args, **settings)
            self.cut(name or before)
            return result

        setattr(owner, function, clocked)


def watch_ours() -> Laps:
    """Import and wrap our start-up; the laps begin after the imports nobody can avoid."""
    for name in ("torch", "torchvision", "lightning.pytorch"):
        importlib.import_module(name)
    laps = Laps()
    gc.disable()  # as vit.cli.main does around the same imports
    for name in OUR_IMPORTS:
        importlib.import_module(name)
        laps.cut(f"import {name}")
    gc.freeze()
    gc.enable()
    from lightning.pytorch import Trainer

    from vit import flops, module
    from vit.callbacks import run
    from vit.cli import engine

    building, rest = "build data, encoder, objective", "other set-up, first batch"
    laps.around(engine.CLI, "parse_arguments", "build the parser", "parse command line and YAML")
    laps.around(engine.yaml, "safe_load", "dump the settings", "read them again")
    laps.around(engine.CLI, "instantiate_trainer", building, "build the Trainer")
    laps.around(Trainer, "fit", "build the Trainer")
    laps.around(run, "environment", rest, "environment.json with git")
    laps.around(flops, "training_flops", rest, "count the FLOPs")
    laps.around(module.ViTModule, "on_train_batch_start", rest)
    return laps


def run_inside(argv: list[str]) -> None:
    """In the child: run a script as if it were started itself, until its first step."""
    laps = watch_ours() if argv[0] == "--parts" else None
    hooked = []

    def done(*_: Any) -> None:
        if laps:
            laps.cut("first step")
        wall = time.time() - float(os.environ["STARTED"])
        measured = {"cpu": cpu(), "wall": wall, "parts": laps.parts if laps else {}}
        print(MARK + json.dumps(measured), flush=True)
        os._exit(0)

    def importing(event: str, *_: Any) -> None:  # torch is loaded by the script, not before it
        optimizer = sys.modules.get("torch.optim.optimizer")
        if event == "import" and not hooked and hasattr(optimizer, "Optimizer"):
            hooked.append(optimizer.register_optimizer_step_post_hook(done))

    sys.addaudithook(importing)
    sys.argv = argv[laps is not None :]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")


def start(python: str, argv: list[str]) -> dict[str, Any]:
    """Run one arm and read what it measured."""
    done = subprocess.run(
        [python, __file__, "--inside", *argv], capture_output=True, text=True, cwd=ROOT,
        env=os.environ | THREADS | {"STARTED": str(time.time())}, check=False,
    )  # fmt: skip
    for line in done.stdout.splitlines():
        if line.startswith(MARK):
            return json.loads(line.removeprefix(MARK))
    sys.exit(f"{' '.join(argv[:2])} made no step:\n{done.stderr[-2000:]}")


def write_digits(folder: Path) -> Path:
    """The digits as PNG files, a folder a class; the first 1,500 to train on."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        split = "train" if number < 1500 else "validation"
        place = folder / split / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15.9).astype("uint8")).save(place / f"{number}.png")
    return folder


def commands(options: argparse.Namespace, scratch: Path) -> dict[str, list[str]]:
    """Interpreter, script and arguments of each arm that can be run here."""
    peer, config = options.peers, "configs/quickstart.yaml"
    arms = {"ours": [sys.executable, "train.py", "fit", "--config", config, f"--logs={scratch}"]}
    if options.timm_train:
        arms["timm"] = [
            peer, options.timm_train, "--data-dir", str(write_digits(scratch / "digits")),
            "--model", "vit_tiny_patch16_224", "--model-kwargs", "img_size=8", "patch_size=2",
            "embed_dim=64", "num_heads=4", "depth=4", "mlp_ratio=2", "--num-classes", "10",
            "--input-size", "1", "8", "8", "--mean", "0.5", "--std", "0.5", "--batch-size", "64",
            "--opt", "adamw", "--lr", "3e-3", "--workers", "0", "--no-prefetcher", "--device",
            "cpu", "--output", str(scratch),
        ]  # fmt: skip
    ask = [
        peer,
        "-c",
        "from importlib.metadata import version as v; v('transformers'), v('accelerate')",
    ]
    if subprocess.run(ask, capture_output=True, check=False).returncode == 0:
        script = Path(__file__).with_name("trainer_peer.py")
        arms["transformers"] = [peer, str(script), str(scratch / "transformers")]
    else:
        print('transformers: not installed, left out; pip install -e ".[peers]"')
    return arms


def take_turns(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """What each arm measured, round by round; "parts" is ours once more, part by part."""
    with TemporaryDirectory() as scratch:
        arms = commands(options, Path(scratch))
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in [*arms, "parts"]}
        for _ in range(options.warm_up + options.rounds):
            for name, (python, *argv) in arms.items():
                rows[name].append(start(python, argv))
            python, *argv = arms["ours"]
            rows["parts"].append(start(python, ["--parts", *argv]))
    return {name: values[options.warm_up :] for name, values in rows.items()}


def main(argv: list[str] | None = None) -> None:
    """Print medians and our parts, and one line for the table of all benchmarks."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--timm-train", help="train.py of a checkout of timm")
    parser.add_argument("--peers", default=sys.executable, help="the peers' interpreter")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=1, help="rounds that fill the page cache")
    options = parser.parse_args(argv)
    rows = take_turns(options)
    laps = [row["parts"] for row in rows.pop("parts")]
    texts = []
    for name, values in rows.items():
        seconds, clock = (
            statistics.median(row[kind] for row in values) for kind in ("cpu", "wall")
        )
        texts.append(f"{name} {seconds:.2f} s of CPU, {clock:.2f} s on the clock")
    totals = [sum(parts.values()) for parts in laps]
    texts.append(
        f"our part {statistics.median(totals):.2f} s ({min(totals):.2f} to {max(totals):.2f})"
    )
    print("\n".join(texts) + ", of it")
    parts = {name: statistics.median(lap[name] for lap in laps) for name in laps[0]}
    for name in sorted(parts, key=parts.get, reverse=True):
        print(f"  {name:<32} {parts[name]:.3f} s")
    measured = f"{'; '.join(texts)}; medians of {options.rounds} rounds"
    print(json.dumps({"claim": CLAIM, "measured": measured}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        run_inside(sys.argv[2:])
    else:
        main()
