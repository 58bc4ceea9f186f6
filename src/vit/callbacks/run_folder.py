"""A run's folder: made once, held by one process, its small files never half written."""

import hashlib
import json
import math
import os
import platform
import subprocess
import sys
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from vit.whole_files import write_text

try:
    import fcntl
except ImportError:  # Windows: nothing is held there
    fcntl = None

PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "jsonargparse", "numpy")
CONFIG = "config.yaml"
CHECKSUM = "# sha256 of what follows: "
HELD: list[int] = []  # open files: closing one would let go of its folder


def new_folder(parent: Path, seed: int) -> Path:
    """A folder that did not exist before, also when two runs start in the same second."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ValueError(
            f"--logs: {error.filename} is a file, or a link to nowhere; name another folder"
        ) from error
    stem = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_seed{seed}"
    for attempt in range(1, 1000):
        folder = parent / (stem if attempt == 1 else f"{stem}_{attempt}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"logs: {parent} holds a thousand runs of this second")


def hold(folder: Path) -> None:
    """Keep other processes from going on with this run until this one ends, however it ends.

    Raises:
        ValueError: another process holds it.
    """
    if fcntl is None:
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ValueError(f"{folder} is in use by another process") from None
    except OSError:  # a file system without locks
        os.close(handle)
        return
    HELD.append(handle)


def held(folder: Path) -> bool:
    """Is another process at work in this folder?"""
    if not folder.is_dir():
        return False
    before = len(HELD)
    try:
        hold(folder)
    except ValueError:
        return True
    for handle in HELD[before:]:
        HELD.remove(handle)
        os.close(handle)
    return False


def environment() -> dict[str, Any]:
    """Code, versions and hardware."""
    git = ["git", "-C", str(Path(__file__).parent)]

    def ask(*arguments: str) -> str | None:
        try:
            return subprocess.run(
                [*git, *arguments], capture_output=True, text=True, check=True, timeout=10
            ).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return None

    changes = ask("status", "--porcelain")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "git_commit": ask("rev-parse", "HEAD"),
        "git_dirty": None if changes is None else bool(changes),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in PACKAGES},
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "argv": sys.argv[1:],
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Written beside and renamed: the file is never half a file."""
    plain = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in content.items()
    }
    write_text(path, json.dumps(plain, indent=1) + "\n")


def write_config(folder: Path, text: str) -> None:
    """A run's settings, with a checksum: a cut at the end of a line would still be YAML."""
    write_text(folder / CONFIG, f"{CHECKSUM}{sha256_of(text)}\n{text}")


def read_config(folder: Path) -> str:
    """The settings that a run began with.

    Raises:
        ValueError: they are not the ones that were written.
    """
    path = folder / CONFIG
    first, _, text = path.read_text(errors="replace").partition("\n")
    if first != CHECKSUM + sha256_of(text):
        raise ValueError(
            f"{path} is damaged or was edited; a run goes on only with the settings it began "
            f"with: begin a new one, python train.py fit --config {path}, once it is right"
        )
    return text


def sha256_of(text: str) -> str:
    """sha256 in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """An empty dict where there is no file.

    Raises:
        ValueError: the file is damaged.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); remove it") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged (no object); remove it")
    return content
