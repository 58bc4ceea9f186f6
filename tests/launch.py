"""Whole runs of the command line in processes of their own, forked from one warm process.

The warm process has imported torch and Lightning and done nothing else, so a run starts in
milliseconds instead of seconds, and can be killed without harm to the tests.
"""

import multiprocessing
import os
import resource
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["vit.cli.verbs", "tensorboard.compat.proto.event_pb2"])
ROOT = Path(__file__).parents[1]


@dataclass
class Ended:
    """How a run ended: the highest exit code of its ranks, and what rank 0 and all ranks said."""

    code: int
    out: str
    everything: str

    @property
    def run(self) -> Path:
        """The folder that the last line names."""
        return Path(self.out.strip().splitlines()[-1].removeprefix("run: "))


def launch(
    *argv: str,
    cwd: Path,
    ranks: int = 1,
    kill_at: int | None = None,
    kill_after: float | None = None,
    signal_at: tuple[int, int] | None = None,
    signal_rank: int | None = None,
    patience: float = 300,
    largest: int | None = None,
) -> Ended:
    """Run `python train.py <argv>` in cwd and wait for it.

    Args:
        argv: the verb and its options.
        cwd: working directory; `configs` in it is the project's.
        ranks: processes that form one group.
        kill_at: SIGKILL every rank as it begins this micro-batch (counted over the run).
        kill_after: SIGKILL every rank so many seconds after the start.
        signal_at: a micro-batch and the signal that every rank gets as it begins it.
        signal_rank: the only rank that gets it.
        largest: no file may grow beyond so many bytes, as on a full disk.
        patience: seconds after which what still runs is killed, and its text says so.
    """
    if not (cwd / "configs").exists():
        (cwd / "configs").symlink_to(ROOT / "configs")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    group = (
        {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(ranks),
            "NODE_RANK": "0",
        }
        if ranks > 1
        else {}
    )
    signal_at = signal_at or (kill_at, signal.SIGKILL)
    files = [cwd / f".rank{rank}.{time.monotonic_ns()}" for rank in range(ranks)]
    workers = [
        CONTEXT.Process(
            target=_child,
            args=(
                list(argv),
                str(cwd),
                str(files[rank]),
                signal_at if signal_rank in (None, rank) else (None, 0),
                group | ({"LOCAL_RANK": str(rank)} if ranks > 1 else {}),
                largest,
            ),
        )
        for rank in range(ranks)
    ]
    for worker in workers:
        worker.start()
    if kill_after is not None:
        time.sleep(kill_after)
        for worker in workers:
            if worker.is_alive():
                os.kill(worker.pid, signal.SIGKILL)
    late = wait(workers, patience)
    texts = [file.read_text() if file.exists() else "" for file in files]
    if late:
        texts.append(f"killed by the test: it still ran after {patience:.0f} s")
    codes = [abs(worker.exitcode) for worker in workers]
    return Ended(max(codes), texts[0], "\n".join(texts))


def wait(workers: list, seconds: float) -> bool:
    """Until all have ended; what is left then, or ten seconds after one was killed, is killed.

    A rank whose neighbour dies inside gloo may spin for ever; a cluster's launcher ends it too.

    Returns:
        whether any had to be killed for being late.
    """
    patience = end = time.monotonic() + seconds
    while any(worker.is_alive() for worker in workers):
        if any(worker.exitcode == -signal.SIGKILL for worker in workers):
            end = min(end, time.monotonic() + 10)
        if time.monotonic() > end:
            for worker in workers:
                worker.kill()
        time.sleep(0.02)
    return time.monotonic() > patience


def _child(
    argv: list[str],
    cwd: str,
    output: str,
    signal_at: tuple[int | None, int],
    environment: dict[str, str],
    largest: int | None = None,
) -> None:
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
    file = os.open(output, os.O_WRONLY | os.O_CREAT)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    os.environ.update(environment, OMP_NUM_THREADS="1", COLUMNS="200")
    os.chdir(cwd)
    sys.path.insert(0, cwd)  # as beside train.py
    sys.argv = ["train.py", *argv]

    import torch

    from vit.cli import main
    from vit.module import ViTModule

    torch.set_num_threads(1)
    honest = ViTModule.on_train_batch_start

    def disturbed(self, batch, batch_idx):
        if self.consumed == signal_at[0]:
            os.kill(os.getpid(), signal_at[1])
        return honest(self, batch, batch_idx)

    if signal_at[0] is not None:
        ViTModule.on_train_batch_start = disturbed
    code = main(argv)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def forget_other_class_arguments(patch) -> None:
    """Parse as the command line does, until the patch, a MonkeyPatch, is undone."""
    from vit import parser_workarounds  # slow to load

    name = "discard_init_args_on_class_path_change"
    patch.setattr(parser_workarounds.typehints, name, getattr(parser_workarounds.typehints, name))
    parser_workarounds.forget_other_class_arguments()
