"""The examinations of an installation, each made to find something."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from app.cli.check_home import check_home_content, check_jobs, check_keys, check_models
from app.cli.check_installation import (
    check_home,
    check_port,
    check_python,
    check_runtime,
    check_train_root,
    package_fault,
)
from app.cli.evaluation_question import KNOWN_SETS
from app.cli.findings import Level
from app.core.clock import now_ms
from app.core.records import Job, JobState, Scope
from app.evaluation.dataset import parse_names
from app.services.context import Actor
from app.services.keys import create_key, list_keys, revoke_key
from app.settings import Settings
from app.storage import SqliteStore, open_store
from model_store import Registry

ANYBODY = Actor("test", frozenset(Scope))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = open_store(tmp_path / "home" / "whorl.sqlite3", bytes(range(32)))
    yield opened
    opened.close()


def settings(tmp_path: Path, **given: object) -> Settings:
    fixed = {"home": tmp_path / "var", "shipped_dir": tmp_path / "shipped", "train_root": None}
    return Settings.model_validate(fixed | given)


@contextmanager
def listening(body: bytes) -> Iterator[int]:
    """A program on a port that answers every GET with this; the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_free_port_is_free(tmp_path: Path) -> None:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        port = tried.getsockname()[1]
    assert check_port(settings(tmp_path, port=port)).level is Level.OK


@pytest.mark.parametrize(
    ("body", "level"), [(b'{"status":"live"}', Level.OK), (b"<html>", Level.PROBLEM)]
)
def test_who_holds_the_port_decides(tmp_path: Path, body: bytes, level: Level) -> None:
    with listening(body) as port:
        assert check_port(settings(tmp_path, port=port)).level is level


def test_an_address_that_is_not_this_machine_s(tmp_path: Path) -> None:
    found = check_port(settings(tmp_path, host="192.0.2.1", port=8000))
    assert found.level is Level.PROBLEM
    assert "WHORL_HOST" in found.advice


@pytest.mark.parametrize(
    ("requirement", "words"),
    [
        ("numpy>=2", None),
        ("numpy<1", "<1 is wanted"),
        ("no-such-package-of-whorl>=1", "missing"),
    ],
)
def test_packages_are_compared_with_what_is_wanted(requirement: str, words: str | None) -> None:
    fault = package_fault(Requirement(requirement))
    assert (fault is None) == (words is None)
    assert words is None or words in (fault or "")


def test_another_python_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_python().level is Level.OK
    monkeypatch.setattr("platform.python_version", lambda: "3.9.2")
    assert check_python().level is Level.PROBLEM


def test_the_training_folder_must_be_there_and_apart(tmp_path: Path) -> None:
    def level(root: Path | None) -> Level:
        return check_train_root(settings(tmp_path, train_root=root)).level

    apart = tmp_path / "prints"
    apart.mkdir()
    assert level(None) is Level.OK
    assert level(apart) is Level.OK
    assert level(tmp_path / "nowhere") is Level.PROBLEM
    assert level(tmp_path) is Level.PROBLEM  # it holds the home folder


def test_a_home_that_is_a_file_is_a_problem(tmp_path: Path) -> None:
    assert check_home(settings(tmp_path)).level is Level.OK
    (tmp_path / "var").write_text("in the way")
    assert check_home(settings(tmp_path)).level is Level.PROBLEM


def test_keys_none_some_all_revoked(store: SqliteStore) -> None:
    assert check_keys(store).level is Level.WARNING
    create_key(store, ANYBODY, "one", [Scope.VERIFY])
    assert check_keys(store).level is Level.OK
    revoke_key(store, ANYBODY, list_keys(store)[0].id)
    found = check_keys(store)
    assert found.level is Level.WARNING
    assert "whorl keys create" in found.advice


def test_jobs_that_nobody_works_on_are_told(store: SqliteStore) -> None:
    assert check_jobs(store).level is Level.OK
    with store.write() as tx:
        tx.jobs.add(Job("fresh", "train", JobState.QUEUED, {}, created_ms=now_ms()))
    assert check_jobs(store).level is Level.OK
    with store.write() as tx:
        tx.jobs.add(Job("old", "train", JobState.QUEUED, {}, created_ms=1))
    assert "old waits" in check_jobs(store).text
    with store.write() as tx:
        tx.jobs.claim("worker", ["train"], now_ms(), 60_000)
    assert check_jobs(store).level is Level.OK  # the others wait for this one


def test_a_job_whose_lease_ran_out_is_told(store: SqliteStore) -> None:
    with store.write() as tx:
        tx.jobs.add(Job("left", "train", JobState.QUEUED, {}, created_ms=1))
        tx.jobs.claim("worker", ["train"], 2, 1)
    assert "left has lost its worker" in check_jobs(store).text


def test_without_any_model_nothing_can_be_compared(tmp_path: Path) -> None:
    found = list(check_models(Registry(tmp_path / "models"), None, None))
    assert found[-1].topic == "model in service"
    assert found[-1].level is Level.PROBLEM


def test_a_broken_store_is_a_problem_and_the_rest_is_still_examined(tmp_path: Path) -> None:
    wanted = settings(tmp_path)
    wanted.home.mkdir(mode=0o700)
    wanted.database.write_bytes(b"this is no database, whatever its name says" * 100)
    (wanted.home / "master.key").write_text("00" * 32)
    (wanted.home / "master.key").chmod(0o600)
    found = list(check_home_content(wanted, None))
    assert [f.level for f in found if f.topic == "store"] == [Level.PROBLEM]
    assert found[-1].topic == "model in service"


def test_the_known_sets_have_several_impressions_of_every_finger(datasets: Path) -> None:
    for known in KNOWN_SETS:
        labelled = parse_names((datasets / known.folder).rglob("*.*"))
        fingers = [image.finger for image in labelled.images]
        counts = {finger: fingers.count(finger) for finger in fingers}
        assert set(counts.values()) == {8}, known.name


def test_a_runtime_that_is_not_installed_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cli.check_installation.find_spec", lambda name: None)
    assert check_runtime(settings(tmp_path)).level is Level.OK
    found = check_runtime(settings(tmp_path, runtime="openvino"))
    assert found.level is Level.PROBLEM
    assert "whorl[openvino]" in (found.advice or "")
