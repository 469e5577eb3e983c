"""Forms of the names that callers may use in paths, queries and bodies."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

GALLERY = r"^[a-z0-9][a-z0-9_-]{0,62}$"
PERSON = r"^[A-Za-z0-9][A-Za-z0-9._@:-]{0,127}$"
TEMPLATE = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
MODEL = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
HEX = r"^[0-9a-f]{1,64}$"
PLAIN_TEXT = r"^[^\x00-\x1f\x7f]+$"

GalleryPath = Annotated[str, Path(pattern=GALLERY, examples=["default"])]
PersonPath = Annotated[str, Path(pattern=PERSON, examples=["alice"])]
TemplatePath = Annotated[str, Path(pattern=TEMPLATE)]
ModelPath = Annotated[str, Path(pattern=MODEL)]
JobPath = Annotated[str, Path(pattern=HEX)]
DatasetPath = Annotated[str, Path(pattern=HEX)]
KeyPath = Annotated[str, Path(pattern=HEX)]
GalleryQuery = Annotated[
    str, Query(pattern=GALLERY, description="The gallery the person is in.", examples=["default"])
]
