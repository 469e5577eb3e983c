"""Which model is champion, candidate, previous."""

from __future__ import annotations

import sqlalchemy as sa

from app.core.records import ModelAlias
from app.storage.tables import aliases


class SqlAliases:
    """Implements ``ports.Aliases``."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def get(self, alias: ModelAlias) -> str | None:
        """The id of the model that the alias points at, or None."""
        query = sa.select(aliases.c.model_id).where(aliases.c.alias == alias)
        return self._connection.scalar(query)

    def set(self, alias: ModelAlias, model_id: str | None) -> None:
        """Point the alias at a model, or at none."""
        self._connection.execute(sa.delete(aliases).where(aliases.c.alias == alias))
        if model_id is not None:
            self._connection.execute(sa.insert(aliases).values(alias=alias, model_id=model_id))
