"""The worker as a process: watched by the one that started it, limited, left for a fresh one."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

log = logging.getLogger(__name__)

RESTART_AFTER_S = 2.0
SHORT_OF_MEMORY = 75
"""Exit code of a worker that has not the memory to start, and will not have it in two seconds."""
SHORT_RESTART_AFTER_S = 60.0
ENDS_IN_S = 20.0
LOOK_S = 0.2
ALIVE_S = 1.0
FROZEN_S = 20.0
"""Less than a lease, so that a frozen worker's job is taken up again by its end."""
HOLDING_S = 4.0
"""So soon where the store is held up meanwhile: requests wait ten seconds for it, no longer."""
HUNG = "an import that gets no memory may hang so"
HELD_UP = "nobody could write to the store meanwhile"
MIB = 2**20

HeldUp = Callable[[], bool]


@contextlib.contextmanager
def worker_process(stopping: threading.Event, held_up: HeldUp) -> Iterator[None]:
    """A worker beside this process, started again when it dies or freezes.

    Args:
        held_up: whether somebody keeps all others from writing to the store.
    """
    running: list[subprocess.Popen[bytes]] = []
    keeper = threading.Thread(target=_keep, args=(running, stopping, held_up), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        stopping.set()
        keeper.join()
        for process in running:
            _end(process)


@dataclass(frozen=True, slots=True)
class Watched:
    """A process, and the pipe through which it tells that it is alive."""

    process: subprocess.Popen[bytes]
    pipe: int


@contextlib.contextmanager
def started(command: list[str]) -> Iterator[Watched]:
    """Start a process that is told in ``--alive`` where to write its signs of life."""
    read_end, write_end = os.pipe()
    try:
        process = subprocess.Popen([*command, "--alive", str(write_end)], pass_fds=(write_end,))
    finally:
        os.close(write_end)
    try:
        yield Watched(process, read_end)
    finally:
        os.close(read_end)


def watched_to_its_end(
    watched: Watched,
    stopping: threading.Event,
    frozen_s: float = FROZEN_S,
    held_up: HeldUp = lambda: False,
) -> str | None:
    """Watch a process; how it ended, in words, or None once ``stopping`` is set.

    One that gives no sign of life for ``frozen_s`` is killed, and sooner where the store is held
    up: it may have been frozen while it wrote. The time counts in looks without a sign, not by the
    clock: where both processes were frozen, nobody is to blame.
    """
    silent_s = 0.0
    while not stopping.is_set():
        if select.select([watched.pipe], [], [], LOOK_S)[0]:
            silent_s = 0.0
            if not os.read(watched.pipe, 4096):  # closed: it is about to end
                stopping.wait(LOOK_S)
        else:
            silent_s += LOOK_S
        if watched.process.poll() is not None:
            return _words_of(watched.process.returncode)
        holding = silent_s >= HOLDING_S and held_up()
        if holding or silent_s >= frozen_s:
            watched.process.kill()
            watched.process.wait()
            why = HELD_UP if holding else HUNG
            return f"The worker gave no sign of life for {silent_s:.0f} s and was killed; {why}."
    return None


def _words_of(status: int) -> str:
    if status == SHORT_OF_MEMORY:
        return "The worker has not the memory to start (WHORL_WORKER_MEMORY_MB)."
    if status >= 0:
        return f"The worker ended by itself with exit code {status}."
    by = signal.Signals(-status)
    short = ", as a tensor library may be that gets no memory"
    why = {
        signal.SIGKILL: ", as the kernel does where memory runs out",
        signal.SIGABRT: short,
        signal.SIGSEGV: short,
    }
    return f"The worker was ended by {by.name}{why.get(by, '')}."


def _keep(
    running: list[subprocess.Popen[bytes]], stopping: threading.Event, held_up: HeldUp
) -> None:
    command = [sys.executable, "-m", "app.cli", "worker", "--parent", str(os.getpid())]
    before: list[str] = []
    while not stopping.is_set():
        with started([*command, *before]) as watched:
            running[:] = [watched.process]
            end = watched_to_its_end(watched, stopping, held_up=held_up)
        if end is not None:
            pause_s = pause_after(watched.process.returncode)
            log.error("%s Starting another in %.0f s.", end, pause_s)
            before = ["--after", f"{watched.process.pid}:{end}"]
            stopping.wait(pause_s)


def pause_after(status: int) -> float:
    """Seconds to wait before a worker that ended so is followed by another."""
    return SHORT_RESTART_AFTER_S if status == SHORT_OF_MEMORY else RESTART_AFTER_S


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(ENDS_IN_S)
    except subprocess.TimeoutExpired:
        log.warning("the worker does not end; killing it")
        process.kill()
        process.wait()


def stay_alive_with(parent: int | None, alive: int | None, stopping: threading.Event) -> None:
    """In the worker: give signs of life, and stop when the process that started it is gone.

    A worker whose API was killed would go on alone and meet a second one at the restart.
    """
    while not stopping.wait(ALIVE_S):
        if alive is not None:
            with contextlib.suppress(OSError):  # nobody reads any more: the look below tells
                os.write(alive, b".")
        if parent is not None and os.getppid() != parent:
            log.warning("the process that started this worker is gone")
            stopping.set()


def limit(nice: int, memory_mb: int) -> None:
    """In the worker: give way to the API, and bound the memory.

    Bounded is what the process may write to (RLIMIT_DATA), not its address space: a tensor library
    maps several times what it uses. Processes that grow prints inherit the bound, each for itself.

    Args:
        nice: least niceness; one that the process has been given already is not taken back.
        memory_mb: MiB; 0 for no bound.
    """
    import resource

    os.setpriority(os.PRIO_PROCESS, 0, max(nice, os.getpriority(os.PRIO_PROCESS, 0)))
    if memory_mb:
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = memory_mb * MIB
        bound = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(resource.RLIMIT_DATA, (bound, most))


def leave(stopping: threading.Event) -> None:
    """In the worker: go on as a fresh process, or end where it is to stop; does not return.

    Whatever the process is busy with is left behind. Its number stays, so that the one that started
    it notices nothing; the processes that it started end with their pipes.
    """
    logging.shutdown()
    if stopping.is_set():
        os._exit(0)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
