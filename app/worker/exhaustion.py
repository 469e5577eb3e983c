"""Which failures may pass: the machine had not what the work needs, the work itself is sound."""

from __future__ import annotations

import errno
import resource
from concurrent.futures import BrokenExecutor
from pathlib import Path

from app.core.errors import WhorlError

_KINDS = ("ResourceExhaustedError", "OutOfMemoryError")
_WORDS = (
    "resource_exhausted",
    "out of memory",
    "cannot allocate memory",
    "failed to map segment",
    "can't start new thread",
    "operation received an exception:status: 1,",  # oneDNN's dnnl_out_of_memory
    # What an import says where memory ran out in its midst.
    "error return without exception set",
    "returned null without setting an exception",
)
NEAR = 0.75
"""So much of its bound taken, a process that failed is held to have met it."""
ADVICE = (
    "give the worker more (WHORL_WORKER_MEMORY_MB, the machine, the container), or order smaller "
    "batches or fewer fingers"
)


def passing_failure(error: BaseException) -> WhorlError | None:
    """What to say of a failure after which another attempt is worth while; None for others.

    Tensor libraries have errors of their own for want of memory, known by name so that none needs
    to be loaded here; the loader of shared libraries and threads only say it in words. Others say
    anything at all, so that near the process's bound every failure is taken for one.
    """
    if isinstance(error, BrokenExecutor):
        return WhorlError(
            "A process that grew prints was killed, as the kernel does where memory runs out; "
            + ADVICE,
            slug="out_of_memory",
        )
    told = f"{type(error).__name__}: {error}"
    short = isinstance(error, MemoryError) or type(error).__name__ in _KINDS
    short = short or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    if short or any(words in told.lower() for words in _WORDS):
        return WhorlError(
            f"The memory did not suffice ({told[:200]}); {ADVICE}", slug="out_of_memory"
        )
    if near_the_bound():
        return WhorlError(
            f"The work failed ({told[:200]}) with nearly all the memory taken that it may have, "
            f"which is likely why; {ADVICE}",
            slug="out_of_memory",
        )
    return None


def near_the_bound() -> bool:
    """Whether the process takes ``NEAR`` of what it may write to (RLIMIT_DATA); Linux only."""
    bound, _ = resource.getrlimit(resource.RLIMIT_DATA)
    status = Path("/proc/self/status")
    if bound == resource.RLIM_INFINITY or not status.is_file():
        return False
    try:
        taken = dict(line.split(":", 1) for line in status.read_text().splitlines())["VmData"]
    except MemoryError:  # there is not even the memory to look
        return True
    return int(taken.split()[0]) * 1024 >= NEAR * bound
