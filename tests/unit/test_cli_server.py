"""The server as ``whorl serve`` runs it: what it says, and when the admin key is made."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from rich.console import Console
from starlette.types import Receive, Scope, Send

from app.cli.server import AnnouncedServer
from app.core.ports import Store
from app.services.keys import authenticate, ensure_admin_key
from app.storage import open_store


async def nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """An application without anything."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "whorl.sqlite3", bytes(32))
    yield opened
    opened.close()


@contextmanager
def listening() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def server(store: Store, said: io.StringIO, port: int = 0) -> AnnouncedServer:
    config = uvicorn.Config(nothing, port=port, lifespan="off", log_config=None)
    console = Console(file=said, width=40)
    return AnnouncedServer(config, console, lambda: ensure_admin_key(store), threading.Event())


def start_and_stop(made: AnnouncedServer) -> None:
    async def run() -> None:
        if not made.config.loaded:
            made.config.load()
        made.lifespan = made.config.lifespan_class(made.config)
        await made.startup()
        await made.shutdown()

    asyncio.run(run())


def test_the_key_of_the_first_start_stands_whole_on_a_line_of_its_own(store: Store) -> None:
    said = io.StringIO()
    start_and_stop(server(store, said))
    token = said.getvalue().splitlines()[-1]
    assert "listens on http://127.0.0.1:" in said.getvalue()
    key = authenticate(store, token)
    assert key is not None
    assert key.name == "admin"
    again = io.StringIO()
    start_and_stop(server(store, again))
    assert "whorl_" not in again.getvalue()


def test_a_start_that_fails_does_not_use_up_the_key(store: Store) -> None:
    said = io.StringIO()
    with listening() as port, pytest.raises(SystemExit):
        start_and_stop(server(store, said, port))
    assert said.getvalue() == ""
    with store.read() as tx:
        assert tx.keys.list() == []
    assert ensure_admin_key(store) is not None
