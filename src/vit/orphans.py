"""Processes that end with the one that began them, however it ends.

Under `forkserver` the parent of a process is a server that lives as long as its children do: a
run that is killed would leave its loading processes, and their memory, for ever (torch looks at
the parent's number alone).
"""

import multiprocessing
import os
import threading
from collections.abc import Callable


def end_with_parent(*_: object) -> None:
    """To be called in the new process (DataLoader's worker_init_fn, a pool's initializer)."""
    when_parent_ends(lambda: os._exit(1))


def when_parent_ends(act: Callable[[], None]) -> None:
    """Wait for it in a thread of its own, and act."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), act()), daemon=True).start()
