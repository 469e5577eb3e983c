"""What every use case is given: who asks, and the rooms it may work with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.core.ports import LiveModels, Store
from app.core.records import Scope
from app.imaging.decode import ImageLimits
from app.services.indexes import SearchIndexes


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: the key's id (or ``cli``, ``worker``), its scopes, the request's id."""

    id: str
    scopes: frozenset[Scope]
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Recognition:
    """Everything that enrolment, verification and identification need."""

    store: Store
    models: LiveModels
    indexes: SearchIndexes
    limits: ImageLimits
    minimum_quality: int


Timings = Mapping[str, float]
"""Milliseconds by stage: decode, prepare, queue, embed, match, store, total."""
