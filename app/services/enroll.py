"""Enrolment: images of one finger become templates of a person, all or none of them stored."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.core.clock import new_id, now_ms
from app.core.errors import Conflict, InvalidInput, PolicyNotSupported
from app.core.ports import LoadedModel, Transaction
from app.core.records import Gallery, ImagePolicy, Person, Reply, StoredImage, Template
from app.core.types import Capture, Descriptor, FingerPosition
from app.imaging.pipeline import require_quality
from app.services import audit, idempotency
from app.services.attempt import Attempt
from app.services.context import Actor, Recognition
from app.services.identifiers import is_person_id
from app.services.outcomes import DuplicateFinger, Enrolment, ImageOutcome, OnDuplicate
from app.services.persons import change_consent
from app.services.policy import DUPLICATE_FMR, duplicate_threshold
from app.services.recognise import (
    ProbeImage,
    SampleImage,
    embed_references,
    embed_references_and_probes,
    existing_gallery,
    prepare_capture,
)
from app.services.search import search_gallery

log = logging.getLogger(__name__)

MAXIMUM_IMAGES = 10
DUPLICATES_LISTED = 5


@dataclass(frozen=True, slots=True)
class EnrolRequest:
    """What to enrol.

    Attributes:
        person_id: the client's own id; None has one generated.
        finger: position code, 0 (unknown) to 10.
        images: 1 to 10 images of this finger.
        consent_training: whether the person's kept images may be trained on; None leaves it as it
            is, at first not.
        reply: renders the answer that is kept for the request's idempotency key, if it has one.
    """

    gallery: str
    person_id: str | None
    finger: int
    images: tuple[bytes, ...]
    dpi: float | None = None
    on_duplicate: OnDuplicate = OnDuplicate.REJECT
    consent_training: bool | None = None
    reply: Callable[[Enrolment], Reply] | None = None


@dataclass(frozen=True, slots=True)
class _Sample:
    """An image that was good enough, on its way to a template."""

    index: int
    image: SampleImage
    capture: Capture
    template_id: str


def enroll(ctx: Recognition, actor: Actor, request: EnrolRequest) -> Enrolment:
    """Enrol; the person is created where unknown. What is returned has been stored durably.

    Raises:
        NotFound: there is no such gallery.
        InvalidInput: the request is malformed, or every image was refused: then it is the first
            refused image's error, with ``images`` telling what was wrong with each.
        Conflict: the finger is enrolled under another person (``duplicate_finger``), or the
            idempotency key was used meanwhile.
    """
    _check(request)
    attempt = Attempt.begin(ctx, actor, ctx.models.active(), request.gallery)
    with attempt.watch.stage("prepare"):
        samples, refused = _prepared(attempt, request)
    person_id = request.person_id or new_id()
    embedded = _embedded(attempt, samples, request.on_duplicate)
    duplicates = _duplicates(attempt, person_id, [probe for _, probe in embedded if probe])
    if duplicates and request.on_duplicate is OnDuplicate.REJECT:
        raise _duplicate_conflict(attempt.model, duplicates)
    # The duplicate check above saw the gallery of a moment ago: two concurrent enrolments of one
    # finger may both pass. Searching again under the write lock would stall all other writers.
    with ctx.store.write() as tx:
        with attempt.watch.stage("store"):
            gallery = existing_gallery(tx, request.gallery)
            if tx.persons.get(gallery.id, person_id) is None:
                tx.persons.add(Person(gallery.id, person_id, now_ms()))
            if request.consent_training is not None:
                change_consent(tx, actor, gallery.id, person_id, request.consent_training)
            for sample, (descriptor, _) in zip(samples, embedded, strict=True):
                _add(tx, _template(gallery, person_id, request.finger, sample), sample.image)
                # Its descriptor names its model, so a promotion meanwhile does no harm.
                tx.templates.add_descriptor(sample.template_id, attempt.model.id, descriptor)
        accepted = [_accepted(sample) for sample in samples]
        outcome = Enrolment(
            gallery=gallery.id,
            person_id=person_id,
            finger=request.finger,
            model_id=attempt.model.id,
            images=tuple(sorted([*accepted, *refused], key=lambda image: image.index)),
            duplicates=duplicates,
            timings_ms=attempt.watch.timings_ms(),
        )
        _record(tx, actor, outcome)
        if request.reply is not None:
            idempotency.keep(tx, request.reply(outcome))
    return outcome


def _check(request: EnrolRequest) -> None:
    if request.person_id is not None and not is_person_id(request.person_id):
        raise InvalidInput(
            "person_id must begin with a letter or digit and hold at most 128 characters of "
            "A-Z a-z 0-9 . _ @ : -",
            slug="invalid_person_id",
        )
    if request.finger not in set(FingerPosition):
        raise InvalidInput("finger must be a position code, 0 to 10", slug="invalid_finger")
    if not 1 <= len(request.images) <= MAXIMUM_IMAGES:
        raise InvalidInput(
            f"give 1 to {MAXIMUM_IMAGES} images, not {len(request.images)}",
            slug="invalid_image_count",
        )


def _prepared(attempt: Attempt, request: EnrolRequest) -> tuple[list[_Sample], list[ImageOutcome]]:
    """Split the images into samples and refused ones."""
    samples: list[_Sample] = []
    refused: list[ImageOutcome] = []
    for index, data in enumerate(request.images):
        image = attempt.sample(data, request.dpi)
        capture = None
        try:
            capture = prepare_capture(image, attempt.model.preparation)
            require_quality(capture.quality, attempt.ctx.minimum_quality)
        except InvalidInput as problem:
            quality, facts = (capture.quality, capture.facts) if capture else (None, None)
            refused.append(ImageOutcome(index, None, quality, facts, problem))
        else:
            samples.append(_Sample(index, image, capture, new_id()))
    if not samples:
        raise _all_refused(refused)
    return samples, refused


def _all_refused(refused: Sequence[ImageOutcome]) -> InvalidInput:
    """The first image's error once more, with all images' problems as its context."""
    problems = [
        (image.index, image.problem) for image in refused if isinstance(image.problem, InvalidInput)
    ]
    images = [{"index": i, "slug": p.slug, "detail": p.detail} for i, p in problems]
    first = problems[0][1]
    return type(first)(first.detail, slug=first.slug, **{**first.context, "images": images})


def _embedded(
    attempt: Attempt, samples: Sequence[_Sample], on_duplicate: OnDuplicate
) -> list[tuple[Descriptor, ProbeImage | None]]:
    """Each sample's descriptor to store, and the sample as a probe where duplicates matter."""
    prepared = [sample.capture.prepared for sample in samples]
    with attempt.watch.stage("embed"):
        if on_duplicate is OnDuplicate.ALLOW:
            return [(seen, None) for seen in embed_references(attempt.model, prepared)]
        references, probes = embed_references_and_probes(attempt.model, prepared)
    return [
        (reference, ProbeImage.embedded(sample.image, attempt.model, sample.capture, probe))
        for sample, reference, probe in zip(samples, references, probes, strict=True)
    ]


def _duplicates(
    attempt: Attempt, person_id: str, probes: Sequence[ProbeImage]
) -> tuple[DuplicateFinger, ...]:
    """Other persons whose templates one of the probes matches; nobody where a model of pictures
    has too few counts to tell them from chance.
    """

    def policy(model: LoadedModel, size: int) -> tuple[float, float]:
        searched, pictures = size * len(probes), model.of_pictures
        bar = duplicate_threshold(model.calibration, searched, of_pictures=pictures)
        return bar, DUPLICATE_FMR

    found: dict[str, DuplicateFinger] = {}
    for probe in probes:
        try:
            # One more than is listed, because the person's own templates may lead.
            result = search_gallery(attempt, probe, policy, DUPLICATES_LISTED + 1)
        except PolicyNotSupported as problem:
            if not attempt.model.of_pictures:
                raise
            log.info("duplicates are not looked for: %s", problem.detail)
            break
        for match in result.candidates:
            if match.person_id != person_id:
                duplicate = DuplicateFinger(match.person_id, match.finger, match.template_id)
                found.setdefault(match.person_id, duplicate)
    return tuple(found.values())[:DUPLICATES_LISTED]


def _duplicate_conflict(model: LoadedModel, duplicates: Sequence[DuplicateFinger]) -> Conflict:
    what = "what this picture shows" if model.of_pictures else "this finger"
    return Conflict(
        f"{what} is enrolled under another person; check who it is, or send "
        "on_duplicate=warn to enrol it all the same",
        slug="duplicate_finger",
        duplicates=[{"person_id": d.person_id, "finger": d.finger} for d in duplicates],
    )


def _template(gallery: Gallery, person_id: str, finger: int, sample: _Sample) -> Template:
    facts, quality = sample.capture.facts, sample.capture.quality
    return Template(
        id=sample.template_id,
        gallery=gallery.id,
        person_id=person_id,
        finger=finger,
        quality=quality.score,
        reasons=tuple(str(reason) for reason in quality.reasons),
        format=facts.format,
        width_px=facts.width_px,
        height_px=facts.height_px,
        dpi=facts.dpi,
        dpi_source=str(facts.dpi_source),
        has_image=gallery.store_images is ImagePolicy.ENCRYPTED,
        created_ms=now_ms(),
    )


def _add(tx: Transaction, template: Template, image: SampleImage) -> None:
    """Add a template, with its image where the gallery keeps them."""
    kept = StoredImage(template.id, image.data, template.dpi) if template.has_image else None
    tx.templates.add(template, kept)


def _accepted(sample: _Sample) -> ImageOutcome:
    capture = sample.capture
    return ImageOutcome(sample.index, sample.template_id, capture.quality, capture.facts, None)


def _record(tx: Transaction, actor: Actor, outcome: Enrolment) -> None:
    tx.audit.record(
        audit.event(
            actor,
            "person.enrolled",
            outcome.person_id,
            gallery=outcome.gallery,
            finger=outcome.finger,
            templates=[image.template_id for image in outcome.images if image.template_id],
            model_id=outcome.model_id,
            duplicates=[duplicate.person_id for duplicate in outcome.duplicates] or None,
        )
    )
