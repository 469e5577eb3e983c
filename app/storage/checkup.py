"""What may be wrong with a store, in words for whoever runs it."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import sqlalchemy as sa

_ENOUGH_DISK_BYTES = 512 * 2**20


def damage(connection: sa.Connection) -> list[str]:
    """What SQLite finds wrong inside the file."""
    findings = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
    problems = [f"The database is damaged: {finding}" for finding in findings if finding != "ok"]
    orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    problems += [
        f"Row {rowid} of table {table} belongs to a row of {parent} that does not exist."
        for table, rowid, parent, _ in orphans
    ]
    return problems


def loose_permissions(path: Path) -> list[str]:
    """Files and folder of the store that others than their owner may use."""
    beside = [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm")]
    problems = []
    for entry, wanted in [(path.parent, "700"), *((file, "600") for file in (path, *beside))]:
        mode = stat.S_IMODE(entry.stat().st_mode) if entry.exists() else 0
        if mode & 0o077:
            problems.append(
                f"{entry} may be used by others (mode {mode:o}): run chmod {wanted} {entry}"
            )
    return problems


def little_space(path: Path) -> list[str]:
    """Whether the disk has room for the store to grow."""
    free = shutil.disk_usage(path.parent).free
    wanted = max(_ENOUGH_DISK_BYTES, path.stat().st_size)
    if free >= wanted:
        return []
    mib = 2**20
    return [f"The disk of {path} has {free // mib} MiB left; keep {wanted // mib} MiB free."]
