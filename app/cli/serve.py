"""``whorl serve`` and ``whorl worker``: the two processes of the service."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from app.cli.logs import set_up_logs
from app.cli.worker_process import (
    SHORT_OF_MEMORY,
    leave,
    limit,
    stay_alive_with,
    worker_process,
)
from app.settings import Settings

if TYPE_CHECKING:
    from app.worker.loop import Worker

log = logging.getLogger(__name__)


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
        with _worker_beside(settings, stopping) if worker else contextlib.nullcontext():
            started = _run_api(settings, stopping)
    except KeyboardInterrupt:  # uvicorn raises the signal again once it has ended in order
        return
    if not started:
        raise typer.Exit(1)


def _worker_beside(
    settings: Settings, stopping: threading.Event
) -> contextlib.AbstractContextManager[None]:
    from app.storage import is_held_up

    return worker_process(stopping, partial(is_held_up, settings.database))


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
    alive: Annotated[
        int | None, typer.Option(hidden=True, help="Descriptor to write signs of life to.")
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(hidden=True, help="The worker before, which is dead: its pid and its end."),
    ] = None,
) -> None:
    """Work off jobs until stopped: training, re-embedding, calibration."""
    settings = Settings()
    set_up_logs(settings.log_level, settings.log_format)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    watch = (parent, alive, stopping)
    threading.Thread(target=stay_alive_with, args=watch, daemon=True).start()
    from app.worker.exhaustion import passing_failure

    limit(settings.worker_nice, settings.worker_memory_mb)
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(_opened_worker(settings, stopping, after))
        except Exception as error:
            if passing_failure(error) is None:
                raise
            bound = f"WHORL_WORKER_MEMORY_MB={settings.worker_memory_mb}"
            log.error("the worker cannot start with %s: %s", bound, error)
            raise typer.Exit(SHORT_OF_MEMORY) from None
        running.run()


def _opened_worker(
    settings: Settings, stopping: threading.Event, after: str | None
) -> contextlib.AbstractContextManager[Worker]:
    from app.bootstrap.worker import DeadWorker, open_worker

    dead = None
    if after is not None:
        pid, _, end = after.partition(":")
        dead = DeadWorker(int(pid), end)
    return open_worker(settings, stopping, partial(leave, stopping), dead)


def _settings(host: str | None, port: int | None) -> Settings:
    given = {"host": host, "port": port}
    return Settings(**{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
