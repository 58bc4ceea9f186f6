"""Processes that end with the one that began them, however it ends.

Under `forkserver` the parent of a process is a server that lives as long as its children do: a
run that is killed would leave its loading processes, and their memory, for ever (torch looks at
the parent's number alone).
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable


def end_with_parent(*_: object) -> None:
    """End this process with its parent; a worker_init_fn, or the initializer of a pool."""
    when_parent_ends(lambda: os._exit(1))


def answer_to_parent_alone(*_: object) -> None:
    """Let only the process that began this one end it; a worker_init_fn.

    A terminal's Ctrl-C and a cluster's notice reach every process of a group. A run finishes its
    step on them, and needs its loading processes for that.
    """
    parent = multiprocessing.parent_process()
    if parent is not None and hasattr(signal, "sigwaitinfo"):  # macOS tells no sender
        # before any thread begins: they inherit it, and one without it would take the signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_when_told_by, args=(parent.pid,), daemon=True).start()
    end_with_parent()
    usual = signal.SIGINT  # the others are not on every system
    for number in (usual, getattr(signal, "SIGUSR1", usual), getattr(signal, "SIGHUP", usual)):
        signal.signal(number, signal.SIG_IGN)


def _end_when_told_by(parent: int) -> None:
    """Wait for a SIGTERM of the parent, which ends loaders so where an error keeps them alive."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


def when_parent_ends(act: Callable[[], None]) -> None:
    """Wait for the parent's end in a separate thread, then call `act`."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), act()), daemon=True).start()
