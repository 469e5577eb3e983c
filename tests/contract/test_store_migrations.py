"""The schema's steps: applied once, in order, wholly or not at all, and never another's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from app.core.errors import WhorlError
from app.storage import SqliteStore, open_store
from app.storage.migrate import Migration, known_migrations, migrate

if TYPE_CHECKING:
    from tests.contract.conftest import Make


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "whorl.db"


@pytest.fixture
def store(path: Path, make: Make) -> Iterator[SqliteStore]:
    opened = open_store(path, make.master_key)
    yield opened
    opened.close()


def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(sql).fetchall()


def refusal(path: Path, master_key: bytes) -> WhorlError:
    with pytest.raises(WhorlError) as caught:
        open_store(path, master_key)
    return caught.value


def test_many_may_open_a_new_store_at_once(path: Path, make: Make) -> None:
    with ThreadPoolExecutor(6) as pool:
        stores = list(pool.map(lambda _: open_store(path, make.master_key), range(6)))
    for store in stores:
        store.close()
    versions = [migration.version for migration in known_migrations()]
    assert query(path, "SELECT version FROM migrations ORDER BY version") == [
        (version,) for version in versions
    ]


def test_migrations_are_numbered_without_gaps() -> None:
    known = known_migrations()
    assert [migration.version for migration in known] == list(range(1, len(known) + 1))


def test_checksum_does_not_depend_on_line_ends() -> None:
    assert Migration(1, "a", "x;\r\ny;\r\n").sha256 == Migration(1, "a", "x;\ny;\n").sha256
    assert Migration(1, "a", "x;\ny;\n").sha256 != Migration(1, "a", "x;\nz;\n").sha256


def test_opening_again_changes_nothing(store: SqliteStore, path: Path, make: Make) -> None:
    before = query(path, "SELECT * FROM migrations")
    open_store(path, make.master_key).close()
    assert query(path, "SELECT * FROM migrations") == before


def test_a_newer_store_is_refused(store: SqliteStore, path: Path, make: Make) -> None:
    query(path, "INSERT INTO migrations VALUES (9999, '9999_later.sql', 'x', 1)")
    assert refusal(path, make.master_key).slug == "store_too_new"


def test_another_history_is_refused(store: SqliteStore, path: Path, make: Make) -> None:
    query(path, "UPDATE migrations SET sha256 = 'x' WHERE version = 1")
    error = refusal(path, make.master_key)
    assert error.slug == "store_damaged"
    assert "0001_initial.sql" in error.detail


def test_a_migration_counts_wholly_or_not_at_all(store: SqliteStore, path: Path) -> None:
    known = known_migrations()
    after = known[-1].version
    good = Migration(after + 1, "good.sql", "CREATE TABLE good (a TEXT) STRICT;")
    broken = Migration(after + 2, "broken.sql", "CREATE TABLE half (a TEXT) STRICT;\nnonsense;\n")
    with pytest.raises(Exception, match="nonsense"):
        migrate(store._engine, [*known, good, broken])
    tables = {name for (name,) in query(path, "SELECT name FROM sqlite_schema")}
    assert "good" in tables
    assert "half" not in tables
    assert query(path, "SELECT max(version) FROM migrations") == [(after + 1,)]


def test_resolutions_may_be_unknown_from_the_second_step_on(
    path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("app.storage.store.known_migrations", lambda: known_migrations()[:1])
        open_store(path, make.master_key).close()
    newest = path.with_name("newest.db")
    written = open_store(newest, make.master_key)
    with written.write() as tx:
        for person in ("anna", "bea"):
            tx.persons.add(make.person(person))
            kept = make.template(f"of {person}", person, has_image=True)
            tx.templates.add(kept, make.image(kept.id))
            tx.templates.add_descriptor(kept.id, "m1", make.descriptor())
    written.close()
    copy_rows(newest, path)
    assert "NOT NULL CHECK (dpi > 0)" in schema(path)

    store = open_store(path, make.master_key)
    with store.write() as tx:
        for person in ("anna", "bea"):
            (kept,) = tx.templates.of_person("default", person)
            assert kept == make.template(f"of {person}", person, has_image=True)
            assert tx.templates.image(kept.id) == make.image(kept.id)
            (reference,) = tx.templates.references([kept.id])
            np.testing.assert_array_equal(reference.descriptor.cells, make.descriptor().cells)
        face = replace(make.template("t9", has_image=True), dpi=None, dpi_source="none")
        tx.templates.add(face, replace(make.image("t9"), dpi=None))
        assert tx.templates.get("t9") == face
        assert tx.templates.image("t9") == replace(make.image("t9"), dpi=None)
        assert tx.persons.delete("default", "bea")
    store.close()
    assert query(path, "PRAGMA foreign_key_check") == []
    assert query(path, "PRAGMA integrity_check") == [("ok",)]
    for table in ("descriptors", "images"):  # what belongs to a person still goes with the person
        assert "of bea" not in str(query(path, f"SELECT template_id FROM {table}"))
    with pytest.raises(sqlite3.IntegrityError, match="dpi > 0"):
        query(path, "UPDATE templates SET dpi = 0.0")


def copy_rows(newest: Path, old: Path) -> None:
    """What today's code has written, as far as an older schema has a place for it."""
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        connection.execute("ATTACH ? AS newest", (str(newest),))
        for table in ("key_slots", "persons", "templates", "descriptors", "images", "changes"):
            found = connection.execute(f"SELECT name FROM pragma_table_info('{table}', 'main')")
            columns = ", ".join(name for (name,) in found)
            connection.execute(
                f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM newest.{table}"
            )


def schema(path: Path) -> str:
    return "".join(sql or "" for (sql,) in query(path, "SELECT sql FROM sqlite_schema"))
