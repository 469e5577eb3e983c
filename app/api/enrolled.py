"""The body of the answer to an enrolment."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from app.api.problems import title_of
from app.api.schemas import Answer, Dpi, QualityAnswer, Timings
from app.core.errors import WhorlError
from app.core.types import DpiSource
from app.services.context import Actor
from app.services.outcomes import DuplicateFinger, Enrolment, ImageOutcome


class EnrolledTemplate(Answer):
    """A template that was made of one of the images."""

    template_id: str
    image: int = Field(description="Index of the image, from 0.")
    quality: QualityAnswer
    dpi: Dpi | None
    dpi_source: DpiSource


class ImageProblem(Answer):
    """Why an image was refused."""

    slug: str
    title: str
    detail: str

    @classmethod
    def of(cls, error: WhorlError) -> Self:
        """The error of one image."""
        return cls(slug=error.slug, title=title_of(error.slug), detail=error.detail)


class EnrolledImage(Answer):
    """What became of one image."""

    index: int
    outcome: str = Field(pattern="^(enrolled|refused)$")
    template_id: str | None
    quality: QualityAnswer | None
    problem: ImageProblem | None

    @classmethod
    def of(cls, image: ImageOutcome) -> Self:
        """The outcome of one image."""
        problem = image.problem
        return cls(
            index=image.index,
            outcome="enrolled" if problem is None else "refused",
            template_id=image.template_id,
            quality=None if image.quality is None else QualityAnswer.of(image.quality),
            problem=None if problem is None else ImageProblem.of(problem),
        )


class DuplicateAnswer(Answer):
    """Somebody else's finger that looks the same."""

    person_id: str
    finger: int

    @classmethod
    def of(cls, duplicate: DuplicateFinger) -> Self:
        """Without the template: it is not the caller's."""
        return cls(person_id=duplicate.person_id, finger=duplicate.finger)


class EnrolAnswer(Answer):
    """At least one image was enrolled."""

    gallery: str
    person_id: str
    finger: int
    model_id: str
    templates: list[EnrolledTemplate]
    images: list[EnrolledImage]
    duplicates: list[DuplicateAnswer]
    timings_ms: Timings
    request_id: str

    @classmethod
    def of(cls, enrolment: Enrolment, actor: Actor) -> Self:
        """The answer to an enrolment."""
        return cls(
            gallery=enrolment.gallery,
            person_id=enrolment.person_id,
            finger=enrolment.finger,
            model_id=enrolment.model_id,
            templates=[
                EnrolledTemplate(
                    template_id=image.template_id,
                    image=image.index,
                    quality=QualityAnswer.of(image.quality),
                    dpi=image.facts.dpi,
                    dpi_source=image.facts.dpi_source,
                )
                for image in enrolment.images
                if image.template_id is not None and image.quality and image.facts
            ],
            images=[EnrolledImage.of(image) for image in enrolment.images],
            duplicates=[DuplicateAnswer.of(duplicate) for duplicate in enrolment.duplicates],
            timings_ms=dict(enrolment.timings_ms),
            request_id=actor.request_id or "",
        )
