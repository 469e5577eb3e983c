"""Archives of drawn prints, in memory, as somebody would upload them."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping

from tests.fakes.prints import print_png


def drawn_prints(
    fingers: int = 5, captures: int = 2, dpi: int | None = 500, *, first: int = 0
) -> dict[str, bytes]:
    """Files by name, like "2_1.png" for the first capture of finger 2; those after ``first``."""
    return {
        f"{finger + 1}_{capture + 1}.png": print_png(finger, capture, dpi)
        for finger in range(first, first + fingers)
        for capture in range(captures)
    }


def zip_bytes(members: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tar_bytes(members: Mapping[str, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
