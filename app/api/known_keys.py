"""Keys that were good when they were last checked, to be told from strangers before the check."""

from __future__ import annotations

from hashlib import sha256

from fastapi.security.utils import get_authorization_scheme_param
from starlette.datastructures import Headers
from starlette.types import Scope

_MOST = 4096


class KnownKeys:
    """Hashes of tokens that passed; for one event loop and the threads that check keys.

    Nobody is let in by it: it tells for whom it is worth to keep a place until the key is checked.
    """

    def __init__(self) -> None:
        self._hashes: set[bytes] = set()

    def note(self, token: str, *, is_good: bool) -> None:
        """Remember what a check has found."""
        if not is_good:
            self._hashes.discard(_hash(token))
            return
        if len(self._hashes) >= _MOST:  # far more than a site has: revoked ones, mostly
            self._hashes.clear()
        self._hashes.add(_hash(token))

    def has_key_of(self, scope: Scope) -> bool:
        """Whether a request bears a key that was good."""
        headers = Headers(scope=scope)
        scheme, bearer = get_authorization_scheme_param(headers.get("authorization"))
        is_bearer = scheme.lower() == "bearer" and bearer
        token = bearer if is_bearer else headers.get("x-api-key", "")
        return _hash(token) in self._hashes


def _hash(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
