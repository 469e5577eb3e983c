"""How much recognition is under way at a time: whoever comes beyond that is told at once."""

from __future__ import annotations

from anyio.to_thread import current_default_thread_limiter

from app.core.errors import Overloaded

_OTHER_THREADS = 24
"""For keys, resources and event streams, which must not wait for recognition."""


class Places:
    """So many requests may be recognised at a time, waiting or at work; for one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0

    def require_one(self) -> None:
        """Make sure that there is a place left.

        Raises:
            Overloaded: all are taken.
        """
        if self._taken >= self._most:
            raise Overloaded(
                f"{self._most} requests wait for recognition already; try again in a second, or "
                "raise WHORL_QUEUE_LIMIT where longer waits are better than refusals"
            )

    def take(self) -> None:
        """Take a place.

        Raises:
            Overloaded: all are taken.
        """
        self.require_one()
        self._taken += 1

    def give_back(self) -> None:
        """Give a place back that was taken."""
        self._taken -= 1

    def provide_threads(self) -> None:
        """Have a thread for every place, and some for all else; within the event loop."""
        limiter = current_default_thread_limiter()
        limiter.total_tokens = max(limiter.total_tokens, self._most + _OTHER_THREADS)
