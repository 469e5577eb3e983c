"""Members of zip and tar archives in memory, with limits; nothing is ever unpacked to disk.

An archive may come from anybody, so sizes are counted while it is decompressed, and paths that
would lead out of a folder are refused although nothing is written to them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from app.core.errors import InvalidInput
from app.learning.siamese.archive_limits import ArchiveLimits, Limited
from app.learning.siamese.archive_members import BROKEN, Member, tar_members, zip_members
from app.learning.siamese.files import MAX_FILE_BYTES, Bytes, Listing, hidden, too_large

MAX_TOTAL_BYTES = 2 * 1024**3
MAX_FILES = 200_000
MAX_NAME_CHARS = 1000

_ARCHIVE_SUFFIXES = frozenset({".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip"})
_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


def is_archive(source: Path) -> bool:
    """Whether the file is called an archive that ``open_archive`` reads."""
    return source.name.lower().endswith((".zip", *_TAR_SUFFIXES))


def open_archive(source: Path) -> Archive:
    """List an archive of which the name says what it is.

    Raises:
        InvalidInput: it is damaged (slug ``broken_pictures``) or holds more than is accepted
            (``archive_too_large``).
    """
    limits = ArchiveLimits(MAX_TOTAL_BYTES, MAX_FILES, MAX_FILE_BYTES)
    return Archive(source, source.name, limits, zipped=source.name.lower().endswith(".zip"))


class Archive:
    """The files of an archive, read through once to list and once to read them.

    Args:
        title: what the archive is called in errors.
        zipped: whether it is a zip, not a tar.

    Raises:
        InvalidInput: as ``open_archive``.
    """

    def __init__(self, source: Path, title: str, limits: ArchiveLimits, *, zipped: bool) -> None:
        self._source, self._title, self._zipped = source, title, zipped
        self._limits = Limited(title, limits, source.stat().st_size)
        self.listing = self._list()

    def contents(self, wanted: Collection[str]) -> Iterator[tuple[str, Bytes]]:
        """Each of the wanted files once, in the archive's order, with what reads it."""
        left = set(wanted)
        with _only_invalid_input(self._title):
            for member in self._members():
                if member.name in left and self._refusal(member) is None:
                    left.remove(member.name)
                    yield member.name, member.read

    def _list(self) -> Listing:
        names: dict[str, None] = {}
        folders, skipped = [], {}
        total_bytes = 0
        with _only_invalid_input(self._title):
            for count, member in enumerate(self._members(), 1):
                total_bytes += member.size_bytes
                self._limits.check(count, total_bytes)
                if len(member.name) > MAX_NAME_CHARS:
                    self._limits.refuse(f"a name of more than {MAX_NAME_CHARS:,} characters")
                reason = self._refusal(member)
                if reason is not None:
                    skipped[member.name] = reason
                elif member.kind == "folder":
                    folders.append(member.name)
                elif member.name in names:
                    skipped[f"{member.name} (again)"] = "a file of this name came before"
                else:
                    names[member.name] = None
        return Listing(tuple(names), tuple(folders), skipped)

    def _members(self) -> Iterator[Member]:
        members = zip_members if self._zipped else tar_members
        return members(self._source, self._limits)

    def _refusal(self, member: Member) -> str | None:
        return _refusal(member, self._limits.max_file_bytes)


def _refusal(member: Member, max_file_bytes: int) -> str | None:
    """Why a member is left out, if it is."""
    parts = re.split(r"[/\\]", member.name)
    suffix = PurePosixPath(member.name).suffix.lower()
    is_file = member.kind == "file"
    reasons = {
        "its path leads out of the archive": not parts[0]
        or ".." in parts
        or re.match(r"[A-Za-z]:", member.name),
        "a link or a special file": member.kind == "other",
        "packed in a way that is not read": member.kind == "packed",
        "a hidden file": hidden(member.name),
        "an archive within the archive": is_file and suffix in _ARCHIVE_SUFFIXES,
        too_large(max_file_bytes): is_file and member.size_bytes > max_file_bytes,
    }
    return next((reason for reason, applies in reasons.items() if applies), None)


@contextmanager
def _only_invalid_input(title: str) -> Iterator[None]:
    try:
        yield
    except InvalidInput:
        raise
    except BROKEN as error:
        raise InvalidInput(
            f"{title} is damaged or not an archive of its kind: {error}",
            slug="broken_pictures",
        ) from error
