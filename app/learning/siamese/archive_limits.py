"""How much an archive may hold, checked while it is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NoReturn

from app.core.errors import InvalidInput

# What a tar says of one file, and a zip of all, is read into memory as a whole.
MAX_TAR_HEADER_BYTES = 1024**2
ZIP_DIRECTORY_BYTES_A_FILE = 256
# Small archives may unpack to much: a header of many zeros a file.
_RATIO_FREE_BYTES = 16 * 1024**2


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How much an archive may hold.

    Attributes:
        max_bytes: unpacked, in all.
        max_files: entries, folders and what is left out included.
        max_file_bytes: larger files are left out.
        max_ratio: unpacked bytes a byte of the archive, beyond the first 16 MiB.
    """

    max_bytes: int
    max_files: int
    max_file_bytes: int
    max_ratio: float = math.inf


@dataclass(frozen=True, slots=True)
class Limited:
    """The limits as they hold for one archive of so many bytes."""

    title: str
    limits: ArchiveLimits
    archive_bytes: int

    @property
    def max_file_bytes(self) -> int:
        """Larger files are left out."""
        return self.limits.max_file_bytes

    @property
    def max_directory_bytes(self) -> int:
        """What a zip says of all its files."""
        return max(MAX_TAR_HEADER_BYTES, self.limits.max_files * ZIP_DIRECTORY_BYTES_A_FILE)

    def check(self, count: int, total_bytes: int) -> None:
        """Raise where there is more than that of files or unpacked bytes."""
        most = self.limits
        if count > most.max_files or total_bytes > most.max_bytes:
            self.refuse(f"more than {most.max_files:,} files or {most.max_bytes:,} bytes")
        if total_bytes > _RATIO_FREE_BYTES + most.max_ratio * self.archive_bytes:
            self.refuse(f"more than {most.max_ratio:g} times as many bytes as it has itself")

    def refuse(self, what: str) -> NoReturn:
        """Say that the archive holds too much of something.

        Raises:
            InvalidInput: always (slug ``archive_too_large``).
        """
        raise InvalidInput(
            f"{self.title} holds {what}; unpack it and give the folder, or give less",
            slug="archive_too_large",
            max_files=self.limits.max_files,
            max_bytes=self.limits.max_bytes,
        )
