"""Members of zip and tar archives in memory, with limits; nothing is ever unpacked to disk.

An archive may come from anybody, so sizes are counted while it is decompressed, and paths that
would lead out of a folder are refused although nothing is written to them.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, Self, cast

from app.core.errors import InvalidInput
from app.learning.siamese.files import MAX_FILE_BYTES, TOO_LARGE, Bytes, Listing, hidden

MAX_TOTAL_BYTES = 2 * 1024**3
MAX_FILES = 200_000

_ARCHIVE_SUFFIXES = frozenset({".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip"})
_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_BROKEN = (
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


def is_archive(source: Path) -> bool:
    """Whether the file is called an archive that ``open_archive`` reads."""
    return source.name.lower().endswith((".zip", *_TAR_SUFFIXES))


def open_archive(source: Path) -> Archive:
    """List an archive.

    Raises:
        InvalidInput: it is damaged (slug ``broken_pictures``) or holds more than is accepted
            (``archive_too_large``).
    """
    return Archive(source)


class Archive:
    """The files of an archive, read through once to list and once to read them."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self.listing = self._list()

    def contents(self, wanted: Collection[str]) -> Iterator[tuple[str, Bytes]]:
        """Each of the wanted files once, in the archive's order, with what reads it."""
        left = set(wanted)
        with _only_invalid_input(self._source):
            for member in _members(self._source):
                if member.name in left and _refusal(member) is None:
                    left.remove(member.name)
                    yield member.name, member.read

    def _list(self) -> Listing:
        names: dict[str, None] = {}
        folders, skipped = [], {}
        total_bytes = 0
        with _only_invalid_input(self._source):
            for count, member in enumerate(_members(self._source), 1):
                total_bytes += member.size_bytes
                _check_limits(self._source, count, total_bytes)
                reason = _refusal(member)
                if reason is not None:
                    skipped[member.name] = reason
                elif member.kind == "folder":
                    folders.append(member.name)
                elif member.name in names:
                    skipped[f"{member.name} (again)"] = "a file of this name came before"
                else:
                    names[member.name] = None
        return Listing(tuple(names), tuple(folders), skipped)


def _check_limits(source: Path, count: int, total_bytes: int) -> None:
    if count > MAX_FILES or total_bytes > MAX_TOTAL_BYTES:
        raise InvalidInput(
            f"{source.name} holds more than {MAX_FILES:,} files or {MAX_TOTAL_BYTES:,} bytes; "
            "unpack it and give the folder",
            slug="archive_too_large",
            max_files=MAX_FILES,
            max_bytes=MAX_TOTAL_BYTES,
        )


def _refusal(member: Member) -> str | None:
    """Why a member is left out, if it is."""
    parts = re.split(r"[/\\]", member.name)
    suffix = PurePosixPath(member.name).suffix.lower()
    is_file = member.kind == "file"
    reasons = {
        "its path leads out of the archive": not parts[0]
        or ".." in parts
        or re.match(r"[A-Za-z]:", member.name),
        "a link or a special file": member.kind == "other",
        "a hidden file": hidden(member.name),
        "an archive within the archive": is_file and suffix in _ARCHIVE_SUFFIXES,
        TOO_LARGE: is_file and member.size_bytes > MAX_FILE_BYTES,
    }
    return next((reason for reason, applies in reasons.items() if applies), None)


def _members(source: Path) -> Iterator[Member]:
    is_zip = source.name.lower().endswith(".zip")
    return _zip_members(source) if is_zip else _tar_members(source)


def _zip_members(source: Path) -> Iterator[Member]:
    with zipfile.ZipFile(source) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            special = stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR)
            kind = "folder" if info.is_dir() else "other" if special else "file"
            yield Member(
                _tidy(info.filename),
                info.file_size,
                kind,
                lambda info=info: _read_member(lambda: archive.open(info)),  # type: ignore[misc]
            )


def _tar_members(source: Path) -> Iterator[Member]:
    with source.open("rb") as file, _decompressed(file) as stream:
        counted = cast("IO[bytes]", _Counted(stream, source))
        with tarfile.open(fileobj=counted, mode="r|", tarinfo=_WholeEntry) as archive:
            for info in archive:
                kind = "folder" if info.isdir() else "file" if info.isreg() else "other"
                yield Member(
                    _tidy(info.name),
                    info.size,
                    kind,
                    lambda info=info: _read_member(  # type: ignore[misc]
                        lambda: cast("IO[bytes]", archive.extractfile(info))
                    ),
                )


def _tidy(name: str) -> str:
    """A member's name without the "./" that tar puts first and the "/" that ends a folder."""
    tidy = re.sub(r"^(\./)+", "", name).rstrip("/")
    return tidy or (name if name.startswith("/") else ".")


def _read_member(opened: Callable[[], IO[bytes]]) -> bytes:
    try:
        with opened() as file:
            return file.read(MAX_FILE_BYTES)
    except _BROKEN as error:
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
    """An entry that is told from the end of the archive.

    ``tarfile`` takes a truncated or damaged header for the end, so pictures would be missing and
    nobody would know.
    """

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined] # typeshed lacks it
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error


class _Counted:
    """A stream that stops where an archive decompresses to more than is accepted.

    The sizes in a tar's headers do not cover the headers themselves, which can be as long as one
    likes.
    """

    def __init__(self, stream: IO[bytes], source: Path) -> None:
        self._stream, self._source = stream, source
        self._bytes = 0

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._bytes += len(data)
        _check_limits(self._source, 0, self._bytes)
        return data


@contextmanager
def _only_invalid_input(source: Path) -> Iterator[None]:
    try:
        yield
    except InvalidInput:
        raise
    except _BROKEN as error:
        raise InvalidInput(
            f"{source.name} is damaged or not an archive of its kind: {error}",
            slug="broken_pictures",
        ) from error
