"""Uploaded data sets in the home folder: limits, and what cut-off uploads have left."""

from __future__ import annotations

import logging

from app.bootstrap.home import Home
from app.imaging.decode import ImageLimits
from app.learning.dataset_archive import DatasetLimits
from app.learning.siamese.archive_limits import ArchiveLimits
from app.services.create_dataset import DatasetTools
from app.settings import Settings

log = logging.getLogger(__name__)

MAX_RATIO = 200.0
"""Unpacked bytes a byte of an archive; scans are packed by 20 at the very most."""


def dataset_tools(settings: Settings, home: Home) -> DatasetTools:
    """What uploading, looking up and deleting data sets needs."""
    image = ImageLimits(max_bytes=settings.max_upload_bytes, max_pixels=settings.max_pixels)
    archive = ArchiveLimits(
        settings.dataset_max_unpacked_bytes, settings.dataset_max_files, image.max_bytes, MAX_RATIO
    )
    limits = DatasetLimits(settings.dataset_max_bytes, archive, image)
    return DatasetTools(home.store, home.dataset_files, limits)


def sweep_datasets(home: Home) -> None:
    """Remove what uploads that were cut off have left."""

    def known() -> list[str]:
        with home.store.read() as tx:
            return tx.datasets.ids()

    if left := home.dataset_files.sweep(known):
        log.warning("removed %d leftovers of uploads that were cut off", left)
