"""Labelled pictures as files, in folders and archives."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.core.errors import InvalidInput
from app.core.params import PictureParams
from app.learning.siamese.pictures import LabelledPictures
from app.learning.siamese.sources import read_pictures

SMALL = PictureParams(12, 10)
FACES = {f"s{person}/{shot}.png": 20 * person + shot for person in (1, 2, 10) for shot in (2, 10)}


def png(level: int, side_px: int = 16) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((side_px, side_px), level, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def fill(folder: Path, levels: Mapping[str, int]) -> Path:
    for name, level in levels.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(level))
    return folder


def tar_of(path: Path, members: Mapping[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def zip_of(path: Path, members: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def levels(pictures: LabelledPictures) -> list[int]:
    return [round(float(level)) for level in pictures.pixels[:, 0, 0] * 255]


def slug_of(source: Path, **options: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        read_pictures(source, SMALL, **options)  # type: ignore[arg-type]
    return caught.value.slug
