"""Aliases, keys, the audit log, replies; and what holds for all transactions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.core.errors import Conflict, WhorlError
from app.core.ports import Store
from app.core.records import ApiKey, AuditEvent, ModelAlias, Reply, Scope

if TYPE_CHECKING:
    from tests.contract.conftest import Make

KEY = ApiKey("k1", "gate", "hash", frozenset({Scope.VERIFY, Scope.PERSONS_READ}), created_ms=5)


def test_an_alias_knows_the_job_that_it_was_set_with(store: Store) -> None:
    def job(alias: ModelAlias = ModelAlias.CANDIDATE) -> str | None:
        with store.read() as tx:
            return tx.aliases.job_of(alias)

    assert job() is None
    for job_id in ("j1", "j2", None):
        with store.write() as tx:
            tx.aliases.set(ModelAlias.CANDIDATE, "m1", job_id)
        assert job() == job_id
        assert job(ModelAlias.CHAMPION) is None
    with store.write() as tx:
        tx.aliases.set(ModelAlias.CANDIDATE, "m1", "j3")
        tx.aliases.set(ModelAlias.CANDIDATE, None)
    assert job() is None


def test_aliases_are_set_and_unset(store: Store) -> None:
    with store.write() as tx:
        tx.aliases.set(ModelAlias.CHAMPION, "m1")
        tx.aliases.set(ModelAlias.CHAMPION, "m2")
        tx.aliases.set(ModelAlias.PREVIOUS, "m1")
        tx.aliases.set(ModelAlias.PREVIOUS, None)
    with store.read() as tx:
        assert tx.aliases.get(ModelAlias.CHAMPION) == "m2"
        assert tx.aliases.get(ModelAlias.PREVIOUS) is None
        assert tx.aliases.get(ModelAlias.CANDIDATE) is None


def test_keys(store: Store) -> None:
    younger = replace(KEY, id="k0", scopes=frozenset(Scope), created_ms=6)
    with store.write() as tx:
        tx.keys.add(younger)
        tx.keys.add(KEY)
        with pytest.raises(Conflict):
            tx.keys.add(KEY)
    with store.read() as tx:
        assert tx.keys.list() == [KEY, younger]
        assert tx.keys.get("k1") == KEY
        assert tx.keys.get("k9") is None


def test_a_key_is_revoked_once(store: Store) -> None:
    with store.write() as tx:
        tx.keys.add(KEY)
        assert tx.keys.revoke("k1", 70)
        assert tx.keys.revoke("k1", 80)
        assert not tx.keys.revoke("k9", 70)
        assert tx.keys.get("k1") == replace(KEY, revoked_ms=70)


def test_audit_is_paged_newest_first(store: Store) -> None:
    events = [
        AuditEvent(n, "key:k1", "enroll", f"person:{n}", {"n": n, "ä": [1.5]}, request_id="r")
        for n in range(5)
    ]
    with store.write() as tx:
        for event in events:
            tx.audit.record(event)
    with store.read() as tx:
        first = tx.audit.page(None, 2)
        second = tx.audit.page(first[-1].seq, 9)
    assert [replace(event, seq=0) for event in first + second] == events[::-1]
    assert first[0].seq > first[1].seq > second[0].seq > 0


def test_audit_tells_what_was_ever_done_to_something(store: Store) -> None:
    with store.write() as tx:
        tx.audit.record(AuditEvent(1, "key:k1", "model.published", "m1"))
        tx.audit.record(AuditEvent(2, "key:k1", "model.uploaded", "m2"))
        assert tx.audit.has("model.published", "m1")
        assert not tx.audit.has("model.published", "m2")
        assert not tx.audit.has("model.uploaded", "m1")


def test_replies(store: Store) -> None:
    reply = Reply("k1", "once", "hash", 201, '{"id": 1}', created_ms=100)
    with store.write() as tx:
        tx.replies.add(reply)
        tx.replies.add(replace(reply, actor="k2", created_ms=50))
        with pytest.raises(Conflict):
            tx.replies.add(reply)
        tx.replies.prune(100)
    with store.read() as tx:
        assert tx.replies.get("k1", "once") == reply
        assert tx.replies.get("k2", "once") is None


def test_an_exception_rolls_everything_back(store: Store, make: Make) -> None:
    def write_and_fail() -> None:
        with store.write() as tx:
            tx.persons.add(make.person())
            tx.templates.add(make.template(has_image=True), make.image("t1"))
            tx.templates.add_descriptor("t1", "m1", make.descriptor())
            tx.jobs.add(make.job())
            tx.keys.add(KEY)
            tx.aliases.set(ModelAlias.CHAMPION, "m1")
            tx.audit.record(AuditEvent(1, "a", "b", "c"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_fail()
    with store.read() as tx:
        assert tx.persons.count("default") == tx.templates.count("default") == 0
        assert tx.templates.last_change() == 0
        assert [*tx.jobs.page(None, 9), *tx.keys.list(), *tx.audit.page(None, 9)] == []
        assert tx.aliases.get(ModelAlias.CHAMPION) is None


def test_a_reader_sees_one_state(store: Store, make: Make) -> None:
    with store.read() as before:
        assert before.persons.count("default") == 0
        make.enrolled(store, "anna", "t1")
        assert before.persons.count("default") == 0
        assert before.templates.get("t1") is None
    with store.read() as after:
        assert after.persons.count("default") == 1


def test_an_open_write_is_invisible(store: Store, make: Make) -> None:
    with store.write() as tx:
        tx.persons.add(make.person())
        with store.read() as other:
            assert other.persons.get("default", "anna") is None


def test_a_read_transaction_cannot_write(store: Store, make: Make) -> None:
    with pytest.raises(Exception, match="readonly"), store.read() as tx:
        tx.persons.add(make.person())
    with store.read() as tx:
        assert tx.persons.count("default") == 0
    make.enrolled(store, "anna", "t1")


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    store.close()
    with pytest.raises(WhorlError) as caught, store.read():
        pass
    assert caught.value.slug == "store_closed"


def test_close_waits_for_transactions_under_way(store: Store, make: Make) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def enrol() -> None:
        with store.write() as tx:
            begun.set()
            go_on.wait(5)
            tx.persons.add(make.person())

    with ThreadPoolExecutor() as pool:
        enrolment = pool.submit(enrol)
        begun.wait(5)
        closing = pool.submit(store.close)
        with pytest.raises(TimeoutError):
            closing.result(0.5)
        go_on.set()
        closing.result(5)
        assert enrolment.done()
        enrolment.result()


def test_what_was_committed_is_there_when_opened_again(
    opener: Callable[[Path], Store], tmp_path: Path, make: Make
) -> None:
    first = opener(tmp_path)
    make.enrolled(first, "anna", "t1", image=b"kept")
    first.close()
    second = opener(tmp_path)
    with second.read() as tx:
        assert tx.templates.image("t1") == make.image("t1", b"kept")
        assert len(tx.galleries.list()) == 1
    second.close()


def test_eight_threads_write_through_two_stores(
    store: Store, opener: Callable[[Path], Store], tmp_path: Path, make: Make
) -> None:
    other = opener(tmp_path)

    def enrol(thread: int) -> None:
        for n in range(5):
            mine = (store, other)[n % 2]
            make.enrolled(mine, f"p{thread}-{n}", f"t{thread}-{n}")
            with mine.read() as tx:
                assert tx.templates.get(f"t{thread}-{n}") is not None

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(enrol, range(8)))
    other.close()
    with store.read() as tx:
        history = tx.templates.catch_up("default", 0, 99)
        assert tx.persons.count("default") == tx.templates.count("default") == 40
        assert len(history.changed) == len(history.descriptors) == 40
        assert history.upto == tx.templates.last_change() == 80


def test_two_workers_never_claim_one_job(
    store: Store, opener: Callable[[Path], Store], tmp_path: Path, make: Make
) -> None:
    other = opener(tmp_path)
    start = threading.Barrier(4)
    with store.write() as tx:
        tx.jobs.add(make.job())

    def claim(worker: int) -> bool:
        start.wait(5)
        with (store, other)[worker % 2].write() as tx:
            return tx.jobs.claim(f"w{worker}", ["train"], 100, 1000) is not None

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(claim, range(4))) == 1
    other.close()
