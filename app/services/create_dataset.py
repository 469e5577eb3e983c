"""A data set from an uploaded archive: checked, sealed, on the disk, and only then recorded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.core.clock import new_id, now_ms
from app.core.datasets import Dataset, DatasetFiles
from app.core.errors import InvalidInput
from app.core.ports import Store
from app.imaging.resolution import MAX_DPI, MIN_DPI
from app.learning.dataset_archive import DatasetLimits, unpack
from app.services import audit
from app.services.context import Actor

MAX_NAME_CHARS = 100


@dataclass(frozen=True, slots=True)
class DatasetTools:
    """What uploading, looking up and deleting data sets needs."""

    store: Store
    files: DatasetFiles
    limits: DatasetLimits


def create_dataset(
    tools: DatasetTools,
    actor: Actor,
    archive: Path,
    *,
    name: str,
    pattern: str | None = None,
    dpi: float | None = None,
) -> Dataset:
    """Make a data set of what an archive holds; nothing of it stays where that fails.

    Args:
        archive: a zip, tar or tar.gz; it is not changed.
        name: what the data set is called; need not be the only one of the name.
        pattern: reads labels from file names, see ``evaluation.dataset.parse_names``.
        dpi: resolution of the images that do not say theirs.

    Raises:
        InvalidInput: the name or the resolution is not one, or see ``dataset_archive.unpack``.
        WhorlError: the disk is full (``store_full``).
    """
    _check(name, dpi)
    dataset_id = new_id()
    with tools.files.draft(dataset_id) as draft:
        report = unpack(archive, tools.limits, draft.add, pattern=pattern, dpi=dpi)
        dataset = Dataset(
            dataset_id,
            name,
            now_ms(),
            subjects=len(report.subjects),
            fingers=len(report.samples_of),
            samples=report.samples_of.total(),
            bytes=report.bytes,
            dpi=dpi,
            pattern=pattern,
            report=report.to_dict(),
        )
        draft.keep()
        with tools.store.write() as tx:
            tx.datasets.add(dataset, draft.wrapped_key)
            counts = {"subjects": dataset.subjects, "samples": dataset.samples}
            tx.audit.record(audit.event(actor, "dataset.created", dataset.id, **counts))
    return dataset


def _check(name: str, dpi: float | None) -> None:
    if not (name.isprintable() and name.strip() and len(name) <= MAX_NAME_CHARS):
        raise InvalidInput(
            f"a data set's name is printable text of 1 to {MAX_NAME_CHARS} characters",
            slug="invalid_name",
        )
    if dpi is not None and not MIN_DPI <= dpi <= MAX_DPI:
        raise InvalidInput(f"dpi must be {MIN_DPI:g} to {MAX_DPI:g}", slug="dpi_out_of_range")
