"""Calibrations of models on the site's own data: of each model the newest and the applied one."""

from __future__ import annotations

import sqlalchemy as sa

from app.core.errors import NotFound
from app.core.records import SiteCalibration
from app.storage.tables import record_of, row_of
from app.storage.tables import site_calibrations as table


class SqlCalibrations:
    """Implements ``ports.Calibrations``."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def newest(self, model_id: str) -> SiteCalibration | None:
        """What was measured last for a model, applied or not."""
        query = sa.select(table).where(table.c.model_id == model_id)
        return self._first(query.order_by(table.c.made_ms.desc(), table.c.id.desc()))

    def applied(self, model_id: str) -> SiteCalibration | None:
        """What the model's decisions are made by, where it is not its own table."""
        return self._first(sa.select(table).where(table.c.model_id == model_id, _is_applied()))

    def versions(self) -> dict[str, str]:
        """Model id -> ``version`` of the calibration that is applied to it."""
        rows = self._connection.execute(sa.select(table).where(_is_applied()))
        return {row.model_id: record_of(SiteCalibration, row).version for row in rows}

    def add(self, made: SiteCalibration) -> None:
        """Keep what was measured; it takes the place of earlier ones that are not applied."""
        self._connection.execute(sa.insert(table).values(row_of(made)))
        self._prune(made.model_id)

    def apply(self, calibration_id: str, now_ms: int, *, replaces: bool) -> None:
        """Let the model's decisions be made by it, in place of any other.

        Raises:
            NotFound: there is none of that id (slug ``calibration_not_found``).
        """
        wanted = self._first(sa.select(table).where(table.c.id == calibration_id))
        if wanted is None:
            raise NotFound(
                f"There is no calibration {calibration_id!r}.", slug="calibration_not_found"
            )
        self._set_aside(wanted.model_id)
        change = sa.update(table).where(table.c.id == calibration_id)
        self._connection.execute(change.values(applied_ms=now_ms, replaces=replaces))
        self._prune(wanted.model_id)

    def withdraw(self, model_id: str) -> bool:
        """Let decisions be made by the model's own table again; false where they were already."""
        found = self._set_aside(model_id)
        self._prune(model_id)
        return found

    def _set_aside(self, model_id: str) -> bool:
        change = sa.update(table).where(table.c.model_id == model_id, _is_applied())
        done = self._connection.execute(change.values(applied_ms=None, replaces=False))
        return done.rowcount > 0

    def _prune(self, model_id: str) -> None:
        newest = self.newest(model_id)
        if newest is not None:
            gone = sa.delete(table).where(table.c.model_id == model_id, table.c.id != newest.id)
            self._connection.execute(gone.where(~_is_applied()))

    def _first(self, query: sa.Select[tuple[object, ...]]) -> SiteCalibration | None:
        row = self._connection.execute(query.limit(1)).one_or_none()
        return None if row is None else record_of(SiteCalibration, row)


def _is_applied() -> sa.ColumnElement[bool]:
    return table.c.applied_ms.is_not(None)
