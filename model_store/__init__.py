"""The registry of models on disk: manifest, publish, verify, list, prune. Imports nothing of app.

A model is a folder named by the hash of what it holds; it is written once and never changed. Which
model is in service is not said here but in the store, where it changes in one transaction with the
job and the audit event that caused it (docs/adr/0004).
"""

from model_store.manifest import BrokenModelError, FileFacts, Manifest, ManifestDraft
from model_store.registry import Registry

__all__ = ["BrokenModelError", "FileFacts", "Manifest", "ManifestDraft", "Registry"]
