"""Bodies of requests: the fields of a form and of JSON alike."""

from __future__ import annotations

from base64 import b64decode
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from app.api.names import GALLERY, PERSON, PLAIN_TEXT, TEMPLATE
from app.core.records import ImagePolicy, Scope
from app.imaging.resolution import MAX_DPI, MIN_DPI
from app.services.outcomes import OnDuplicate


def _decode_base64(value: Any) -> Any:
    """Base64 of JSON, with or without a data URL's head; a form's file is bytes already."""
    if not isinstance(value, str):
        return value
    payload = value.partition(",")[2] if value.startswith("data:") else value
    try:
        return b64decode(payload, validate=True)
    except ValueError:
        raise ValueError("is not base64 (standard alphabet, padded, no line breaks)") from None


def _not_empty(value: bytes) -> bytes:
    if not value:
        raise ValueError("is empty")
    return value


def _member(kind: type[StrEnum]) -> BeforeValidator:
    """A member by its text, also where JSON is read strictly."""

    def read(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value not in set(kind):
            raise ValueError(f"must be one of {', '.join(kind)}")
        return kind(value)

    return BeforeValidator(read)


IMAGE_SCHEMA = {
    "type": "string",
    "contentEncoding": "base64",
    "minLength": 1,
    "description": "An image file (PNG, BMP, TIFF, JPEG, PGM, WSQ) in base64; a data URL will do.",
}

ARCHIVE_SCHEMA = {
    "type": "string",
    "contentEncoding": "base64",
    "minLength": 1,
    "description": "Zip or uncompressed tar of a model's folder (manifest.json and the files that "
    "it names), in base64.",
}

Image = Annotated[
    bytes,
    BeforeValidator(_decode_base64),
    AfterValidator(_not_empty),
    WithJsonSchema(IMAGE_SCHEMA, mode="validation"),
]
Dpi = Annotated[
    float,
    Field(
        gt=0,
        allow_inf_nan=False,
        description="Resolution in pixels per inch, where the file does not say it.",
        examples=[500],
    ),
]
SensorDpi = Annotated[float, Field(ge=MIN_DPI, le=MAX_DPI, examples=[500])]
Rate = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Finger = Annotated[
    int,
    Field(
        ge=0,
        le=10,
        description="ISO/IEC 19794-4: 0 unknown, 1 right thumb .. 10 left little finger.",
        examples=[2],
    ),
]
GalleryId = Annotated[str, Field(pattern=GALLERY)]
PersonId = Annotated[str, Field(pattern=PERSON, examples=["alice"])]


def _one_of(*names: str) -> dict[str, Any]:
    return {"anyOf": [{"required": [name]} for name in names]}


class Body(BaseModel):
    """A request's fields; what is not known is refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    image_fields: ClassVar[frozenset[str]] = frozenset()
    repeated_fields: ClassVar[frozenset[str]] = frozenset()


class EnrolBody(Body):
    """One or more images of one finger of one person."""

    model_config = ConfigDict(json_schema_extra=_one_of("images", "image"))

    image_fields: ClassVar[frozenset[str]] = frozenset({"image", "images"})
    repeated_fields: ClassVar[frozenset[str]] = frozenset({"images"})

    gallery: GalleryId = "default"
    person_id: PersonId | None = Field(None, description="Without it, one is made.")
    finger: Finger = 0
    images: list[Image] = Field([], max_length=10)
    image: Image | None = Field(None, description="A single image, instead of `images`.")
    dpi: Dpi | None = None
    on_duplicate: Annotated[OnDuplicate, _member(OnDuplicate)] = OnDuplicate.REJECT
    consent_training: bool | None = Field(
        None,
        description="Whether the person's kept images may be trained on; without it as it was, at "
        "first not.",
    )

    @model_validator(mode="after")
    def _some_image(self) -> Self:
        if bool(self.images) == (self.image is not None):
            raise ValueError("give the finger's images in 'images' (or a single one in 'image')")
        return self

    def samples(self) -> tuple[bytes, ...]:
        """All images, in order."""
        return (self.image,) if self.image is not None else tuple(self.images)


class VerifyBody(Body):
    """A probe image and who it is claimed to be: a person, or a template."""

    model_config = ConfigDict(json_schema_extra=_one_of("person_id", "template_id"))

    image_fields: ClassVar[frozenset[str]] = frozenset({"image"})

    gallery: GalleryId = "default"
    image: Image
    person_id: PersonId | None = None
    template_id: Annotated[str, Field(pattern=TEMPLATE)] | None = None
    finger: Finger | None = Field(None, description="Compare this finger only; else all.")
    dpi: Dpi | None = None
    fmr: Rate | None = Field(
        None,
        description="False match rate that the decision must keep; without it 0.0001, or the "
        "smallest that the model's calibration supports where that is higher.",
    )

    @model_validator(mode="after")
    def _one_claim(self) -> Self:
        if (self.person_id is None) == (self.template_id is None):
            raise ValueError("give either 'person_id' or 'template_id'")
        return self


class IdentifyBody(Body):
    """A probe image that is searched for in a gallery."""

    image_fields: ClassVar[frozenset[str]] = frozenset({"image"})

    gallery: GalleryId = "default"
    image: Image
    dpi: Dpi | None = None
    limit: int = Field(5, ge=1, le=100, description="Most candidates.")
    fpir: Rate | None = Field(
        None, description="False positive identification rate that the search must keep."
    )


class CompareBody(Body):
    """Two images; nothing is stored."""

    image_fields: ClassVar[frozenset[str]] = frozenset({"image_a", "image_b"})

    image_a: Image
    image_b: Image
    dpi: Dpi | None = None
    fmr: Rate | None = Field(
        None,
        description="False match rate that the decision must keep; without it 0.0001, or the "
        "smallest that the model's calibration supports where that is higher.",
    )


class QualityBody(Body):
    """One image; nothing is stored."""

    image_fields: ClassVar[frozenset[str]] = frozenset({"image"})

    image: Image
    dpi: Dpi | None = None
    gallery: GalleryId | None = Field(None, description="Whose default resolution to take.")


class PersonBody(Body):
    """What can be changed of a person."""

    consent_training: bool = Field(
        description="Whether the person's kept images may be trained on."
    )


class DatasetBody(Body):
    """What an uploaded archive is called, and how its labels are read."""

    name: str = Field(pattern=PLAIN_TEXT, max_length=100, examples=["front door, spring"])
    pattern: Annotated[str, Field(pattern=PLAIN_TEXT, max_length=200)] | None = Field(
        None,
        description="Regular expression that finds the labels in a file's name.",
        examples=[r"(?P<finger>\d+)_\d+"],
    )
    dpi: SensorDpi | None = Field(None, description="Resolution of images that do not say theirs.")


class GalleryBody(Body):
    """A gallery's settings; what is not given stays, or takes its default in a new gallery."""

    store_images: Annotated[ImagePolicy, _member(ImagePolicy)] | None = Field(
        None, description="Whether sample images are kept, encrypted, beside the templates."
    )
    default_dpi: SensorDpi | None = Field(
        None, description="For files that do not say theirs; null removes what is set."
    )
    upgrade_on_match: bool | None = Field(
        None,
        description="Whether a probe that matches moves a template without a kept image to the "
        "model in service.",
    )


class ModelBody(Body):
    """A model: its folder, packed."""

    image_fields: ClassVar[frozenset[str]] = frozenset({"archive"})

    archive: Annotated[
        bytes,
        BeforeValidator(_decode_base64),
        AfterValidator(_not_empty),
        WithJsonSchema(ARCHIVE_SCHEMA, mode="validation"),
    ]


class KeyBody(Body):
    """A new key's name and what it may do."""

    name: str = Field(pattern=PLAIN_TEXT, max_length=100, examples=["reader at the front door"])
    scopes: list[Annotated[Scope, _member(Scope)]] = Field(min_length=1, max_length=50)
