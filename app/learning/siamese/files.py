"""Named files of a data set, wherever they lie, and those of a folder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from app.core.errors import InvalidInput

MAX_FILE_BYTES = 64 * 1024**2

Bytes = Callable[[], bytes]
"""Reads one file; raises ``InvalidInput`` where it cannot be read."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a folder or an archive holds.

    Attributes:
        names: files that may be read, as paths below its top with "/".
        folders: folders that are named themselves, likewise; they may be empty.
        skipped: name -> why it is left out.
    """

    names: tuple[str, ...]
    folders: tuple[str, ...]
    skipped: dict[str, str]


class Files(Protocol):
    """Named files that can be read, wherever they lie."""

    @property
    def listing(self) -> Listing:
        """What there is."""
        ...

    def contents(self, wanted: Collection[str]) -> Iterator[tuple[str, Bytes]]:
        """Each of the wanted files once, in any order, with what reads it.

        Reading raises ``InvalidInput`` for a file that cannot be read.
        """
        ...


class Folder:
    """The files below a folder of the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        names, folders, skipped = [], [], {}
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if hidden(name):
                skipped[name] = "a hidden file"
            elif path.is_dir():
                folders.append(name)
            elif path.is_file():
                names.append(name)
            else:
                skipped[name] = "neither a file nor a folder"
        self.listing = Listing(tuple(names), tuple(folders), skipped)

    def contents(self, wanted: Collection[str]) -> Iterator[tuple[str, Bytes]]:
        """See ``Files``."""
        for name in wanted:
            yield name, lambda name=name: self._read(name)  # type: ignore[misc]

    def _read(self, name: str) -> bytes:
        path = self._folder / name
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise InvalidInput(too_large(MAX_FILE_BYTES))
            return path.read_bytes()
        except OSError as error:
            raise InvalidInput(f"the file cannot be read: {error.strerror}") from error


def too_large(max_bytes: int) -> str:
    """Why a file of more bytes is left out."""
    return f"the file has more than {max_bytes:,} bytes"


def hidden(name: str) -> bool:
    """Whether a path is one that systems add beside people's files."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)
