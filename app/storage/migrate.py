"""Numbered migrations: plain SQL files, applied in order, each in a transaction of its own."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files

import sqlalchemy as sa

from app.core.clock import now_ms
from app.core.errors import WhorlError
from app.storage.sqlite import for_writing

_TABLE = """
CREATE TABLE IF NOT EXISTS migrations (
    version INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    applied_ms INTEGER NOT NULL
) STRICT
"""

_migrations = sa.table(
    "migrations",
    sa.column("version", sa.Integer),
    sa.column("name", sa.Text),
    sa.column("sha256", sa.Text),
    sa.column("applied_ms", sa.BigInteger),
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema."""

    version: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """Checksum of the statements, whatever the line ends of the checkout."""
        return hashlib.sha256("\n".join(self.sql.splitlines()).encode()).hexdigest()


def known_migrations() -> list[Migration]:
    """The migrations that came with this code, in order."""
    folder = files("app.storage") / "migrations"
    found = [entry for entry in folder.iterdir() if entry.name.endswith(".sql")]
    return [
        Migration(int(entry.name.split("_", 1)[0]), entry.name, entry.read_text("utf-8"))
        for entry in sorted(found, key=lambda entry: entry.name)
    ]


def migrate(engine: sa.Engine, known: Sequence[Migration]) -> None:
    """Bring the store to the newest schema; several processes may try at once.

    Raises:
        WhorlError: the store was written by newer code (slug ``store_too_new``), or its history is
            not that of this code (``store_damaged``).
    """
    pending = True
    while pending:
        # What is pending is read under the write lock that it is applied under.
        with for_writing(engine).begin() as connection:
            todo = _pending(connection, known)
            for migration in todo[:1]:
                _apply(connection, migration)
        pending = len(todo) > 1


def _pending(connection: sa.Connection, known: Sequence[Migration]) -> Sequence[Migration]:
    connection.exec_driver_sql(_TABLE)
    applied = connection.execute(sa.select(_migrations).order_by(_migrations.c.version)).all()
    newest = known[-1].version
    if applied and applied[-1].version > newest:
        raise WhorlError(
            f"The store has schema {applied[-1].version}, this release knows {newest} at most; "
            "start a newer release or restore an older backup.",
            slug="store_too_new",
            found=applied[-1].version,
            known=newest,
        )
    for row, migration in zip(applied, known, strict=False):
        if (row.version, row.sha256) != (migration.version, migration.sha256):
            raise WhorlError(
                f"Schema step {row.version} ({row.name}) of the store is not the one of this "
                "release; restore a backup or start the release that wrote the store.",
                slug="store_damaged",
                version=row.version,
            )
    return known[len(applied) :]


def _apply(connection: sa.Connection, migration: Migration) -> None:
    for statement in _statements(migration.sql):
        connection.exec_driver_sql(statement)
    connection.execute(
        sa.insert(_migrations).values(
            version=migration.version,
            name=migration.name,
            sha256=migration.sha256,
            applied_ms=now_ms(),
        )
    )


def _statements(sql: str) -> Iterator[str]:
    """Split a script: the driver's own ``executescript`` would commit what is under way."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement
