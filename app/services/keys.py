"""API keys: made, checked, revoked. Only a hash of the secret is ever stored."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable

from app.core.clock import now_ms
from app.core.errors import InvalidInput, NotFound
from app.core.ports import Store, Transaction
from app.core.records import ApiKey, Scope
from app.services import audit
from app.services.context import Actor

PREFIX = "whorl"
SECRET_BYTES = 32
MAXIMUM_NAME = 100
_KEY_ID = re.compile(r"[0-9a-f]{16}")
# What an unknown key is compared with, so that it takes the way of a wrong secret.
_NO_HASH = "0" * 64


def create_key(
    store: Store, actor: Actor, name: str, scopes: Iterable[Scope]
) -> tuple[ApiKey, str]:
    """Make a key; the token is shown now and never again.

    Raises:
        InvalidInput: the name is empty or too long, no scope is given, or one that the actor does
            not have.
    """
    granted = frozenset(scopes)
    if not 1 <= len(name.strip()) <= MAXIMUM_NAME:
        raise InvalidInput(f"a key's name has 1 to {MAXIMUM_NAME} characters", slug="invalid_name")
    if not granted:
        raise InvalidInput("a key needs at least one scope", slug="no_scopes")
    beyond = sorted(granted - actor.scopes)
    if beyond:
        raise InvalidInput(
            f"a key can only grant scopes it has itself; missing: {', '.join(beyond)}",
            slug="scope_not_held",
            missing=beyond,
        )
    with store.write() as tx:
        return _create(tx, actor, name.strip(), granted)


def authenticate(store: Store, token: str) -> ApiKey | None:
    """The key of this token; None where it is malformed, unknown, wrong or revoked.

    The secret is compared in constant time, also where there is no such key.
    """
    prefix, _, rest = token.partition("_")
    key_id, _, secret = rest.partition("_")
    with store.read() as tx:
        key = tx.keys.get(key_id) if _KEY_ID.fullmatch(key_id) else None
    genuine = hmac.compare_digest(_hash(secret), key.secret_hash if key else _NO_HASH)
    if key is None or not genuine or prefix != PREFIX or key.revoked_ms is not None:
        return None
    return key


def revoke_key(store: Store, actor: Actor, key_id: str) -> None:
    """Revoke a key for good; revoking it again changes nothing.

    Raises:
        NotFound: there is no such key.
    """
    with store.write() as tx:
        key = tx.keys.get(key_id)
        if key is None:
            raise NotFound(f"there is no key {key_id!r}", slug="key_not_found")
        if key.revoked_ms is None:
            tx.keys.revoke(key_id, now_ms())
            tx.audit.record(audit.event(actor, "key.revoked", key_id, name=key.name))


def list_keys(store: Store) -> list[ApiKey]:
    """All keys, revoked ones included."""
    with store.read() as tx:
        return tx.keys.list()


def ensure_admin_key(store: Store) -> str | None:
    """Make the first key, with every scope, where none has ever existed; its token, else None."""
    with store.write() as tx:
        if tx.keys.list():
            return None
        return _create(tx, audit.SYSTEM, "admin", frozenset(Scope))[1]


def _create(
    tx: Transaction, actor: Actor, name: str, scopes: frozenset[Scope]
) -> tuple[ApiKey, str]:
    # Hex, so that the underscore parts the token.
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(SECRET_BYTES)
    key = ApiKey(key_id, name, _hash(secret), scopes, now_ms())
    tx.keys.add(key)
    tx.audit.record(
        audit.event(actor, "key.created", key_id, name=name, scopes=sorted(str(s) for s in scopes))
    )
    return key, f"{PREFIX}_{key_id}_{secret}"


def _hash(secret: str) -> str:
    """SHA-256 is enough: 256 random bits cannot be guessed, so there is nothing to slow down."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
