"""The append-only audit log, and the answers kept for idempotency keys."""

from __future__ import annotations

import sqlalchemy as sa

from app.core.errors import Conflict
from app.core.records import AuditEvent, Reply
from app.storage.tables import audit, record_of, replies, row_of

# Every verification executes it. Made once: to make and hash a query takes longer than its rows do.
_RECORD = sa.insert(audit)


class SqlAuditLog:
    """Implements ``ports.AuditLog``; triggers keep its rows from being changed or deleted."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def record(self, event: AuditEvent) -> None:
        """Append an event; its sequence number is given here."""
        row = {name: value for name, value in row_of(event).items() if name != "seq"}
        self._connection.execute(_RECORD, row)

    def has(self, action: str, subject: str) -> bool:
        """Whether that was ever done to it."""
        found = sa.select(audit.c.seq).where(audit.c.action == action, audit.c.subject == subject)
        return self._connection.execute(found.limit(1)).first() is not None

    def page(self, after: int | None, limit: int) -> list[AuditEvent]:
        """Newest first; those with a sequence number below ``after``."""
        query = sa.select(audit).order_by(audit.c.seq.desc()).limit(limit)
        if after is not None:
            query = query.where(audit.c.seq < after)
        return [record_of(AuditEvent, row) for row in self._connection.execute(query)]


class SqlReplies:
    """Implements ``ports.Replies``."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def get(self, actor: str, idempotency_key: str) -> Reply | None:
        """The answer given to this actor under this key, or None."""
        query = sa.select(replies).where(
            replies.c.actor == actor, replies.c.idempotency_key == idempotency_key
        )
        row = self._connection.execute(query).one_or_none()
        return None if row is None else record_of(Reply, row)

    def add(self, reply: Reply) -> None:
        """Keep an answer.

        Raises:
            Conflict: the actor has an answer under this key (slug ``reply_exists``).
        """
        if self.get(reply.actor, reply.idempotency_key) is not None:
            raise Conflict(
                f"A request with idempotency key {reply.idempotency_key!r} was answered already.",
                slug="reply_exists",
            )
        self._connection.execute(sa.insert(replies).values(row_of(reply)))

    def prune(self, before_ms: int) -> None:
        """Forget the answers given before a time."""
        self._connection.execute(sa.delete(replies).where(replies.c.created_ms < before_ms))
