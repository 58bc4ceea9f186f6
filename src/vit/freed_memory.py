"""Memory that a step frees stays with the process, for the next step on a CPU.

glibc gives large blocks back to the system as soon as they are free, and gets them back page by
page, each cleared first: a fifth of the time of a small encoder's step on many views went into it.
Of torch's GPU memory its own allocator takes care.
"""

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # names of settings in glibc's malloc.h
KEPT = 2**31 - 1  # bytes of free memory at the end of the heap; the largest that it takes
LARGE = 2**30  # bytes from which a block is still given back at once


def keep_freed_memory() -> bool:
    """Ask glibc to keep what is freed until the process ends; the peak is the same.

    Returns:
        Whether it will: other C libraries know no such setting, and are left alone.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, Windows
        return False
    return bool(mallopt(MMAP_THRESHOLD, LARGE) and mallopt(TRIM_THRESHOLD, KEPT))
