"""Server-sent events of a job (WHATWG HTML, 9.2): each revision once, then the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from time import monotonic

from fastapi.concurrency import run_in_threadpool

from app.core.records import Job

HEARTBEAT = b": still here\n\n"


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the job is looked at, and how long a silence may last."""

    poll_s: float = 0.5
    heartbeat_s: float = 10.0


async def job_events(
    read: Callable[[], Job],
    show: Callable[[Job], str],
    seen_revision: int,
    gone: Callable[[], Awaitable[bool]],
    pace: Pace,
) -> AsyncIterator[bytes]:
    """Events of a job until it has ended or nobody listens.

    Each look takes a thread for the moment of one read, none in between: listeners are many and
    patient, threads few.

    Args:
        read: the job as it is stored now.
        show: its JSON, one line.
        seen_revision: the revision the listener has already.
        gone: whether to stop (the client hung up, the server stops).
        pace: the intervals.
    """
    last_sent = monotonic()
    while True:
        job = await run_in_threadpool(read)
        if job.revision > seen_revision or job.state.ended:
            name = "end" if job.state.ended else "progress"
            yield f"id: {job.revision}\nevent: {name}\ndata: {show(job)}\n\n".encode()
            seen_revision, last_sent = job.revision, monotonic()
            if job.state.ended:
                return
        elif monotonic() - last_sent >= pace.heartbeat_s:
            yield HEARTBEAT
            last_sent = monotonic()
        if await gone():
            return
        await asyncio.sleep(pace.poll_s)
