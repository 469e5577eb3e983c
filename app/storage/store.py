"""The embedded store: one file, many readers, one writer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from app.core.datasets import Datasets
from app.core.errors import Overloaded, WhorlError
from app.core.ports import (
    Aliases,
    AuditLog,
    Calibrations,
    Galleries,
    Jobs,
    Keys,
    Persons,
    Replies,
    Templates,
)
from app.storage import checkup, sqlite
from app.storage.aliases import SqlAliases
from app.storage.audit import SqlAuditLog, SqlReplies
from app.storage.calibrations import SqlCalibrations
from app.storage.datasets import SqlDatasets
from app.storage.history import History
from app.storage.jobs import SqlJobs
from app.storage.keys import SqlKeys
from app.storage.migrate import known_migrations, migrate
from app.storage.people import SqlGalleries, SqlPersons
from app.storage.sealed import Sealed
from app.storage.tables import meta
from app.storage.templates import SqlTemplates
from app.storage.vault import Vault

_WAIT_S = sqlite.BUSY_MS / 1000
_PROOF = "master_key_proof"


class SqlTransaction:
    """Implements ``ports.Transaction``: all repositories over one connection."""

    def __init__(self, connection: sa.Connection, vault: Vault) -> None:
        self.history = History(connection)
        self.galleries: Galleries = SqlGalleries(connection, self.history)
        self.persons: Persons = SqlPersons(connection, self.history, vault)
        sealed = Sealed(connection, vault)
        self.templates: Templates = SqlTemplates(connection, self.history, sealed)
        self.aliases: Aliases = SqlAliases(connection)
        self.calibrations: Calibrations = SqlCalibrations(connection)
        self.jobs: Jobs = SqlJobs(connection)
        self.keys: Keys = SqlKeys(connection)
        self.audit: AuditLog = SqlAuditLog(connection)
        self.replies: Replies = SqlReplies(connection)
        self.datasets: Datasets = SqlDatasets(connection, self.history)


class SqliteStore:
    """Implements ``ports.Store`` on a file; may be used from many threads.

    Any number of transactions read at once, each the state that its first query met. One writes:
    threads wait their turn at a lock, processes at SQLite's own.
    """

    def __init__(self, path: Path, engine: sa.Engine, vault: Vault) -> None:
        self._path = path
        self._engine = engine
        self._reading = sqlite.for_reading(engine)
        self._writing = sqlite.for_writing(engine)
        self._vault = vault
        self._turn = threading.Lock()
        self._log_holds_erased = False
        self._guests = threading.Condition()
        self._guest_count = 0
        self._closed = False

    @contextmanager
    def read(self) -> Iterator[SqlTransaction]:
        """A transaction that sees one state and cannot write.

        Raises:
            WhorlError: see ``sqlite.named_errors``; slug ``store_closed`` after ``close``.
        """
        with self._inside(), sqlite.named_errors(), self._reading.begin() as connection:
            yield SqlTransaction(connection, self._vault)

    @contextmanager
    def write(self) -> Iterator[SqlTransaction]:
        """The one writing transaction: commits at the block's end, rolls back when it raises.

        Raises:
            Overloaded: the writer before did not finish in time (slug ``store_busy``).
            WhorlError: see ``sqlite.named_errors``; slug ``store_closed`` after ``close``.
        """
        with self._inside(), self._my_turn(), sqlite.named_errors():
            with self._writing.begin() as connection:
                transaction = SqlTransaction(connection, self._vault)
                yield transaction
            self._log_holds_erased |= transaction.history.erased
            if self._log_holds_erased:
                # Tried again after the next write where readers were in the way.
                self._log_holds_erased = not sqlite.truncate_log(self._engine)

    def close(self) -> None:
        """Wait for the transactions under way, empty the log into the file, close everything."""
        with self._guests:
            if self._closed:
                return
            self._closed = True
            self._guests.wait_for(lambda: self._guest_count == 0, timeout=_WAIT_S)
        sqlite.truncate_log(self._engine)
        self._engine.dispose()

    def check(self) -> list[str]:
        """What is wrong with the store, in plain words; empty where nothing is."""
        problems = checkup.loose_permissions(self._path) + checkup.little_space(self._path)
        try:
            with self._inside(), sqlite.named_errors(), self._reading.begin() as connection:
                problems += checkup.damage(connection)
        except WhorlError as error:
            problems.append(error.detail)
        return problems

    @contextmanager
    def _inside(self) -> Iterator[None]:
        with self._guests:
            if self._closed:
                raise WhorlError("The store is closed.", slug="store_closed")
            self._guest_count += 1
        try:
            yield
        finally:
            with self._guests:
                self._guest_count -= 1
                self._guests.notify_all()

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=_WAIT_S):
            raise Overloaded("Too many are waiting to write; try again.", slug="store_busy")
        try:
            yield
        finally:
            self._turn.release()


def open_store(path: Path, master_key: bytes) -> SqliteStore:
    """Open the store, made and migrated where needed; several processes may do so at once.

    Raises:
        WhorlError: slug ``store_too_new``, ``store_damaged``, ``store_unusable``, ``store_full``
            or ``wrong_master_key``.
    """
    vault = Vault(master_key)
    path = path.resolve()
    engine = sqlite.create_engine(path)
    try:
        with sqlite.named_errors():
            _make_ready(path, engine, vault)
    except BaseException:
        engine.dispose()
        raise
    return SqliteStore(path, engine, vault)


def _make_ready(path: Path, engine: sa.Engine, vault: Vault) -> None:
    try:
        sqlite.create_private(path)
    except OSError as error:
        detail = f"The store cannot be made at {path}: {error.strerror}."
        raise WhorlError(detail, slug="store_unusable") from error
    sqlite.switch_to_wal(path)
    migrate(engine, known_migrations())
    _check_master_key(engine, vault)


def _check_master_key(engine: sa.Engine, vault: Vault) -> None:
    with sqlite.for_writing(engine).begin() as connection:
        proof = connection.scalar(sa.select(meta.c.value).where(meta.c.name == _PROOF))
        if proof is None:
            connection.execute(sa.insert(meta).values(name=_PROOF, value=vault.proof()))
        else:
            vault.check_proof(proof)
