"""One line for people, though every process of a run has the same thing to say."""

import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path

RECENT = 60.0  # seconds in which the same line of the same launch is the same event
STARTED_BY_ANOTHER = ("LOCAL_RANK", "SLURM_LOCALID")


def launch_id() -> int:
    """The same in all processes of one launch on this machine: the process that began it.

    To be asked before Lightning starts further processes, which is when it sets LOCAL_RANK.
    """
    other = any(name in os.environ for name in STARTED_BY_ANOTHER)
    return os.getppid() if other else os.getpid()


def complain(line: str, launch: int) -> None:
    """To stderr, once a machine and launch; a process that alone has something to say says it."""
    if first(line, launch):
        print(line, file=sys.stderr, flush=True)


def first(line: str, launch: int) -> bool:
    """Is this the first process to say so?"""
    # not by WORLD_SIZE, which Lightning takes away when a fit ends
    if "MASTER_ADDR" not in os.environ and os.environ.get("SLURM_NTASKS", "1") == "1":
        return True
    mark = hashlib.sha256(f"{launch} {line}".encode()).hexdigest()[:24]
    path = Path(tempfile.gettempdir()) / f"vit_said_{mark}"
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        return True
    except FileExistsError:
        try:
            old = time.time() - path.stat().st_mtime > RECENT
            path.touch()
            return old
        except OSError:
            return True
    except OSError:  # nowhere to leave a mark: rather twice than never
        return True
