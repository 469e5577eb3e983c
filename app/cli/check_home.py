"""Examination of the home folder: master key, store, keys, jobs, models."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from app.cli.findings import Finding, ok, problem, warning
from app.core.clock import now_ms
from app.core.errors import WhorlError
from app.core.records import JobState, ModelAlias
from app.settings import Settings
from model_store import BrokenModelError, Registry

if TYPE_CHECKING:
    from app.core.ports import Store
    from app.networks.device import Device
    from app.storage import SqliteStore

QUEUED_TOO_LONG_MS = 10 * 60_000


def check_home_content(settings: Settings, device: Device | None) -> Iterator[Finding]:
    """Everything in the home folder; nothing is made that is not there."""
    registry = Registry(settings.models, (settings.shipped_dir,))
    key = settings.home / "master.key"
    if not settings.database.exists():
        yield ok("store", "none yet; the first whorl serve makes it")
        yield from check_models(registry, None, device)
        return
    if not key.exists():
        yield problem(
            "master key",
            f"{key} is missing; without it nothing that is stored can be read",
            "put the file back from your backup; do not start Whorl before",
        )
        yield from check_models(registry, None, device)
        return
    yield check_master_key(settings)
    champion = None
    try:
        with closing(_opened(settings)) as store:
            yield from check_store(store)
            yield check_keys(store)
            yield check_jobs(store)
            with store.read() as tx:
                champion = tx.aliases.get(ModelAlias.CHAMPION)
                candidate = tx.aliases.get(ModelAlias.CANDIDATE)
            if candidate is not None:
                yield warning("models", f"{candidate} waits to go into service", "whorl serve")
    except (WhorlError, OSError) as error:
        detail = error.detail if isinstance(error, WhorlError) else str(error)
        yield problem("store", detail, "restore the home folder from a backup if it stays so")
    yield from check_models(registry, champion, device)


def _opened(settings: Settings) -> SqliteStore:
    from app.storage import load_or_create_master_key, open_store

    return open_store(settings.database, load_or_create_master_key(settings.home / "master.key"))


def check_master_key(settings: Settings) -> Finding:
    """The key that templates and images are sealed with: readable by its owner only."""
    path = settings.home / "master.key"
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return problem(
            "master key", f"{path} may be read by others (mode {mode:o})", f"run chmod 600 {path}"
        )
    return ok("master key", f"{path} is readable by its owner only; keep a backup apart")


def check_store(store: SqliteStore) -> Iterator[Finding]:
    """Integrity, permissions and schema of the database; opening it has applied migrations."""
    from app.storage.migrate import known_migrations

    found = store.check()
    for text in found:
        yield problem("store", text, "see docs/operations.md")
    if not found:
        newest = known_migrations()[-1].version
        yield ok("store", f"sound, schema {newest} is the newest of this release")


def check_keys(store: Store) -> Finding:
    """Whether anybody can use the API."""
    from app.services.keys import list_keys

    keys = list_keys(store)
    usable = [key for key in keys if key.revoked_ms is None]
    if not keys:
        return warning("keys", "there is no API key yet", "the first whorl serve prints one")
    if not usable:
        advice = "whorl keys create admin --all-scopes"
        return warning("keys", f"all {len(keys)} API keys are revoked", advice)
    return ok("keys", f"{len(usable)} API keys in use")


def check_jobs(store: Store) -> Finding:
    """Jobs that nobody works on although somebody should."""
    from app.services.jobs import list_jobs

    now = now_ms()
    open_jobs = [job for job in list_jobs(store, None, 1000) if not job.state.ended]
    left = [job for job in open_jobs if job.lease_until_ms and job.lease_until_ms < now]
    waiting = [
        job
        for job in open_jobs
        if job.state is JobState.QUEUED and now - job.created_ms > QUEUED_TOO_LONG_MS
    ]
    busy = any(job.lease_until_ms and job.lease_until_ms >= now for job in open_jobs)
    advice = "start whorl serve or whorl worker; jobs are claimed again by themselves"
    if left:
        return warning("jobs", f"job {left[0].id} has lost its worker", advice)
    if waiting and not busy:
        return warning("jobs", f"job {waiting[-1].id} waits and no worker takes it", advice)
    return ok("jobs", f"{len(open_jobs)} open, none stuck")


def check_models(
    registry: Registry, champion: str | None, device: Device | None
) -> Iterator[Finding]:
    """The hashes of every model, and the one in service on this device."""
    shipped = registry.shipped_ids()
    if shipped:
        yield ok("shipped model", ", ".join(shipped))
    else:
        advice = "install the release again, or train one: whorl train, then whorl models promote"
        yield warning("shipped model", "no model came with this installation", advice)
    broken = {
        model_id: text for model_id in registry.ids() if (text := _broken(registry, model_id))
    }
    for text in broken.values():
        advice = "delete its folder, or restore it from a backup"
        yield problem("models", text, advice)
    if not broken:
        yield ok("models", f"{len(registry.ids())} published, all files as their hashes say")
    serving = champion or (shipped[-1] if shipped else None)
    if serving is None:
        advice = "whorl train, then whorl models promote ID"
        yield problem("model in service", "there is none, so nothing can be compared", advice)
    elif device is not None:
        yield check_loading(registry, serving, device)


def _broken(registry: Registry, model_id: str) -> str | None:
    try:
        registry.verify(model_id)
    except (BrokenModelError, KeyError) as error:
        return str(error)
    return None


def check_loading(registry: Registry, model_id: str, device: Device) -> Finding:
    """Weights and golden vectors of the model in service."""
    advice = "whorl models rollback, or whorl models promote another; see whorl models list"
    try:
        from app.inference.batcher import MicroBatcher
        from app.inference.loading import Loader

        model = Loader(registry, device).load(model_id)
    except WhorlError as error:
        return problem("model in service", f"{model_id} is refused: {error.detail}", advice)
    except Exception as error:  # a tensor library has errors of its own; an examination goes on
        return problem("model in service", f"{model_id} does not load: {error}", advice)
    if isinstance(model.embedder, MicroBatcher):
        model.embedder.close()
    text = f"{model_id} loads on {device.id} and agrees with its golden vectors"
    return ok("model in service", text)
