"""What is peculiar to SQLite: files, pragmas, how transactions begin, what its errors mean."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from app.core.errors import Overloaded, WhorlError

BUSY_MS = 10_000
_TRUNCATE_MS = 250
_OPTION = "whorl_begin"
_READ = ("PRAGMA query_only = ON", "BEGIN DEFERRED")
_WRITE = ("PRAGMA query_only = OFF", "BEGIN IMMEDIATE")
_PRAGMAS = (
    f"PRAGMA busy_timeout = {BUSY_MS}",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    # Deleted templates leave no trace: neither in free pages nor in temporary files.
    "PRAGMA secure_delete = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA trusted_schema = OFF",
)


def create_private(path: Path) -> None:
    """Make the database file and its folder readable by their owner alone.

    SQLite gives the files beside it (-wal, -shm) the permissions of the database file.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return


def switch_to_wal(path: Path) -> None:
    """Put the file into write-ahead mode, in which it then stays.

    SQLite does not wait for other processes here, so two that start at once need the patience.
    """
    deadline = time.monotonic() + BUSY_MS / 1000
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return


def create_engine(path: Path) -> sa.Engine:
    """An engine whose connections may wander between threads and begin as they are told to."""
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        # The driver's own transaction handling is off: see _begin.
        connect_args={"isolation_level": None, "check_same_thread": False},
        pool_size=8,
        max_overflow=-1,
    )
    sa.event.listen(engine, "connect", _set_pragmas)
    sa.event.listen(engine, "begin", _begin)
    return engine


def for_reading(engine: sa.Engine) -> sa.Engine:
    """The same connections; transactions see one state and cannot write."""
    return engine.execution_options(**{_OPTION: _READ})


def for_writing(engine: sa.Engine) -> sa.Engine:
    """The same connections; transactions hold the file's one write lock from their start."""
    return engine.execution_options(**{_OPTION: _WRITE})


def truncate_log(engine: sa.Engine) -> bool:
    """Move the write-ahead log into the database and empty it; false where readers hinder it."""
    with closing(engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(f"PRAGMA busy_timeout = {_TRUNCATE_MS}")
        try:
            busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.OperationalError:
            return False
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    return not busy


def is_held_up(path: Path, wait_s: float = 1.0) -> bool:
    """Whether somebody holds the file's one write lock for longer than writing takes.

    False where it cannot be told: whatever else is wrong with the file is found elsewhere.
    """
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(path, timeout=wait_s, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
    return False


@contextmanager
def named_errors() -> Iterator[None]:
    """Turn what the engine reports of locks, disk and file into named errors.

    Raises:
        Overloaded: another writer did not finish in time (slug ``store_busy``).
        WhorlError: the disk is full (``store_full``) or the file broken (``store_damaged``).
    """
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        named = _named(error.orig if isinstance(error, DBAPIError) else error)
        if named is None:
            raise
        raise named from error


def _named(error: BaseException | None) -> WhorlError | None:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Overloaded("Another process holds the store; try again.", slug="store_busy")
    if code == sqlite3.SQLITE_FULL:
        return WhorlError("The disk with the store is full; make room.", slug="store_full")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        detail = f"The store's file is damaged ({error}); restore it from a backup."
        return WhorlError(detail, slug="store_damaged")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR):
        detail = f"The store's file cannot be used ({error}); look at its path and permissions."
        return WhorlError(detail, slug="store_unusable")
    return None


def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _begin(connection: sa.Connection) -> None:
    # By the driver itself: SQLAlchemy takes ten times as long for each, at every transaction.
    driver = cast("sqlite3.Connection", connection.connection.driver_connection)
    for statement in connection.get_execution_options().get(_OPTION, _READ):
        driver.execute(statement)
