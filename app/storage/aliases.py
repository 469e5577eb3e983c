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

    def job_of(self, alias: ModelAlias) -> str | None:
        """The id of the job that the alias was pointed together with, or None."""
        return self._connection.scalar(sa.select(aliases.c.job_id).where(aliases.c.alias == alias))

    def set(self, alias: ModelAlias, model_id: str | None, job_id: str | None = None) -> None:
        """Point the alias at a model, or at none.

        Args:
            job_id: the job that has to end before the model may go where the alias says.
        """
        self._connection.execute(sa.delete(aliases).where(aliases.c.alias == alias))
        if model_id is not None:
            row = {"alias": alias, "model_id": model_id, "job_id": job_id}
            self._connection.execute(sa.insert(aliases).values(row))
