"""Comparison of two images; nothing is stored and nobody is claimed."""

from __future__ import annotations

from dataclasses import dataclass

from app.core.stopwatch import Stopwatch
from app.matching.score import compare
from app.services.context import Actor, Recognition
from app.services.outcomes import Comparison, Decision
from app.services.policy import fmr_in_force
from app.services.recognise import (
    ProbeImage,
    SampleImage,
    embed_reference,
    prepare_capture,
    require_usable,
)


@dataclass(frozen=True, slots=True)
class CompareRequest:
    """Two images; ``dpi`` holds for both where their files do not say it."""

    image_a: bytes
    image_b: bytes
    dpi: float | None = None
    fmr: float | None = None


def compare_images(ctx: Recognition, actor: Actor, request: CompareRequest) -> Comparison:  # noqa: ARG001
    """Compare: the first image is the reference, the second the probe. The store is not touched.

    Raises:
        PolicyNotSupported: the calibration has no counts for the rate.
        InvalidInput: an image or its resolution cannot be used.
        QualityTooLow: an image is not of a finger, or as a picture blank.
    """
    watch = Stopwatch()
    model = ctx.models.active()
    fmr = fmr_in_force(model.calibration, request.fmr)
    probe = ProbeImage(SampleImage(request.image_b, request.dpi, None, ctx.limits))
    with watch.stage("prepare"):
        image_a = SampleImage(request.image_a, request.dpi, None, ctx.limits)
        capture_a = prepare_capture(image_a, model.preparation)
        capture_b = probe.capture(model)
    for capture in (capture_a, capture_b):
        require_usable(capture.quality, ctx.minimum_quality)
    threshold = model.calibration.threshold(fmr)
    with watch.stage("embed"):
        reference = embed_reference(model, capture_a.prepared)
    for search in model.matching.widening:  # a score only rises with more views
        with watch.stage("embed"):
            seen = probe.seen(model, search)
        with watch.stage("match"):
            score = compare(seen, reference, search)
        if score >= threshold:
            break
    worst = min(capture_a.quality.score, capture_b.quality.score)
    return Comparison(
        decision=_decision(score >= threshold, worst < ctx.minimum_quality),
        model_id=model.id,
        fmr=fmr,
        threshold=threshold,
        score=score,
        quality_a=capture_a.quality,
        quality_b=capture_b.quality,
        timings_ms=watch.timings_ms(),
    )


def _decision(matches: bool, poor: bool) -> Decision:
    if matches:
        return Decision.MATCH
    return Decision.INCONCLUSIVE if poor else Decision.NO_MATCH
