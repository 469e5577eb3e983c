"""Answers kept for idempotency keys, so that a request sent twice is done once."""

from __future__ import annotations

from app.core.errors import Conflict
from app.core.ports import Store, Transaction
from app.core.records import Reply
from app.services.context import Actor

KEPT_MS = 24 * 3600 * 1000


def replay(store: Store, actor: Actor, key: str | None, request_hash: str) -> Reply | None:
    """The answer this actor already got under this key, None where there is none.

    Raises:
        Conflict: the key was used for another request.
    """
    if key is None:
        return None
    with store.read() as tx:
        reply = tx.replies.get(actor.id, key)
    if reply is not None and reply.request_hash != request_hash:
        raise Conflict(
            "this Idempotency-Key was used for a different request; take a new one",
            slug="idempotency_key_reused",
        )
    return reply


def keep(tx: Transaction, reply: Reply) -> None:
    """Store an answer in the transaction that makes it true; answers of yesterday are dropped.

    Raises:
        Conflict: the same key was answered while this request was under way.
    """
    tx.replies.prune(reply.created_ms - KEPT_MS)
    if tx.replies.get(reply.actor, reply.idempotency_key) is not None:
        raise Conflict(
            "a request with this Idempotency-Key was answered meanwhile; send it again to get "
            "that answer",
            slug="idempotency_key_in_use",
        )
    tx.replies.add(reply)
