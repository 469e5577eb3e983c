"""Time and identifiers."""

from __future__ import annotations

import secrets
import time


def now_ms() -> int:
    """Milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """A random identifier that sorts by creation: 11 hex digits of time, 15 of randomness."""
    return f"{now_ms():011x}{secrets.token_hex(8)[:15]}"
