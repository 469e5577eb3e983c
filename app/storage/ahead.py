"""A gallery's templates, read and opened by other processes.

Opening what is sealed holds the interpreter's lock all the while, so threads would take turns.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from app.core.processors import usable_processors
from app.core.records import Stretch
from app.storage import sqlite
from app.storage.sealed import Sealed
from app.storage.vault import Label, Vault

log = logging.getLogger(__name__)

WORTH_FROM = 200_000
"""Templates from which on the processes save more time than they take to start, about a second."""
AHEAD_A_PROCESS = 3
"""Stretches that are begun before they are asked for: so many are in memory twice."""

PassOver = Callable[[Label, str], None]


_engine: sa.Engine
_vault: Vault


class _Read(NamedTuple):
    stretch: Stretch
    passed_over: list[tuple[Label, str]]


_Submit = Callable[[str, int, int], "Future[_Read]"]


@contextmanager
def reading_processes(path: Path, master_key: bytes) -> Iterator[_Submit]:
    """Processes, one a processor, that read the store in this file while the block lasts."""
    count = usable_processors()
    # spawn: the parent holds a threaded tensor library, which does not survive a fork.
    with ProcessPoolExecutor(count, get_context("spawn"), _begin, (path, master_key)) as pool:
        try:
            yield lambda gallery, since, upto: pool.submit(_read, gallery, since, upto)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def read_ahead(
    submit: _Submit, gallery: str, bounds: Iterable[int], pass_over: PassOver
) -> Iterator[Stretch]:
    """The history from its beginning in stretches that end at the bounds, in order.

    Ends early where a process fails: what it failed at is then met by whoever reads on.
    """
    begun: deque[Future[_Read]] = deque()
    since = 0
    try:
        for upto in bounds:
            begun.append(submit(gallery, since, upto))
            since = upto
            if len(begun) > AHEAD_A_PROCESS * usable_processors():
                yield _told(begun.popleft().result(), pass_over)
        while begun:
            yield _told(begun.popleft().result(), pass_over)
    except Exception as error:
        log.warning("gallery %s is read on by this process alone: %r", gallery, error)


def _told(read: _Read, pass_over: PassOver) -> Stretch:
    for label, problem in read.passed_over:
        pass_over(label, problem)
    return read.stretch


def _begin(path: Path, master_key: bytes) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends this process
    parent = parent_process()
    if parent is not None:  # do not outlive one that was killed
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    global _engine, _vault
    _engine, _vault = sqlite.for_reading(sqlite.create_engine(path)), Vault(master_key)


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _read(gallery: str, since: int, upto: int) -> _Read:
    passed: list[tuple[Label, str]] = []
    with _engine.begin() as connection:
        sealed = Sealed(connection, _vault)
        stretch = sealed.changed(
            gallery, since, upto, lambda label, problem: passed.append((label, str(problem)))
        )
    return _Read(stretch, passed)
