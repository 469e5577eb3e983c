"""Models in folders: publish once, verify at every read, never change."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from model_store.manifest import BrokenModelError, FileFacts, Manifest, ManifestDraft

MANIFEST = "manifest.json"
_ID = re.compile(r"[0-9a-f]{16}")
_WORK = ".publish-"


class Registry:
    """One writable folder of models, and read-only ones beside it (the shipped model)."""

    def __init__(self, root: Path, shipped: Sequence[Path] = ()) -> None:
        self._root = root
        self._shipped = tuple(shipped)

    def ids(self) -> list[str]:
        """All complete models, the newest last."""
        found = {
            folder.name: (folder / MANIFEST).stat().st_mtime
            for root in (*self._shipped, self._root)
            if root.is_dir()
            for folder in root.iterdir()
            if _ID.fullmatch(folder.name) and (folder / MANIFEST).is_file()
        }
        return sorted(found, key=lambda model_id: (found[model_id], model_id))

    def shipped_ids(self) -> list[str]:
        """The models that came with the release."""
        return sorted(
            folder.name
            for root in self._shipped
            if root.is_dir()
            for folder in root.iterdir()
            if _ID.fullmatch(folder.name)
        )

    def folder(self, model_id: str) -> Path:
        """Where a model lies.

        Raises:
            KeyError: there is none of this id.
        """
        if _ID.fullmatch(model_id):
            for root in (self._root, *self._shipped):
                if (root / model_id / MANIFEST).is_file():
                    return root / model_id
        raise KeyError(model_id)

    def manifest(self, model_id: str) -> Manifest:
        """Read a manifest and check that it is the one its id names.

        Raises:
            KeyError: there is no such model.
            BrokenModelError: the manifest cannot be read or was changed.
        """
        path = self.folder(model_id) / MANIFEST
        try:
            manifest = Manifest.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise BrokenModelError(f"the manifest of {model_id} cannot be read: {error}") from error
        if manifest.id != model_id:
            raise BrokenModelError(f"folder {model_id} holds the manifest of {manifest.id}")
        manifest.check_id()
        return manifest

    def verify(self, model_id: str) -> Manifest:
        """Check every file of a model against its manifest.

        Raises:
            KeyError: there is no such model.
            BrokenModelError: a file is missing or differs.
        """
        manifest = self.manifest(model_id)
        folder = self.folder(model_id)
        for name, facts in manifest.files.items():
            _published(folder / name, facts)
        return manifest

    def read(self, model_id: str, name: str) -> bytes:
        """A file of a model, as it was published.

        Raises:
            KeyError: there is no such model, or it has no such file.
            BrokenModelError: the manifest or the file cannot be read or was changed.
        """
        facts = self.manifest(model_id).files[name]
        return _published(self.folder(model_id) / name, facts)

    def publish(
        self,
        draft: ManifestDraft,
        files: Mapping[str, bytes],
        check: Callable[[Path], object] = lambda _: None,
    ) -> Manifest:
        """Write a model: all of it or nothing, on disk before its name appears.

        Args:
            check: given the folder of a registry that holds this model alone, before it appears
                in this one; what it raises ends the publication.

        Raises:
            ValueError: a file name is not a plain one.
        """
        if any(Path(name).name != name or name in {"", "..", MANIFEST} for name in files):
            raise ValueError("files of a model have plain names, other than the manifest's")
        manifest = Manifest.seal(draft, {k: FileFacts.of(v) for k, v in files.items()})
        self._root.mkdir(parents=True, exist_ok=True)
        target = self._root / manifest.id
        if target.exists():
            return manifest
        with self._work_folder() as work:
            folder = work / manifest.id
            folder.mkdir()
            content = {**files, MANIFEST: (manifest.model_dump_json(indent=2) + "\n").encode()}
            for name, data in content.items():
                _write_durably(folder / name, data)
            folder.chmod(0o755)
            _sync_folder(folder)
            check(work)
            _rename_unless_there(folder, target)
            _sync_folder(self._root)
        return manifest

    def delete(self, model_id: str) -> None:
        """Remove a published model; nothing happens where there is none.

        It is out of sight at once, so that a kill in mid-deletion leaves no half a model.
        """
        if not (_ID.fullmatch(model_id) and (self._root / model_id).is_dir()):
            return
        with self._work_folder() as work:
            (self._root / model_id).rename(work / model_id)

    def prune(self, keep: Collection[str]) -> list[str]:
        """Delete published models other than ``keep``, and what a killed process left behind."""
        folders = list(self._root.iterdir()) if self._root.is_dir() else []
        gone = [f for f in folders if _ID.fullmatch(f.name) and f.name not in keep]
        for folder in gone:
            self.delete(folder.name)
        self.sweep()
        return sorted(folder.name for folder in gone)

    def sweep(self) -> None:
        """Delete what killed processes have left of models that they were about to publish."""
        for folder in self._root.glob(f"{_WORK}*"):
            try:
                lock = _lock(folder, wait=False)
            except (FileNotFoundError, BlockingIOError):  # its owner is gone with it, or at work
                continue
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)

    @contextmanager
    def _work_folder(self) -> Iterator[Path]:
        """A folder out of sight, gone in the end; locked, so that a sweep leaves it alone."""
        work, lock = self._locked_folder()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
            os.close(lock)

    def _locked_folder(self) -> tuple[Path, int]:
        while True:
            work = Path(tempfile.mkdtemp(prefix=_WORK, dir=self._root))
            try:
                lock = _lock(work, wait=True)
            except FileNotFoundError:  # a sweep came before the lock
                continue
            if work.exists():
                return work, lock
            os.close(lock)


def _published(path: Path, facts: FileFacts) -> bytes:
    """A file's content, where it is what the manifest says."""
    name, model_id = path.name, path.parent.name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BrokenModelError(f"{name} of {model_id} cannot be read: {error}") from error
    found = FileFacts.of(content)
    if found != facts:
        raise BrokenModelError(
            f"{name} of {model_id} is not the file that was published "
            f"(sha256 {found.sha256[:12]}, wanted {facts.sha256[:12]})"
        )
    return content


def _rename_unless_there(work: Path, target: Path) -> None:
    """Rename; somebody who published the same content meanwhile did all that is to be done."""
    try:
        work.rename(target)
    except OSError:
        if not (target / MANIFEST).is_file():
            raise


def _lock(folder: Path, *, wait: bool) -> int:
    """Lock a folder until the descriptor is closed, or its process dies.

    Raises:
        FileNotFoundError: the folder is gone.
        BlockingIOError: another process has locked it, and there is to be no waiting.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        raise
    return descriptor


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
