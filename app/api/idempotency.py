"""``Idempotency-Key``: a request that is sent again is answered again, not done again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Header
from pydantic import BaseModel

from app.core.clock import now_ms
from app.core.ports import Store
from app.core.records import Reply
from app.services.context import Actor
from app.services.idempotency import replay

Outcome = TypeVar("Outcome")

REPLAYED = {"Idempotency-Replayed": "true"}

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,255}$",
        description="Any string of yours; the same request sent again with it is done only once.",
    ),
]


@dataclass(frozen=True, slots=True)
class Call:
    """One request as far as idempotency is concerned."""

    actor: Actor
    key: str | None
    request_hash: str

    def replayed(self, store: Store) -> Reply | None:
        """What this very request was answered before, None where it is new or has no key.

        Raises:
            Conflict: the key was used for another request.
        """
        return replay(store, self.actor, self.key, self.request_hash)

    def keeper(
        self, status: int, render: Callable[[Outcome], str]
    ) -> Callable[[Outcome], Reply] | None:
        """What the use case calls, within its transaction, to get the answer that is kept."""
        key = self.key
        if key is None:
            return None

        def reply(outcome: Outcome) -> Reply:
            body = render(outcome)
            return Reply(self.actor.id, key, self.request_hash, status, body, now_ms())

        return reply


def call(actor: Actor, key: str | None, operation: str, body: BaseModel) -> Call:
    """Tell requests apart by what was asked, not by bytes: a form's boundary is new every time."""
    if key is None:
        return Call(actor, None, "")
    asked = json.dumps([operation, body.model_dump(mode="python")], default=_stand_in)
    return Call(actor, key, hashlib.sha256(asked.encode()).hexdigest())


def _stand_in(value: Any) -> str:
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    return str(value)
