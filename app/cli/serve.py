"""``whorl serve`` and ``whorl worker``: the two processes of the service."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console

from app.cli.logs import set_up_logs
from app.settings import Settings

log = logging.getLogger(__name__)

RESTART_AFTER_S = 2.0
WORKER_ENDS_IN_S = 20.0


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (WHORL_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (WHORL_PORT).")] = None,
    worker: Annotated[
        bool, typer.Option(help="Run the training worker as a second process.")
    ] = True,
) -> None:
    """Serve the API, with the training worker beside it; Ctrl-C ends both."""
    settings = _settings(host, port)
    set_up_logs(settings.log_level, settings.log_format)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with _worker_process(stopping) if worker else contextlib.nullcontext():
            started = _run_api(settings, stopping)
    except KeyboardInterrupt:  # uvicorn raises the signal again once it has ended in order
        return
    if not started:
        raise typer.Exit(1)


def _run_api(settings: Settings, stopping: threading.Event) -> bool:
    import uvicorn

    from app.api.app import create_app
    from app.bootstrap.api import open_api
    from app.cli.server import AnnouncedServer
    from app.services.keys import ensure_admin_key

    with open_api(settings, stopping) as services:
        store = services.recognition.store
        config = uvicorn.Config(
            create_app(services),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=10,
        )
        server = AnnouncedServer(
            config, Console(stderr=True), lambda: ensure_admin_key(store), stopping
        )
        server.run()
        return server.started


def _interrupt(*_: object) -> None:
    """SIGTERM ends the process as Ctrl-C does: everything that was opened is closed."""
    raise KeyboardInterrupt


def worker(
    parent: Annotated[int | None, typer.Option(hidden=True, help="End with this process.")] = None,
) -> None:
    """Work off training jobs until stopped."""
    settings = Settings()
    set_up_logs(settings.log_level, settings.log_format)
    from app.bootstrap.worker import open_worker

    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    if parent is not None:
        threading.Thread(target=_stop_without, args=(parent, stopping), daemon=True).start()
    with open_worker(settings, stopping) as running:
        running.run()


def _settings(host: str | None, port: int | None) -> Settings:
    given = {"host": host, "port": port}
    return Settings(**{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]


def _stop_without(parent: int, stopping: threading.Event) -> None:
    """A worker whose API was killed would go on alone and meet a second worker at the restart."""
    while not stopping.wait(1.0):
        if os.getppid() != parent:
            log.warning("the process that started this worker is gone")
            stopping.set()


@contextlib.contextmanager
def _worker_process(stopping: threading.Event) -> Iterator[None]:
    """A worker beside this process, started again when it dies."""
    running: list[subprocess.Popen[bytes]] = []
    keeper = threading.Thread(target=_keep, args=(running, stopping), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        stopping.set()
        keeper.join()
        for process in running:
            _end(process)


def _keep(running: list[subprocess.Popen[bytes]], stopping: threading.Event) -> None:
    while not stopping.is_set():
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "worker", "--parent", str(os.getpid())]
        )
        running[:] = [process]
        while not stopping.wait(0.2):
            if process.poll() is not None:
                log.error("the worker ended with %s; starting another", process.returncode)
                break
        stopping.wait(RESTART_AFTER_S)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(WORKER_ENDS_IN_S)
    except subprocess.TimeoutExpired:
        log.warning("the worker does not end; killing it")
        process.kill()
        process.wait()
