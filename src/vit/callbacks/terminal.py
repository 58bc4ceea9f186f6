"""A terminal that is closed while a run writes to it must not end the run in the middle of a step.

The kernel refuses writes (EIO) a little before the hang-up signal arrives, so that a progress bar
would fail the run that the signal asks to save itself.
"""

import contextlib
import errno
import io
import os
import stat
import sys
from typing import Any


class Terminal(io.FileIO):
    """The file behind standard output or error: once its terminal is closed, writes are lost."""

    def write(self, data: Any) -> int:
        """Write what the terminal takes, or pretend."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            discard_terminal_output()
            return len(data)


def outlive_terminals() -> None:
    """Let output to terminals go through `Terminal`; files and pipes stay as they are."""
    for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # no file behind it
            if not os.isatty(stream.fileno()):
                continue
            stream.flush()
            raw = Terminal(stream.fileno(), "w", closefd=False)
            lasting = io.TextIOWrapper(
                io.BufferedWriter(raw),
                encoding=stream.encoding,
                errors=stream.errors,
                line_buffering=True,
            )
            setattr(sys, name, lasting)


def discard_terminal_output() -> None:
    """Send what is written to a terminal nowhere; files and pipes stay."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            if stat.S_ISCHR(os.fstat(stream.fileno()).st_mode):
                os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
