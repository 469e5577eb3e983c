"""Entries of zip and tar archives one by one, with no more of them in memory than is asked for."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Self, cast

from app.core.errors import InvalidInput
from app.learning.siamese.archive_limits import MAX_TAR_HEADER_BYTES, Limited
from app.learning.siamese.files import Bytes

BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,  # zipfile: a password is needed, or the compression is not supported
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Member:
    """An archive's entry and what reads it while the archive stands at it."""

    name: str
    size_bytes: int
    kind: str
    read: Bytes


def zip_members(source: Path, limits: Limited) -> Iterator[Member]:
    """The entries of a zip, in the order of its directory; raises what is in ``BROKEN``."""
    with source.open("rb") as file:
        bounded = _Bounded(file, limits)
        with zipfile.ZipFile(cast("IO[bytes]", bounded)) as archive:
            bounded.let_go()
            for info in archive.infolist():
                yield Member(
                    _tidy(info.filename),
                    info.file_size,
                    _zip_kind(info),
                    lambda info=info: _read_member(  # type: ignore[misc]
                        lambda: archive.open(info), limits.max_file_bytes
                    ),
                )


def _zip_kind(info: zipfile.ZipInfo) -> str:
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "other"
    if info.is_dir():
        return "folder"
    # Other ways of packing let a few bytes ask for gigabytes of memory before they give any.
    return "file" if info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) else "packed"


def tar_members(source: Path, limits: Limited) -> Iterator[Member]:
    """The entries of a tar, packed or not, in their order; raises what is in ``BROKEN``."""
    with source.open("rb") as file, _decompressed(file) as stream:
        counted = cast("IO[bytes]", _Counted(stream, limits))
        with tarfile.open(fileobj=counted, mode="r|", tarinfo=_WholeEntry) as archive:
            for info in archive:
                kind = "folder" if info.isdir() else "file" if info.isreg() else "other"
                yield Member(
                    _tidy(info.name),
                    info.size,
                    kind,
                    lambda info=info: _read_member(  # type: ignore[misc]
                        lambda: cast("IO[bytes]", archive.extractfile(info)), limits.max_file_bytes
                    ),
                )
                archive.members.clear()  # type: ignore[attr-defined] # else all stay in memory


def _tidy(name: str) -> str:
    """A member's name without the "./" that tar puts first and the "/" that ends a folder."""
    tidy = re.sub(r"^(\./)+", "", name).rstrip("/")
    return tidy or (name if name.startswith("/") else ".")


def _read_member(opened: Callable[[], IO[bytes]], max_bytes: int) -> bytes:
    try:
        with opened() as file:
            return file.read(max_bytes)
    except BROKEN as error:
        raise InvalidInput(
            f"the archive's member cannot be read: {error}", slug="broken_pictures"
        ) from error


def _decompressed(file: BinaryIO) -> IO[bytes]:
    magic = file.read(6)
    file.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if magic.startswith(b"BZh"):
        return cast("IO[bytes]", bz2.BZ2File(file))
    if magic.startswith(b"\xfd7zXZ\x00"):
        return cast("IO[bytes]", lzma.LZMAFile(file))
    return file


class _WholeEntry(tarfile.TarInfo):
    """An entry that is told from the end of the archive, and whose header is not endless.

    ``tarfile`` takes a truncated or damaged header for the end, so pictures would be missing and
    nobody would know.
    """

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        # tarfile's own stream of blocks lies between the archive and what counts.
        counted: _Counted = tarfile_.fileobj.fileobj  # type: ignore[attr-defined]
        try:
            with counted.header():
                entry = super().fromtarfile(tarfile_)
            tarfile_.pax_headers = {}  # what is said of all files adds up, and pictures need none
            return entry
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined] # typeshed lacks it
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error


class _Counted:
    """A stream that stops where an archive decompresses to more than is accepted.

    The sizes in a tar's headers do not cover the headers themselves, which can be as long as one
    likes, and which ``tarfile`` reads into memory.
    """

    def __init__(self, stream: IO[bytes], limits: Limited) -> None:
        self._stream, self._limits = stream, limits
        self._bytes = 0
        self._header_left: int | None = None

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._bytes += len(data)
        self._limits.check(0, self._bytes)
        if self._header_left is not None:
            self._header_left -= len(data)
            if self._header_left < 0:
                self._limits.refuse(f"a header of more than {MAX_TAR_HEADER_BYTES:,} bytes")
        return data

    @contextmanager
    def header(self) -> Iterator[None]:
        """While a file's header is read, together with those that belong to it."""
        outermost = self._header_left is None
        if outermost:
            self._header_left = MAX_TAR_HEADER_BYTES
        try:
            yield
        finally:
            if outermost:
                self._header_left = None


class _Bounded:
    """A zip's file, of which not more than its directory may be is read at once.

    ``zipfile`` reads as much as the end of the file says, and makes an object of every entry.
    """

    def __init__(self, file: BinaryIO, limits: Limited) -> None:
        self._file, self._limits = file, limits
        self._bound = True
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def let_go(self) -> None:
        """The directory has been read."""
        self._bound = False

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._bound and size > self._limits.max_directory_bytes:
            self._limits.refuse("a list of more files")
        return self._file.read(size)
