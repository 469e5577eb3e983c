"""Which failures may pass: the machine had not what the work needs, the work itself is sound."""

from __future__ import annotations

import errno
from concurrent.futures import BrokenExecutor

from app.core.errors import WhorlError

_KINDS = ("ResourceExhaustedError", "OutOfMemoryError")
_WORDS = (
    "resource_exhausted",
    "out of memory",
    "cannot allocate memory",
    "failed to map segment",
    "can't start new thread",
    # What an import says where memory ran out in its midst.
    "error return without exception set",
    "returned null without setting an exception",
)
ADVICE = (
    "give the worker more (WHORL_WORKER_MEMORY_MB, the machine, the container), or order smaller "
    "batches or fewer fingers"
)


def passing_failure(error: BaseException) -> WhorlError | None:
    """What to say of a failure after which another attempt is worth while; None for others.

    Tensor libraries have errors of their own for want of memory, known by name so that none needs
    to be loaded here; the loader of shared libraries and threads only say it in words.
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
    return None
