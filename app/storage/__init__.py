"""The only room that speaks SQL: persons, templates, data sets, jobs, keys, audit; migrations."""

from app.storage.dataset_files import SealedDatasetFiles
from app.storage.sqlite import is_held_up
from app.storage.store import SqliteStore, open_store
from app.storage.vault import Vault, load_or_create_master_key

__all__ = [
    "SealedDatasetFiles",
    "SqliteStore",
    "Vault",
    "is_held_up",
    "load_or_create_master_key",
    "open_store",
]
