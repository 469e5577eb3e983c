"""Memory of a training process: what a step frees is kept for the next one.

By default glibc hands every large block back to the system as soon as it is freed, and a step then
waits for fresh pages that the kernel has to clear. Activations are large and of the same size in
every step.
"""

from __future__ import annotations

import ctypes
import sys

# Names and numbers of mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
KEPT_BYTES = 2**31 - 1


def keep_freed_memory() -> bool:
    """Take large blocks from the heap and keep up to 2 GiB of what is freed, in this process.

    Returns:
        Whether the C library could be told.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    wanted = ((_M_TRIM_THRESHOLD, KEPT_BYTES), (_M_MMAP_MAX, 0), (_M_ARENA_MAX, 1))
    told = [mallopt(option, value) == 1 for option, value in wanted]
    return all(told)
