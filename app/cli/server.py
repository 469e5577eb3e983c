"""The HTTP server as ``whorl serve`` runs it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn
from rich.console import Console


class AnnouncedServer(uvicorn.Server):
    """Says where it listens once it does, and lets event streams end at the first signal.

    Args:
        first_key: makes the admin key at the very first start and gives its token, else None.
            Asked only while the server listens: a start that fails before, or is broken off,
            must not use up the one key that is ever shown.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        console: Console,
        first_key: Callable[[], str | None],
        stopping: threading.Event,
    ) -> None:
        super().__init__(config)
        self._console, self._first_key, self._stopping = console, first_key, stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, then announce the address and, at the very first start, the key."""
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            address = f"http://{'[' + host + ']' if ':' in host else host}:{port}"
            self._announce(address, self._first_key())

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Tell the streams and the follower, then end as uvicorn does."""
        self._stopping.set()
        super().handle_exit(sig, frame)

    def _announce(self, address: str, admin_key: str | None) -> None:
        self._console.print(
            f"Whorl listens on {address} (documentation: {address}/docs)",
            style="bold",
            soft_wrap=True,
        )
        if admin_key is not None:
            self._console.print(
                "Admin key, shown this once: keep it safe, make keys with less scope from it",
                style="yellow",
            )
            # plain, unwrapped and without markup, so that it can be copied whole
            self._console.out(admin_key, highlight=False)
