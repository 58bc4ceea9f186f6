"""Half an hour of any GPU: one command, one record.

    python tests/benchmarks/gpu.py [--cifar FOLDER] [--minutes 8] [--parts matmul,steps_b,...]
                                   [--records logs/records] [--toy]

Writes <records>/<date>_gpu/gpu.json and README.md: the training step of ViT-B/16 and L/16 at 224 px
in bf16, compiled and not, in images a second and as a fraction of a measured matrix product, beside
timm's in turns; MAE, DINO and SSAT beside supervised; FSDP2 on one device against none; what
loaders bring to the device; CIFAR-10 by a plain ViT in the minutes that are left (--cifar: the
folder that holds cifar-10-batches-py; without it this part is left out). Each part is a process of
its own with a limit: one that fails, hangs or is killed is named, and the next begins. Without a
GPU all runs on the CPU, where nothing but --toy, a size for tests, ends in time.
"""

import argparse
import csv
import json
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "src")]  # siblings, and a checkout that is not installed
LEAST = 20  # seconds that a part needs to be begun at all
RESERVE = 10  # seconds in which the last part ends before it would be stopped
Figures = dict[str, Any]


# ---- parts: each returns figures, and a line for people under "line" ---------------------------


def matmul(options: argparse.Namespace) -> Figures:
    """A bf16 product of two square matrices of random numbers, in operations a second."""
    side = 64 if options.toy else 8192
    rate = matmul_rate(side)
    return {"side": side, "flops": rate, "line": f"{side}^3 in bf16: {rate / 1e12:.4g} TFLOP/s"}


def matmul_rate(side: int) -> float:
    """The median of twenty, after as many to warm up."""
    import torch
    from step_peers import clocked

    device = device_name()
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = [clocked(lambda: left @ right, 1, device) for _ in range(40)]
    return 2 * side**3 / max(statistics.median(seconds[20:]), 1e-9)


def steps(options: argparse.Namespace, size: str) -> Figures:
    """A training step of ours and of timm's, eager and with compiled blocks."""
    import step_peers

    from vit.flops import training_flops

    rate, figures, lines = matmul_rate(64 if options.toy else 8192), {}, []
    spec = step_peers.ours(size).model  # counted once; the arms are built anew below
    flops = training_flops(spec, data_spec(step_peers))
    del spec
    for compiled in (False, True):
        arms = timed_arms(step_peers, size, batch_of(size, options), compiled, options)
        how = "compiled" if compiled else "eager"
        ours = arms["ours"]["images_per_second"]
        figures[how] = arms | {"fraction_of_matmul": ours * flops / rate}
        lines.append(f"{how} {ours:,.0f} images/s, {ours * flops / rate:.1%} of the matrix product")
        if "timm" in arms:
            pairs = zip(arms["ours"]["seconds"], arms["timm"]["seconds"], strict=True)
            figures[how]["of_timms_time"] = statistics.median(a / b for a, b in pairs)
            lines[-1] += f", {figures[how]['of_timms_time']:.3f} of timm's time"
    about = {"size": size, "batch": batch_of(size, options), "training_flops": flops}
    line = f"{size}, batch {about['batch']}: {'; '.join(lines)}"
    return about | {"matmul_flops": rate, **figures, "line": line}


def data_spec(step_peers: Any) -> Any:
    """What the benchmarks of steps train on."""
    from vit.batch import DataSpec

    side, half = step_peers.PIXELS, (0.5,) * 3
    return DataSpec(tuple(map(str, range(step_peers.CLASSES))), (side, side), 3, half, half)


def batch_of(size: str, options: argparse.Namespace) -> int:
    """As many images a step as fit, by the memory of the device."""
    import torch

    if options.toy:
        return 1
    memory = torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0
    images = 256 if memory > 60 * 2**30 else 64
    return images // (2 if size.startswith("L") else 1)


def timed_arms(
    step_peers: Any, size: str, batch: int, compiled: bool, options: argparse.Namespace
) -> dict[str, Figures]:
    """Ours and timm's in turns, bf16 autocast: seconds of a step in each round, and speed."""
    import torch

    device = device_name()
    images = torch.randn(batch, 3, step_peers.PIXELS, step_peers.PIXELS, device=device)
    labels = torch.randint(step_peers.CLASSES, (batch,), device=device)
    arms = {"ours": step_peers.ours(size)}
    if installed("timm"):
        arms["timm"] = step_peers.timm(size)
    warm, count, rounds = (1, 1, 1) if options.toy else (20, 10, 5)
    for arm in arms.values():
        arm.start(device, False)
        for block in arm.blocks.children() if compiled else ():
            block.compile(dynamic=False, backend="eager" if options.toy else "inductor")
        step_peers.clocked(lambda arm=arm: arm.step(images, labels, True), warm, device)
    for _ in range(rounds):
        for arm in arms.values():
            work = lambda arm=arm: arm.step(images, labels, True)  # noqa: E731
            arm.seconds.append(step_peers.clocked(work, count, device))
    return {
        name: {
            "seconds": arm.seconds,
            "images_per_second": batch / statistics.median(arm.seconds),
        }
        for name, arm in arms.items()
    }


def objectives(options: argparse.Namespace) -> Figures:
    """What a step of other objectives costs beside a supervised one, in bf16."""
    import torch
    from step_objectives import Arm

    size, batch = ("Ti/112", 2) if options.toy else ("B/16", 64)
    kinds = objective_kinds(most=2 if options.toy else 4)
    arms = {name: Arm(kind, size, 1 if options.toy else 12, batch) for name, kind in kinds.items()}
    with torch.autocast(device_name(), torch.bfloat16):
        for _ in range(2 if options.toy else 15):
            for arm in arms.values():
                arm.step()
    skipped = 1 if options.toy else 5
    base, figures, lines = arms.pop("Supervised"), {}, []
    for name, arm in arms.items():
        pairs = zip(arm.seconds[skipped:], base.seconds[skipped:], strict=True)
        ratio, flops = statistics.median(a / b for a, b in pairs), arm.flops / base.flops
        figures[name] = {"time": ratio, "flops": flops}
        lines.append(f"{name} {ratio:.2f} of a supervised step, its FLOPs {flops:.2f}")
    return {"size": size, "batch": batch, **figures, "line": f"{size}: {'; '.join(lines)}"}


def objective_kinds(most: int) -> dict[str, type]:
    """Supervised first, then those that nobody took out of the checkout."""
    import importlib

    kinds = {}
    for module, name in (("supervised", "Supervised"), ("mae", "MAE"), ("ssat", "SSAT"),
                         ("dino", "DINO")):  # fmt: skip
        if (ROOT / f"src/vit/objectives/{module}.py").is_file() and len(kinds) < most:
            kinds[name] = getattr(importlib.import_module(f"vit.objectives.{module}"), name)
    return kinds


def fsdp(options: argparse.Namespace) -> Figures:
    """Losses of the same run without sharding and with FSDP2 on one device, in float32."""
    count = 4 if options.toy else 50
    sharded = ("--trainer", "configs/trainer/fsdp.yaml", "--trainer.strategy.compute", "float32")
    with tempfile.TemporaryDirectory() as place:
        plain, split = (losses_of(count, place, extra) for extra in ((), sharded))
    worst = max(abs(a - b) / abs(a) for a, b in zip(plain, split, strict=True))
    line = f"{count} steps: losses differ by at most {worst:.1e} of their value"
    return {"steps": count, "plain": plain, "sharded": split, "worst": worst, "line": line}


def losses_of(count: int, place: str, extra: tuple[str, ...]) -> list[float]:
    """The training losses of the quick start's recipe, step by step."""
    run = fit(
        place, "--config", "configs/pretrain/supervised.yaml", *extra, "--trainer.devices", "1",
        "--trainer.accelerator", "auto", "--trainer.max_steps", str(count),
        "--trainer.log_every_n_steps", "1", "--trainer.callbacks", "null",
    )  # fmt: skip
    rows = csv.DictReader((run / "metrics.csv").read_text().splitlines())
    return [float(row["value"]) for row in rows if row["name"] == "train/loss"]


def loader(options: argparse.Namespace) -> Figures:
    """Images a second, cut and normalised on the device: from memory, and from JPEG files."""
    from vit.data import Digits, ImageFolder
    from vit.data.transforms import Augmentation

    memory = Digits(canvas=32, batch_size=256, augmentation=Augmentation(padding=4, flip=True))
    seconds, cores = (0.1, 1) if options.toy else (10.0, max((os.cpu_count() or 1) - 1, 1))
    with tempfile.TemporaryDirectory() as place:
        write_pictures(Path(place), 10 if options.toy else 256)
        files = ImageFolder(
            place, batch_size=8 if options.toy else 128, workers=cores,
            augmentation=Augmentation(crop_area=(0.08, 1.0), flip=True),
        )  # fmt: skip
        speeds = {"memory": speed_of(memory, seconds), "files": speed_of(files, seconds)}
    line = (
        f"32 px from memory {speeds['memory']:,.0f} images/s; 500x375 JPEG to 224 px "
        f"{speeds['files']:,.0f} images/s with {cores} workers, {speeds['files'] / cores:,.0f} each"
    )
    return {**speeds, "workers": cores, "line": line}


def speed_of(data: Any, seconds: float) -> float:
    """Images a second that arrive on the device, ready for the model; the first batch warms up."""
    import torch

    from vit.batch import LoaderContext

    device = torch.device(device_name())
    context, loaded = LoaderContext(device=device), 0
    started = None
    while started is None or time.perf_counter() - started < seconds:
        for batch in data.loader("train", context):
            shown = data.show(batch.to(device, non_blocking=True), context, training=True)
            loaded += len(shown.images) if started else 0
            started = started or time.perf_counter()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return loaded / (time.perf_counter() - started)


def write_pictures(place: Path, count: int) -> None:
    """Two classes of so many JPEG files of 500x375, smooth as photographs are."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for name in ("a", "b"):
        (place / name).mkdir()
        for number in range(count):
            small = random.integers(0, 256, (38, 50, 3), dtype=np.uint8)
            picture = Image.fromarray(small).resize((500, 375), Image.Resampling.BICUBIC)
            picture.save(place / name / f"{number}.jpg", quality=90)


def cifar(options: argparse.Namespace) -> Figures:
    """CIFAR-10 by a plain ViT, trained as long as the time that is left allows."""
    recipe = (
        "--config", "configs/pretrain/supervised_cifar_gpu.yaml", "--trainer.callbacks", "null",
        "--data.root", str(Path(options.cifar).resolve()), *(TOY_CIFAR if options.toy else ()),
    )  # fmt: skip
    batch, short = (64, 2) if options.toy else (512, 200)
    with tempfile.TemporaryDirectory() as place:
        began = time.perf_counter()
        timed = summary_of(fit(place, *recipe, *length(short), "--test_after_fit", "false"))
        speed = timed["images_per_second"]
        start_up = time.perf_counter() - began - short * batch / speed
        seconds = options.seconds - (time.perf_counter() - began) - 1.5 * start_up - RESERVE
        count = max(int(0.9 * speed * seconds / batch), 1)
        accuracy = summary_of(fit(place, *recipe, *length(count)))["test/accuracy"]
    line = (
        f"test accuracy {accuracy:.1%} after {count:,} steps, {count * batch / 45_000:.1f} epochs, "
        f"at {speed:,.0f} images/s; 94 % {'reached' if accuracy >= 0.94 else 'not reached'}"
    )
    return {"accuracy": accuracy, "steps": count, "images_per_second": speed, "line": line}


TOY_CIFAR = (
    *("--trainer.accelerator", "cpu", "--trainer.precision", "32-true"),
    *("--model.encoder.depth", "1", "--model.compile", "false", "--data.batch_size", "64"),
    *("--trainer.limit_val_batches", "1", "--trainer.limit_test_batches", "1"),
)


def length(count: int) -> tuple[str, ...]:
    """So many steps, validated once at the end."""
    return (
        *("--trainer.max_epochs", "-1", "--trainer.max_steps", str(count)),
        *("--trainer.check_val_every_n_epoch", "null", "--trainer.val_check_interval", str(count)),
    )


def about(options: argparse.Namespace) -> Figures:
    """What it runs on: versions, commit, device, its driver, power limit and clocks."""
    import torch

    from vit.callbacks.run_folder import environment

    query = ["nvidia-smi", "--query-gpu=name,driver_version,power.limit,clocks.max.sm,memory.total",
             "--format=csv,noheader"]  # fmt: skip
    shown = (
        subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
        if shutil.which("nvidia-smi")
        else ""
    )
    known = environment()
    known.pop("argv", None)
    device = shown or f"no GPU: {known['cores']} {known['processor']} cores"
    line = f"{device}; Python {known['python']}, torch {torch.__version__}"
    return known | {"device": device, "line": line}


# ---- what parts share ---------------------------------------------------------------------------


def fit(place: str, *argv: str) -> Path:
    """The run folder of a fit that is a process of its own.

    Raises:
        RuntimeError: it failed; with its last words.
    """
    command = [sys.executable, "train.py", "fit", *argv, "--logs", place, "--name", "gpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(last_line(done.stdout + done.stderr))
    return Path(done.stdout.strip().splitlines()[-1].removeprefix("run: "))


def summary_of(run: Path) -> Figures:
    """What a run says at its end."""
    return json.loads((run / "summary.json").read_text())


def last_line(text: str) -> str:
    """Where an error says what it is."""
    return (text.strip().splitlines() or ["no word"])[-1][:300]


def device_name() -> str:
    """The GPU where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def installed(package: str) -> bool:
    """Is a peer there?"""
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


PARTS: dict[str, tuple[float, Callable[[argparse.Namespace], Figures]]] = {  # seconds at most
    "about": (60, about),
    "matmul": (60, matmul),
    "steps_b": (120, lambda options: steps(options, "Ti/112" if options.toy else "B/16")),
    "steps_l": (150, lambda options: steps(options, "Ti/112" if options.toy else "L/16")),
    "objectives": (90, objectives),
    "fsdp": (90, fsdp),
    "loader": (60, loader),
    "cifar": (300, cifar),
}


# ---- one process a part, one record for all -----------------------------------------------------


def result_of(name: str, seconds: float, options: argparse.Namespace) -> Figures:
    """The figures of a part, or why there are none; never an error."""
    if name == "cifar" and not options.cifar:
        return {"skipped": "needs --cifar, the folder that holds cifar-10-batches-py"}
    if seconds < options.least:
        return {"skipped": f"{max(seconds, 0):.0f} s were left"}
    command = [sys.executable, __file__, "--part", name, "--seconds", f"{seconds:.0f}"]
    command += ["--cifar", options.cifar] if options.cifar else []
    command += ["--toy"] if options.toy else []
    began = time.monotonic()
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        out, err = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        stop(child)
        return {"failed": f"stopped after {seconds:.0f} s"}
    lasted = {"lasted": round(time.monotonic() - began, 1)}
    try:
        return json.loads(out.strip().splitlines()[-1]) | lasted
    except (IndexError, ValueError):
        return {"failed": f"exit code {child.returncode}: {last_line(err or out)}"} | lasted


def stop(child: subprocess.Popen) -> None:
    """End a part and the runs that it began."""
    if hasattr(os, "killpg"):
        os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    child.communicate()


def readme(results: dict[str, Figures], minutes: float) -> str:
    """The record for people."""
    lines = [
        "# One GPU, one command", "", "```bash", shlex.join(["python", *sys.argv]), "```", "",
        f"{date.today()}, {minutes:.1f} minutes. Figures, round by round, in `gpu.json`.", "",
    ]  # fmt: skip
    for name, result in results.items():
        text = result.get("line") or next(
            f"{key}: {result[key]}" for key in ("failed", "skipped") if key in result
        )
        lines.append(f"- **{name}**: {text}")
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> None:
    """Run the parts, and write the record anew after each."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--cifar", help="the folder that holds cifar-10-batches-py")
    parser.add_argument("--minutes", type=float, default=8.0, help="of all parts together")
    parser.add_argument("--parts", default=",".join(PARTS), help="which, with commas between")
    parser.add_argument("--records", type=Path, default=ROOT / "logs/records")
    parser.add_argument("--toy", action="store_true", help="tiny sizes, for tests on a CPU")
    parser.add_argument("--least", type=float, default=LEAST, help=argparse.SUPPRESS)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)  # in a child
    parser.add_argument("--seconds", type=float, default=60.0, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.part:
        print(json.dumps(PARTS[options.part][1](options)))
        return
    unknown = set(options.parts.split(",")) - PARTS.keys()
    if unknown:
        parser.error(f"--parts: unknown {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    folder, began, results = options.records / f"{date.today()}_gpu", time.monotonic(), {}
    folder.mkdir(parents=True, exist_ok=True)
    for name in options.parts.split(","):
        passed = time.monotonic() - began
        limit = min(PARTS[name][0], 60 * options.minutes - passed)
        results[name] = result_of(name, limit, options)
        minutes = (time.monotonic() - began) / 60
        (folder / "gpu.json").write_text(json.dumps(results, indent=1) + "\n")
        (folder / "README.md").write_text(readme(results, minutes))
        print((folder / "README.md").read_text().splitlines()[-1], flush=True)
    print(f"record: {folder}")


if __name__ == "__main__":
    main()
