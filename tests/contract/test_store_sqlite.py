"""What only a store in a file can get wrong: permissions, traces of the deleted, crashes."""

from __future__ import annotations

import random
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.core.errors import Overloaded, WhorlError
from app.core.records import AuditEvent, Gallery, ImagePolicy
from app.storage import SqliteStore, open_store, sqlite

if TYPE_CHECKING:
    from tests.contract.conftest import Make

ROOT = Path(__file__).resolve().parents[2]
BURST = """
import sys
from pathlib import Path
from app.core.clock import new_id
from app.core.records import AuditEvent, Person, StoredImage, Template
from app.storage import open_store

store = open_store(Path(sys.argv[1]), bytes(range(32)))
while True:
    name = new_id()
    template = Template(name, "default", name, 1, 70, (), "png", 9, 9, 500.0, "file", True, 1)
    with store.write() as tx:
        tx.persons.add(Person("default", name, 1))
        tx.templates.add(template, StoredImage(name, name.encode() * 200, 500.0))
        tx.audit.record(AuditEvent(1, "burst", "enroll", name))
    print(name, flush=True)
"""


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


def bytes_on_disk(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(path.parent.iterdir()))


def refusal(path: Path, master_key: bytes) -> WhorlError:
    with pytest.raises(WhorlError) as caught:
        open_store(path, master_key)
    return caught.value


def test_pragmas_hold_on_every_connection(store: SqliteStore) -> None:
    wanted = {"synchronous": 2, "foreign_keys": 1, "secure_delete": 1, "journal_mode": "wal"}
    engine = store._engine
    connections = [engine.connect() for _ in range(3)]
    for connection in connections:
        found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted}
        assert found == wanted
        connection.close()


def test_every_table_is_strict(store: SqliteStore, path: Path) -> None:
    rows = query(path, "SELECT name, strict FROM pragma_table_list WHERE schema = 'main'")
    loose = {name for name, strict in rows if not strict and not name.startswith("sqlite_")}
    assert loose == set()


def test_files_are_their_owners_alone(store: SqliteStore, path: Path, make: Make) -> None:
    make.enrolled(store, "anna", "t1")
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"whorl.db": 0o600, "whorl.db-wal": 0o600, "whorl.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_close_leaves_one_file(store: SqliteStore, path: Path, make: Make) -> None:
    make.enrolled(store, "anna", "t1")
    store.close()
    assert [file.name for file in path.parent.iterdir()] == ["whorl.db"]


def test_a_busy_store_is_named(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_PRAGMAS", ("PRAGMA busy_timeout = 20",))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store._engine.dispose()
        with pytest.raises(Overloaded) as caught, store.write():
            pass
        assert caught.value.slug == "store_busy"
        other.execute("ROLLBACK")
    with store.write() as tx:
        assert tx.templates.last_change() == 0


def test_another_master_key_is_refused(store: SqliteStore, path: Path) -> None:
    assert refusal(path, bytes(32)).slug == "wrong_master_key"
    assert refusal(path, b"short").slug == "wrong_master_key"


def test_templates_and_images_are_unreadable_on_disk(
    store: SqliteStore, path: Path, make: Make
) -> None:
    make.enrolled(store, "anna", "t1", image=b"ridges and valleys" * 30)
    stored = make.descriptor(0).to_bytes()
    on_disk = bytes_on_disk(path)
    assert b"anna" in on_disk
    assert b"ridges" not in on_disk
    assert stored[6:22] not in on_disk


def test_sealed_bytes_of_another_template_do_not_open(
    store: SqliteStore, path: Path, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    make.enrolled(store, "anna", "t1", "t2", image=b"x")
    make.enrolled(store, "bert", "t3")
    query(path, "UPDATE images SET sealed = (SELECT sealed FROM images WHERE template_id = 't1')")
    query(path, "UPDATE descriptors SET sealed = zeroblob(9) WHERE template_id = 't2'")
    with store.read() as tx:
        assert tx.templates.image("t1") is not None
        with pytest.raises(WhorlError) as caught:
            tx.templates.image("t2")
        assert caught.value.slug == "store_damaged"
        for _ in range(2):  # the damaged one is passed over, and told of once
            found = tx.templates.references(["t1", "t2", "t3"])
            assert {ref.template.id for ref in found} == {"t1", "t3"}
        ((_, changed, stored),) = [tx.templates.catch_up("default", 0, 100)]
        assert sorted(changed) == ["t1", "t2", "t3"]
        assert {one.template_id for one in stored} == {"t1", "t3"}
    assert [line.split(":")[0] for line in caplog.messages] == [
        "descriptor of template t2 is passed over"
    ]
    query(
        path,
        "UPDATE key_slots SET wrapped_key = zeroblob(60) WHERE slot IN "
        "(SELECT key_slot FROM persons WHERE id = 'anna')",
    )
    with store.read() as tx:
        left = tx.templates.references(["t1", "t2", "t3"])
        assert {ref.template.id for ref in left} == {"t3"}


def test_the_deleted_leave_no_trace(store: SqliteStore, path: Path, make: Make) -> None:
    persons = [f"person{n}" for n in range(150)]
    random.Random(1).shuffle(persons)
    with store.write() as tx:
        for name in persons:
            tx.persons.add(make.person(name))
            tx.templates.add(make.template(f"t-{name}", name), None)
            tx.templates.add_descriptor(f"t-{name}", "m1", make.descriptor())
    keys = dict(
        query(path, "SELECT id, wrapped_key FROM persons JOIN key_slots ON slot = key_slot")
    )
    sealed = dict(query(path, "SELECT template_id, sealed FROM descriptors"))
    gone, left = persons[:100], persons[100:]
    for start in range(0, 100, 10):
        with store.write() as tx:
            for name in gone[start : start + 10]:
                tx.persons.delete("default", name)
    assert path.with_name("whorl.db-wal").stat().st_size == 0
    on_disk = bytes_on_disk(path)
    for name in left:
        assert keys[name] in on_disk
        assert sealed[f"t-{name}"] in on_disk
    for name in gone:
        assert not any(keys[name][at : at + 8] in on_disk for at in range(0, 53, 4))
        assert sealed[f"t-{name}"] not in on_disk


def test_log_is_emptied_of_the_deleted_once_readers_are_gone(
    store: SqliteStore, path: Path, make: Make
) -> None:
    make.enrolled(store, "anna", "t1")
    log = path.with_name("whorl.db-wal")
    with store.read() as reader:
        assert reader.templates.count("default") == 1
        with store.write() as tx:
            tx.persons.delete("default", "anna")
        assert log.stat().st_size > 0
    with store.write():
        pass
    assert log.stat().st_size == 0


def test_deleting_leaves_no_rows(store: SqliteStore, path: Path, make: Make) -> None:
    tables = [
        name for (name,) in query(path, "SELECT name FROM sqlite_schema WHERE type = 'table'")
    ]
    counts = " UNION ALL ".join(f"SELECT '{name}', count(*) FROM {name}" for name in tables)
    before = dict(query(path, counts))
    with store.write() as tx:
        tx.galleries.put(Gallery("guests", ImagePolicy.ENCRYPTED, None, 1))
    make.enrolled(store, "anna", "t1", "t2", models=("m1", "m2"), image=b"x")
    make.enrolled(store, "bert", "t3", gallery="guests", models=("m1", "m2"), image=b"x")
    full = dict(query(path, counts))
    with store.write() as tx:
        tx.persons.delete("default", "anna")
        tx.galleries.delete("guests")
    after = dict(query(path, counts))
    grown = {name for name in tables if full[name] > before[name]}
    stay = {"changes", "key_slots", "sqlite_sequence"}
    assert grown - stay == {"galleries", "persons", "templates", "descriptors", "images"}
    assert {name for name in tables if after[name] != before[name]} <= stay
    assert query(path, "SELECT count(*) FROM key_slots WHERE wrapped_key != zeroblob(60)") == [(0,)]


@pytest.mark.parametrize("statement", ["UPDATE audit SET actor = 'x'", "DELETE FROM audit"])
def test_audit_is_append_only(store: SqliteStore, path: Path, statement: str) -> None:
    with store.write() as tx:
        tx.audit.record(AuditEvent(1, "key:k1", "enroll", "person:anna"))
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        query(path, statement)
    with store.read() as tx:
        assert [event.actor for event in tx.audit.page(None, 9)] == ["key:k1"]


@pytest.mark.parametrize("lines", [5, 17, 40])
def test_kill_loses_nothing_that_was_acknowledged(path: Path, make: Make, lines: int) -> None:
    command = [sys.executable, "-c", BURST, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as burst:
        assert burst.stdout is not None
        acknowledged = [burst.stdout.readline().strip() for _ in range(lines)]
        burst.send_signal(signal.SIGKILL)
        acknowledged += burst.stdout.read().split("\n")[:-1]
    assert len(set(acknowledged)) >= lines
    with closing(open_store(path, make.master_key)) as store:
        assert store.check() == []
        with store.read() as tx:
            for name in acknowledged:
                image = tx.templates.image(name)
                assert image is not None
                assert image.data == name.encode() * 200
            audited = len(tx.audit.page(None, 10_000))
            assert audited == tx.templates.count("default") == tx.persons.count("default")


def test_a_file_that_is_no_database_is_refused(path: Path, make: Make) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database, not at all " * 100)
    assert refusal(path, make.master_key).slug == "store_damaged"


def test_a_place_that_cannot_hold_a_store_is_named(tmp_path: Path, make: Make) -> None:
    (tmp_path / "file").write_text("x")
    assert refusal(tmp_path / "file" / "whorl.db", make.master_key).slug == "store_unusable"


def test_check_finds_nothing_in_a_sound_store(store: SqliteStore, make: Make) -> None:
    make.enrolled(store, "anna", "t1")
    assert store.check() == []


def test_check_tells_what_is_wrong(
    store: SqliteStore, path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make.enrolled(store, "anna", "t1")
    query(path, "DELETE FROM templates")  # a connection without foreign keys leaves orphans
    path.chmod(0o644)
    path.parent.chmod(0o755)
    monkeypatch.setattr("app.storage.checkup._ENOUGH_DISK_BYTES", 10**18)
    problems = "\n".join(store.check())
    assert f"chmod 600 {path}" in problems
    assert f"chmod 700 {path.parent}" in problems
    assert "descriptors" in problems
    assert "MiB" in problems


def test_check_finds_damage_in_the_file(store: SqliteStore, path: Path, make: Make) -> None:
    make.enrolled(store, "anna", *(f"t{n}" for n in range(300)))
    store.close()
    with path.open("r+b") as file:
        # Pages are added as rows are: the last ones are of what was enrolled, not of the schema.
        file.seek(path.stat().st_size - 20_000)
        file.write(b"\xff" * 20_000)
    with closing(open_store(path, make.master_key)) as again:
        assert any("damaged" in problem for problem in again.check())
