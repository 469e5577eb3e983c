"""The images of uploaded data sets: sealed, in a folder a set, beside the store.

    datasets/.incoming/     archives that come in, sets that are being written
    datasets/.lock          shared by whoever writes here, taken alone by whoever sweeps
    datasets/<id>/images    the images one after the other, each sealed by itself
    datasets/<id>/index     which image is where, and whose; sealed too, since names may be persons'

One file instead of one an image: a set of ten thousand is on the disk after one wait, and neither
names nor sizes of single images can be read from the folder.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from app.core.datasets import DatasetDraft, DatasetImage, DatasetImages
from app.core.errors import Overloaded, WhorlError
from app.storage.vault import Vault, sync_folder

MOST_AT_A_TIME = 2
_IMAGES, _INDEX = "images", "index"
_INCOMING, _LOCK = ".incoming", ".lock"
# A gallery's name has no colon, so no person is taken for a data set.
_OWNER = "dataset:"


class SealedDatasetFiles:
    """Implements ``core.datasets.DatasetFiles``; may be used by several threads and processes."""

    def __init__(self, folder: Path, vault: Vault) -> None:
        self._folder = folder
        self._vault = vault
        self._receiving = threading.BoundedSemaphore(MOST_AT_A_TIME)

    @contextmanager
    def receiving(self) -> Iterator[Path]:
        """A private file to receive an archive in; gone when the context ends.

        Raises:
            Overloaded: ``MOST_AT_A_TIME`` are being received already (slug ``uploads_busy``).
            WhorlError: the disk is full (``store_full``).
        """
        if not self._receiving.acquire(blocking=False):
            raise Overloaded(
                f"{MOST_AT_A_TIME} uploads are under way already; try again when one has ended.",
                slug="uploads_busy",
            )
        try:
            with _full_disk_named(), self._at_work():
                path = self._folder / _INCOMING / secrets.token_hex(8)
                path.touch(mode=0o600, exist_ok=False)
                try:
                    yield path
                finally:
                    path.unlink(missing_ok=True)
        finally:
            self._receiving.release()

    @contextmanager
    def draft(self, dataset_id: str) -> Iterator[DatasetDraft]:
        """A new data set; whatever the context raises leaves nothing of it.

        Raises:
            WhorlError: the disk is full (slug ``store_full``).
        """
        with _full_disk_named(), self._at_work():
            folder = self._folder / _INCOMING / dataset_id
            folder.mkdir(mode=0o700)
            try:
                with _Draft(folder, self._folder / dataset_id, self._vault) as draft:
                    yield draft
            except BaseException:
                self.delete(dataset_id)
                raise
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def open(self, dataset_id: str, wrapped_key: bytes) -> DatasetImages:
        """The images of a data set that was kept.

        Raises:
            WhorlError: they are not there, or not what was kept (slug ``store_damaged``).
        """
        return _Sealed(self._folder / dataset_id, wrapped_key, self._vault)

    def delete(self, dataset_id: str) -> None:
        """Remove the images; nothing happens where there are none."""
        folder = self._folder / dataset_id
        if folder.exists():
            shutil.rmtree(folder)
            sync_folder(self._folder)

    def sweep(self, known: Callable[[], Collection[str]]) -> int:
        """Remove what uploads that were cut off have left, unless one is under way."""
        if not self._folder.is_dir():
            return 0
        try:
            with self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
                kept = {*known(), _INCOMING, _LOCK}
                left = [path for path in self._folder.iterdir() if path.name not in kept]
                incoming = self._folder / _INCOMING
                left += list(incoming.iterdir()) if incoming.is_dir() else []
                for path in left:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                return len(left)
        except BlockingIOError:
            return 0

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        (self._folder / _INCOMING).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        with self._locked(fcntl.LOCK_SH):
            yield

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        """The lock goes with its holder, however that ends."""
        descriptor = os.open(self._folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)


class _Draft:
    """Implements ``core.datasets.DatasetDraft``; the folder is the draft's own until it is kept."""

    def __init__(self, folder: Path, place: Path, vault: Vault) -> None:
        self._folder, self._place, self._vault = folder, place, vault
        self._owner = (_OWNER, place.name)
        self._index: list[dict[str, object]] = []
        self._length = 0
        self.wrapped_key = vault.new_key(self._owner)

    def __enter__(self) -> _Draft:
        self._file = _create(self._folder / _IMAGES)
        return self

    def __exit__(self, *_: object) -> None:
        # What was buffered when the disk ran full is written once more here.
        with suppress(OSError):
            self._file.close()

    def add(self, image: DatasetImage, data: bytes) -> None:
        """Seal and write one image."""
        label = (_IMAGES, str(len(self._index)))
        sealed = self._vault.seal(self.wrapped_key, self._owner, label, data)
        self._file.write(sealed)
        self._index.append(
            {
                "name": image.name,
                "label": dict(image.label),
                "offset": self._length,
                "bytes": len(sealed),
            }
        )
        self._length += len(sealed)

    def keep(self) -> None:
        """Put everything on the disk, then into its place."""
        _settle(self._file)
        data = json.dumps(self._index).encode()
        with _create(self._folder / _INDEX) as file:
            file.write(self._vault.seal(self.wrapped_key, self._owner, (_INDEX,), data))
            _settle(file)
        sync_folder(self._folder)
        self._folder.rename(self._place)
        sync_folder(self._place.parent)


class _Sealed:
    """Implements ``core.datasets.DatasetImages``."""

    def __init__(self, folder: Path, wrapped_key: bytes, vault: Vault) -> None:
        self._folder, self._key, self._vault = folder, wrapped_key, vault
        index = json.loads(self._opened((_INDEX,), self._bytes(_INDEX)))
        self._places = [(int(entry["offset"]), int(entry["bytes"])) for entry in index]
        self.images: Sequence[DatasetImage] = tuple(
            DatasetImage(entry["name"], entry["label"]) for entry in index
        )

    def read(self, number: int) -> bytes:
        """An image as it came.

        Raises:
            WhorlError: it is damaged (slug ``store_damaged``).
        """
        data = self._bytes(_IMAGES, *self._places[number])
        return self._opened((_IMAGES, str(number)), data)

    def _bytes(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        try:
            with (self._folder / name).open("rb") as file:
                file.seek(offset)
                return file.read(length)
        except OSError as error:
            raise WhorlError(
                f"The images of data set {self._folder.name} cannot be read ({error.strerror}); "
                "restore them from a backup, or delete it and upload it again.",
                slug="store_damaged",
            ) from error

    def _opened(self, label: tuple[str, ...], data: bytes) -> bytes:
        return self._vault.open(self._key, (_OWNER, self._folder.name), label, data)


def _create(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")


def _settle(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _full_disk_named() -> Iterator[None]:
    """Name the one failure of the disk that its owner can mend at once.

    Raises:
        WhorlError: no room is left (slug ``store_full``).
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise WhorlError(
            "The disk with the data sets is full; make room.", slug="store_full"
        ) from error
