"""API keys: only hashes of their secrets are ever here."""

from __future__ import annotations

import sqlalchemy as sa

from app.core.errors import Conflict
from app.core.records import ApiKey
from app.storage.tables import keys, record_of, row_of

# Every verification executes it. Made once: to make and hash a query takes longer than its rows do.
_OF_ID = sa.select(keys).where(keys.c.id == sa.bindparam("id"))


class SqlKeys:
    """Implements ``ports.Keys``."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def get(self, key_id: str) -> ApiKey | None:
        """A key, revoked or not, or None."""
        row = self._connection.execute(_OF_ID, {"id": key_id}).one_or_none()
        return None if row is None else record_of(ApiKey, row)

    def list(self) -> list[ApiKey]:
        """All keys, oldest first."""
        rows = self._connection.execute(sa.select(keys).order_by(keys.c.created_ms, keys.c.id))
        return [record_of(ApiKey, row) for row in rows]

    def add(self, key: ApiKey) -> None:
        """Add a key.

        Raises:
            Conflict: there is a key of this id (slug ``key_exists``).
        """
        if self.get(key.id) is not None:
            raise Conflict(f"Key {key.id} exists already.", slug="key_exists", key_id=key.id)
        self._connection.execute(sa.insert(keys).values(row_of(key)))

    def revoke(self, key_id: str, now_ms: int) -> bool:
        """Revoke a key for good; false where there is none. The first time of it stays."""
        since = sa.func.coalesce(keys.c.revoked_ms, now_ms)
        change = sa.update(keys).where(keys.c.id == key_id).values(revoked_ms=since)
        return self._connection.execute(change).rowcount == 1
