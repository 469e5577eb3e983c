"""Quality check of one image; nothing is stored."""

from __future__ import annotations

from app.core.stopwatch import Stopwatch
from app.services.context import Actor, Recognition
from app.services.outcomes import QualityCheck
from app.services.recognise import SampleImage, existing_gallery, prepare_capture


def check_quality(
    ctx: Recognition,
    actor: Actor,  # noqa: ARG001
    image: bytes,
    dpi: float | None,
    gallery: str | None,
) -> QualityCheck:
    """Tell how good a capture is and why; a poor one is an answer, not an error.

    Raises:
        NotFound: a gallery was named that does not exist.
        InvalidInput: the image cannot be decoded or its resolution is unknown.
    """
    watch = Stopwatch()
    model = ctx.models.active()
    default_dpi = None
    if gallery is not None:
        with watch.stage("store"), ctx.store.read() as tx:
            default_dpi = existing_gallery(tx, gallery).default_dpi
    sample = SampleImage(image, dpi, default_dpi, ctx.limits)
    with watch.stage("prepare"):
        capture = prepare_capture(sample, model.preparation)
    good_enough = capture.quality.score >= ctx.minimum_quality
    return QualityCheck(model.id, capture.quality, capture.facts, good_enough, watch.timings_ms())
