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
    """End this process with its parent; a worker_init_fn, or the initializer of a pool."""
    when_parent_ends(lambda: os._exit(1))


def when_parent_ends(act: Callable[[], None]) -> None:
    """Wait for the parent's end in a separate thread, then call `act`."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), act()), daemon=True).start()
