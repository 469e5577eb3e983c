"""What a model's scores mean at this site: its own impostors compared, as a verification would.

Of every person drawn one sample takes part, and every two persons meet once, the later one's sample
as the probe. So a pair of persons is counted as one independent comparison, however many samples
they have, as in the table that a model is published with; comparisons within a person are no
impostor comparisons and are left out (ISO/IEC 19795-1).

Where a gallery keeps no images, a probe can only be the stored template: one view instead of all
that a verification searches for the best. Such scores are lower, by how much nothing here tells, so
that what they give is a bound from below: it is told, and never decided by.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from app.core.clock import new_id, now_ms
from app.core.errors import InvalidInput, WhorlError
from app.core.params import Matching, MatchingParams
from app.core.ports import LoadedModel, Store
from app.core.records import CalibrationBasis, Drift, ReferenceTemplate, SiteCalibration
from app.core.types import Descriptor, FloatArray, Probe
from app.evaluation.false_matches import FalseMatches, false_matches
from app.imaging.decode import ImageLimits
from app.matching.calibration import Calibration, calibrate
from app.matching.score import compare_many
from app.services.calibration_order import CalibrationOrder
from app.services.context import Recognition
from app.services.policy import strictest_fmr
from app.services.recognise import (
    SampleImage,
    embed_probe,
    prepare_capture,
    require_usable,
    stack,
)
from app.services.site_samples import site_samples

log = logging.getLogger(__name__)

FMRS = (0.1, 0.01, 0.001, 1e-4, 1e-5)
"""Rates that are looked at where none are asked for."""

Sink = Callable[[dict[str, Any]], None]
"""Told how far it is; raises to stop."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One person's sample, as a probe and as a reference."""

    probe: Probe
    reference: Descriptor


@dataclass(frozen=True, slots=True)
class RateCheck:
    """What a false match rate of the model comes to at the site.

    Attributes:
        promised_threshold: the model's own threshold; None where its counts support none.
        site_threshold: the threshold by the site's comparisons.
        matches: impostor comparisons that reached the model's own threshold; None without one.
        met_fmr: their share, with its 95 % interval from ``low_fmr`` to ``high_fmr``.
    """

    asked_fmr: float
    promised_threshold: float | None
    site_threshold: float
    matches: int | None
    met_fmr: float | None
    low_fmr: float | None
    high_fmr: float | None
    drift: Drift


def calibrate_gallery(
    ctx: Recognition, model: LoadedModel, order: CalibrationOrder, sink: Sink
) -> SiteCalibration:
    """Measure a model on the samples that are enrolled in a gallery; nothing is stored.

    Raises:
        NotFound: there is no such gallery.
        InvalidInput: too few persons have a sample that can be used (``too_few_subjects``), or the
            result is to be applied and no images are kept to make probes of
            (``single_views_only``).
        Cancelled, LeaseLost: raised by the sink to stop.
    """
    sink({"phase": "drawing samples"})
    samples = site_samples(ctx.store, ctx.models, model, order)
    order.require(len(samples.references))
    whole = samples.basis is CalibrationBasis.VERIFICATIONS
    if order.apply and not whole:
        raise single_views_only(order.gallery)
    params = model.matching if whole else _one_view(model.matching)
    subjects = _enrolled(ctx, model, samples.references, params)
    scores = compare_subjects(subjects, len(samples.references), params, sink)
    return site_calibration(model, scores, order, samples.basis, samples.drawn)


def single_views_only(gallery: str | None) -> InvalidInput:
    """Why an estimate from stored templates alone cannot be applied."""
    return InvalidInput(
        f"gallery {gallery!r} keeps no images of enough persons, so only stored templates could be "
        "compared, in one view where a verification searches many: their rates are bounds from "
        "below. Keep images (store_images=encrypted) and enrol, or calibrate on a folder",
        slug="single_views_only",
    )


def compare_subjects(
    subjects: Iterable[Subject | None], of: int, params: Matching, sink: Sink
) -> FloatArray:
    """Compare each person's probe with the references of all before.

    Args:
        subjects: None for a person whose sample cannot be used.
        of: how many there are, those included.

    Returns:
        float32 [usable, usable]; above the diagonal the score of the column's probe with the row's
        reference, elsewhere NaN.
    """
    scores = np.full((of, of), np.nan, np.float32)
    references: tuple[FloatArray, FloatArray] | None = None
    usable, began_s = 0, time.monotonic()
    for done, subject in enumerate(subjects, start=1):
        if subject is not None:
            cells, mask = subject.reference.cells, subject.reference.mask
            if references is None:
                shapes = (of, *cells.shape), (of, *mask.shape)
                references = np.zeros(shapes[0], np.float32), np.zeros(shapes[1], np.float32)
            earlier = references[0][:usable], references[1][:usable]
            scores[:usable, usable] = compare_many(subject.probe, *earlier, params)
            references[0][usable], references[1][usable] = cells, mask
            usable += 1
        left_s = (time.monotonic() - began_s) * (of - done) / done
        sink({"phase": "comparing", "done": done, "of": of, "eta_s": round(left_s, 1)})
    return scores[:usable, :usable]


def site_calibration(
    model: LoadedModel,
    scores: FloatArray,
    order: CalibrationOrder,
    basis: CalibrationBasis,
    drawn: int,
    *,
    of_gallery: bool = True,
) -> SiteCalibration:
    """Table, checks and verdict from the scores of ``compare_subjects``.

    Raises:
        InvalidInput: the counts do not carry what was asked (``too_few_subjects``).
    """
    subjects = len(scores)
    order.require(subjects)
    impostor = scores[np.triu_indices(subjects, k=1)]
    table = calibrate(impostor, impostor.size, subjects)
    checks = _checks(model, scores, table, order, basis)
    return SiteCalibration(
        id=new_id(),
        model_id=model.id,
        gallery=order.gallery if of_gallery else None,
        basis=basis,
        made_ms=now_ms(),
        seed=order.seed,
        left_out=drawn - subjects,
        calibration=table.to_dict(),
        checks=[asdict(check) for check in checks],
        drift=_overall([check.drift for check in checks]),
    )


def _checks(
    model: LoadedModel,
    scores: FloatArray,
    table: Calibration,
    order: CalibrationOrder,
    basis: CalibrationBasis,
) -> list[RateCheck]:
    """One for each rate that was asked for, else for those that the site's counts support, the
    smallest of all among them.
    """
    own, least = model.own_calibration, table.minimum_fmr
    supported = [*(fmr for fmr in FMRS if fmr > least), least]
    asked = sorted(set(order.fmrs or supported), reverse=True)
    promised = {fmr: own.threshold(fmr) for fmr in asked if fmr >= strictest_fmr(own)}
    counted = false_matches(scores, list(promised.values()), seed=order.seed)
    found = dict(zip(promised, counted, strict=True))
    return [
        _check(fmr, promised.get(fmr), table.threshold(fmr), found.get(fmr), basis) for fmr in asked
    ]


def _check(
    fmr: float,
    promised: float | None,
    site: float,
    found: FalseMatches | None,
    basis: CalibrationBasis,
) -> RateCheck:
    if found is None:
        return RateCheck(fmr, promised, site, None, None, None, None, Drift.UNKNOWN)
    drift = _drift(fmr, found)
    if basis is CalibrationBasis.SINGLE_VIEWS and drift is not Drift.WORSE:
        drift = Drift.UNKNOWN  # a bound from below can tell what is too high, and nothing else
    return RateCheck(fmr, promised, site, found.matches, found.fmr, found.low, found.high, drift)


def _drift(fmr: float, found: FalseMatches) -> Drift:
    if found.low > fmr:
        return Drift.WORSE
    return Drift.BETTER if found.high < fmr else Drift.NONE_SEEN


def _overall(found: Sequence[Drift]) -> Drift:
    """The worst that was seen."""
    order = (Drift.WORSE, Drift.NONE_SEEN, Drift.BETTER)
    return next((drift for drift in order if drift in found), Drift.UNKNOWN)


def _one_view(params: Matching) -> Matching:
    """The search of a verification without the views of the probe: shifts by whole cells only."""
    if isinstance(params, MatchingParams):
        return replace(params, rotations_deg=(0.0,), subcell_shifts_px=(0.0,))
    return params


def _enrolled(
    ctx: Recognition,
    model: LoadedModel,
    references: Sequence[ReferenceTemplate],
    params: Matching,
) -> Iterator[Subject | None]:
    for reference in references:
        if len(params.views_deg_px) == 1:
            yield Subject(stack([reference.descriptor]), reference.descriptor)
        else:
            probe = _probe(ctx.store, model, reference.template.id, ctx.limits)
            yield None if probe is None else Subject(probe, reference.descriptor)


def _probe(store: Store, model: LoadedModel, template_id: str, limits: ImageLimits) -> Probe | None:
    """The kept image of a template as a verification's probe; None where it cannot be used."""
    try:
        with store.read() as tx:
            image = tx.templates.image(template_id)
        if image is None:
            return None
        sample = SampleImage(image.data, image.dpi, None, limits)
        capture = prepare_capture(sample, model.preparation)
        require_usable(capture.quality, 1)
    except WhorlError as problem:
        log.warning("template %s takes no part: %s", template_id, problem.detail)
        return None
    return embed_probe(model, capture.prepared)
