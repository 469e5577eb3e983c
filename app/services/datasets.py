"""Uploaded data sets: look up, find what trains on them, delete."""

from __future__ import annotations

from collections.abc import Iterable

from app.core.datasets import Dataset, DatasetFiles, DatasetImages
from app.core.errors import Conflict, NotFound
from app.core.ports import Store, Transaction
from app.services import audit
from app.services.context import Actor
from app.services.create_dataset import DatasetTools


def list_datasets(store: Store, after: str | None, limit: int) -> list[Dataset]:
    """Data sets, newest first; those older than ``after``."""
    with store.read() as tx:
        return tx.datasets.page(after, limit)


def get_dataset(store: Store, dataset_id: str) -> Dataset:
    """One data set.

    Raises:
        NotFound: there is none of that id.
    """
    with store.read() as tx:
        return existing_dataset(tx, dataset_id)


def existing_dataset(tx: Transaction, dataset_id: str) -> Dataset:
    """One data set.

    Raises:
        NotFound: there is none of that id.
    """
    dataset = tx.datasets.get(dataset_id)
    if dataset is None:
        raise NotFound(f"there is no data set {dataset_id!r}", slug="dataset_not_found")
    return dataset


def open_dataset(
    store: Store, files: DatasetFiles, dataset_id: str
) -> tuple[Dataset, DatasetImages]:
    """A data set and its images.

    Raises:
        NotFound: there is none of that id.
        WhorlError: its images are damaged (``store_damaged``).
    """
    with store.read() as tx:
        dataset = existing_dataset(tx, dataset_id)
        key = tx.datasets.key(dataset_id)
    return dataset, files.open(dataset_id, key)


def delete_dataset(tools: DatasetTools, actor: Actor, dataset_id: str) -> None:
    """Delete a data set: its key and its record, then its files; all are gone on return.

    Models that have learned from it stay.

    Raises:
        NotFound: there is none of that id.
        Conflict: a job that has not ended trains on it (``dataset_in_use``).
    """
    with tools.store.write() as tx:
        existing_dataset(tx, dataset_id)
        needing = [job.id for job in tx.jobs.unfinished() if dataset_id in _named(job.spec)]
        if needing:
            raise Conflict(
                f"job {needing[0]} trains on data set {dataset_id}; wait for its end or cancel it",
                slug="dataset_in_use",
                jobs=needing,
            )
        tx.datasets.delete(dataset_id)
        tx.audit.record(audit.event(actor, "dataset.deleted", dataset_id))
    tools.files.delete(dataset_id)


def _named(spec: dict[str, object]) -> Iterable[object]:
    lists = (spec.get("datasets"), spec.get("benchmark"))
    return [named for one in lists if isinstance(one, list) for named in one]
