"""One large file of a form, straight to the disk: no more of it is in memory than one read.

The framework's own parser would spool it to the system's temporary folder, which may be memory and
is not the service's own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.api.bodies import Body
from app.api.forms import FORM, validated
from app.api.problems import FieldError, invalid_request, printable
from app.api.state import Services
from app.core.errors import InvalidInput

B = TypeVar("B", bound=Body)

_MAX_PARTS = 16
_MAX_TEXT_BYTES = 4096
# What a form has besides the file: boundaries, headers, the other fields.
_FORM_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class Upload(Generic[B]):
    """A file on the disk, there until the request has been answered, and the other fields."""

    file: Path
    body: B


def uploaded(model: type[B], name: str) -> Any:
    """A dependency that receives the file of one field and gives it with the form's other fields.

    It raises the limit of the body for its route, and so must stand behind the guard of the key.

    Args:
        model: of the other fields.
        name: of the file's field.

    Raises (when resolved):
        InvalidInput: ``unsupported_media_type`` (415), ``malformed_request`` (400),
            ``request_too_large`` (413) or ``invalid_request`` (422, naming every field).
        Overloaded: too many uploads are under way (``uploads_busy``).
    """

    async def receive(request: Request, services: Services) -> AsyncIterator[Upload[B]]:
        tools = services.datasets
        request.state.max_body_bytes = tools.limits.max_archive_bytes + _FORM_BYTES
        boundary = _boundary(request)
        with tools.files.receiving() as path:
            fields = await _received(request, boundary, path, name)
            yield Upload(path, validated(model, fields, strict=False))

    return Depends(receive)


async def _received(request: Request, boundary: bytes, path: Path, name: str) -> dict[str, str]:
    with path.open("r+b") as file:
        form = _Form(file, name)
        try:
            parser = MultipartParser(boundary, form.callbacks())
            async for chunk in request.stream():
                if chunk:
                    await run_in_threadpool(parser.write, chunk)
            await run_in_threadpool(parser.finalize)
        except FormParserError as error:
            raise _malformed(f"The form cannot be read: {printable(str(error))}") from None
    if not form.ended:
        raise _malformed("The form is cut off: its last boundary is missing.")
    if not form.file_bytes:
        form.flaws.append(FieldError(name, "must be a file" if not form.has_file else "is empty"))
    if form.flaws:
        raise invalid_request(form.flaws)
    return form.fields


@dataclass(slots=True)
class _Form:
    """What the parser calls: the file's bytes go to the disk, short texts are kept."""

    file: BinaryIO
    name: str
    fields: dict[str, str] = field(default_factory=dict)
    flaws: list[FieldError] = field(default_factory=list)
    ended: bool = False
    has_file: bool = False
    file_bytes: int = 0
    _parts: int = 0
    _header: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))
    _disposition: bytes = b""
    _text: bytearray = field(default_factory=bytearray)
    _part: str = ""
    _to_disk: bool = False

    def callbacks(self) -> Any:
        """What the parser is given."""
        return {
            "on_part_begin": self._part_begins,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._header_ends,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._data,
            "on_part_end": self._part_ends,
            "on_end": self._ends,
        }

    def _part_begins(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise _malformed(f"The form has more than {_MAX_PARTS} parts.")
        self._disposition, self._part, self._to_disk = b"", "", False
        self._text.clear()

    def _header_ends(self) -> None:
        if bytes(self._header[0]).lower() == b"content-disposition":
            self._disposition = bytes(self._header[1])
        for part in self._header:
            part.clear()

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise _malformed("A part of the form has no name.")
        self._part = printable(options[b"name"].decode("utf-8", "replace"))
        is_file = b"filename" in options
        if is_file != (self._part == self.name):
            wanted = "text, not a file" if is_file else "a file"
            self.flaws.append(FieldError(self._part, f"must be {wanted}"))
            # It is read to its end and forgotten.
            self._part = ""
        elif is_file and self.has_file:
            self.flaws.append(FieldError(self._part, "is given more than once"))
            self._part = ""
        elif is_file:
            self.has_file = self._to_disk = True

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._to_disk:
            self.file_bytes += self.file.write(memoryview(data)[start:end])
        elif self._part:
            self._text += data[start:end]
            if len(self._text) > _MAX_TEXT_BYTES:
                raise _malformed(f"A field has more than {_MAX_TEXT_BYTES} bytes.")

    def _part_ends(self) -> None:
        if not self._part or self._to_disk:
            return
        if self._part in self.fields:
            self.flaws.append(FieldError(self._part, "is given more than once"))
        self.fields[self._part] = self._text.decode("utf-8", "replace")

    def _ends(self) -> None:
        self.ended = True


def _boundary(request: Request) -> bytes:
    declared = request.headers.get("content-type", "")
    media_type, options = parse_options_header(declared)
    if media_type.lower() != FORM.encode():
        found = f"'{printable(declared.partition(';')[0].strip())}'" if declared else "nothing"
        raise InvalidInput(
            f"The Content-Type says {found}; this address takes {FORM}.",
            slug="unsupported_media_type",
        )
    if not options.get(b"boundary"):
        raise _malformed("The Content-Type does not say the form's boundary.")
    return options[b"boundary"]


def _malformed(detail: str) -> InvalidInput:
    return InvalidInput(detail, slug="malformed_request")
