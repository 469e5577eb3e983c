"""The records of uploaded data sets, and the keys of their images."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from app.core.datasets import Dataset
from app.core.errors import Conflict, NotFound
from app.storage.history import History
from app.storage.tables import datasets, key_slots, record_of, row_of


class SqlDatasets:
    """Implements ``core.datasets.Datasets``."""

    def __init__(self, connection: sa.Connection, history: History) -> None:
        self._connection = connection
        self._history = history

    def get(self, dataset_id: str) -> Dataset | None:
        """A data set, or None."""
        found = self._all(sa.select(datasets).where(datasets.c.id == dataset_id))
        return found[0] if found else None

    def key(self, dataset_id: str) -> bytes:
        """The wrapped key of its images.

        Raises:
            NotFound: there is no such data set (slug ``dataset_not_found``).
        """
        query = (
            sa.select(key_slots.c.wrapped_key)
            .join(datasets, key_slots.c.slot == datasets.c.key_slot)
            .where(datasets.c.id == dataset_id)
        )
        key: bytes | None = self._connection.scalar(query)
        if key is None:
            raise NotFound(f"There is no data set {dataset_id}.", slug="dataset_not_found")
        return key

    def add(self, dataset: Dataset, wrapped_key: bytes) -> None:
        """Add a data set.

        Raises:
            Conflict: there is one of this id (slug ``dataset_exists``).
        """
        if self.get(dataset.id) is not None:
            raise Conflict(f"Data set {dataset.id} exists already.", slug="dataset_exists")
        new_slot = sa.insert(key_slots).values(wrapped_key=wrapped_key).returning(key_slots.c.slot)
        slot = self._connection.execute(new_slot).scalar_one()
        self._connection.execute(sa.insert(datasets).values(row_of(dataset, key_slot=slot)))

    def page(self, after: str | None, limit: int) -> list[Dataset]:
        """Newest first (ids sort by creation); those older than ``after``."""
        query = sa.select(datasets).order_by(datasets.c.id.desc()).limit(limit)
        return self._all(query if after is None else query.where(datasets.c.id < after))

    def ids(self) -> list[str]:
        """All of them, oldest first."""
        return list(self._connection.scalars(sa.select(datasets.c.id).order_by(datasets.c.id)))

    def delete(self, dataset_id: str) -> bool:
        """Remove the record and clear the key in place; false where there was none."""
        gone = self._connection.execute(sa.delete(datasets).where(datasets.c.id == dataset_id))
        self._history.erased |= gone.rowcount == 1
        return gone.rowcount == 1

    def _all(self, query: sa.Select[Any]) -> list[Dataset]:
        return [record_of(Dataset, row) for row in self._connection.execute(query)]
