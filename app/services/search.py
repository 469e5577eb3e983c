"""Search of one gallery, shared by identification and the duplicate check.

The active model's templates are searched with the probe under the active model; templates that
only other models know are searched with the probe embedded under those. Scores never cross
models: each model has its own threshold, and candidates are merged by the false match rate of
their score under their own model's calibration.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from app.core.errors import ModelRefused, NotFound, PolicyNotSupported
from app.core.ports import LoadedModel
from app.matching.score import compare
from app.matching.search import Hit
from app.services.attempt import Attempt
from app.services.context import Recognition
from app.services.indexes import GalleryView
from app.services.kinship import may_stand_in
from app.services.outcomes import Candidate
from app.services.recognise import ProbeImage

log = logging.getLogger(__name__)

Policy = Callable[[LoadedModel, int], tuple[float, float]]
"""Model and templates searched -> threshold and the error rate in force."""


@dataclass(frozen=True, slots=True)
class Found:
    """Result of a search: confirmed candidates, best first, and what was in force.

    Attributes:
        best_scores: score of the best template by model searched, whatever the threshold.
    """

    candidates: tuple[Candidate, ...]
    threshold: float
    rate: float
    gallery_size: int
    best_scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Search:
    """One model's part: its templates, its threshold, the rate that this keeps."""

    model: LoadedModel
    threshold: float
    rate: float


def search_gallery(attempt: Attempt, probe: ProbeImage, policy: Policy, limit: int) -> Found:
    """Persons of the gallery whose templates reach the threshold, at most ``limit``.

    Raises:
        PolicyNotSupported: a model's calibration has no counts for the policy at this size.
    """
    ctx, watch = attempt.ctx, attempt.watch
    with watch.stage("store"), ctx.store.read() as tx:
        stands_in = partial(may_stand_in, ctx.models, attempt.model)
        view = ctx.indexes.view(tx, attempt.gallery.id, attempt.model.id, stands_in)
    with watch.stage("prepare"):
        models = _fitting(probe, _searchable(ctx, view, attempt.model))
    size = sum(view.count(model.id) for model in models)
    searches = list(_searches(models, policy, size))
    hits: list[tuple[_Search, Hit]] = []
    best_scores: dict[str, float] = {}
    for part in searches:
        with watch.stage("embed"):
            seen = probe.under(part.model)
        with watch.stage("match"):
            best = view.search(part.model.id, seen, limit, part.model.matching)
        if best:
            best_scores[part.model.id] = best[0].score
        hits += [(part, hit) for hit in best if hit.score >= part.threshold]
    confirmed = _confirmed(attempt, probe, hits)
    rate = max(part.rate for part in searches)
    searched = sum(view.count(part.model.id) for part in searches)
    candidates = _merged(confirmed, limit)
    return Found(candidates, searches[0].threshold, rate, searched, best_scores)


def _fitting(probe: ProbeImage, models: Sequence[LoadedModel]) -> list[LoadedModel]:
    """Those of the models, the active one first, that the probe is something to."""
    active = models[0]
    fitting = [model for model in models if probe.fits(model, active)]
    for model in models:
        if model not in fitting:
            log.info("templates under %s are not searched: the probe is nothing to it", model.id)
    return fitting


def _searches(models: Sequence[LoadedModel], policy: Policy, size: int) -> Iterator[_Search]:
    """The active model's part first. Its kin must keep the policy too; templates under any other
    are left out rather than loosen the rate of a search that is hardly for them.
    """
    active, *others = models
    threshold, rate = policy(active, size)
    yield _Search(active, threshold, rate)
    for model in others:
        try:
            part = _Search(model, *policy(model, size))
        except PolicyNotSupported:
            if model.is_kin(active):
                raise
            part = None
        if part is not None and (model.is_kin(active) or part.rate <= rate):
            yield part
        else:
            log.info("templates under %s are not searched: too loose a calibration", model.id)


def still_stored(
    candidates: Iterable[Candidate], stored: Callable[[str], bool]
) -> tuple[Candidate, ...]:
    """The candidates whose template exists, ranked anew."""
    left = [candidate for candidate in candidates if stored(candidate.template_id)]
    return tuple(replace(candidate, rank=rank) for rank, candidate in enumerate(left, start=1))


def _searchable(ctx: Recognition, view: GalleryView, active: LoadedModel) -> list[LoadedModel]:
    """The active model, then the others with templates here that can be loaded."""
    models = [active]
    for model_id in view.models():
        if model_id == active.id:
            continue
        try:
            models.append(ctx.models.get(model_id))
        except (ModelRefused, NotFound) as error:
            # Their templates cannot be compared by anybody; the rest of the gallery can.
            lost = view.count(model_id)
            log.warning("%d templates are not searched: %s (%s)", lost, model_id, error.detail)
    return models


def _confirmed(
    attempt: Attempt, probe: ProbeImage, hits: list[tuple[_Search, Hit]]
) -> list[tuple[_Search, Candidate]]:
    """Read every winner again from the store and score it again: an index accepts nobody."""
    with attempt.watch.stage("store"), attempt.ctx.store.read() as tx:
        references = tx.templates.references([hit.template_id for _, hit in hits]) if hits else []
    stored = {(ref.template.id, ref.model_id): ref for ref in references}
    confirmed = []
    with attempt.watch.stage("match"):
        for part, hit in hits:
            ref = stored.get((hit.template_id, part.model.id))
            if ref is None or ref.template.gallery != attempt.gallery.id:
                continue
            score = compare(probe.under(part.model), ref.descriptor, part.model.matching)
            if score >= part.threshold:
                person, finger = ref.template.person_id, ref.template.finger
                candidate = Candidate(0, person, finger, hit.template_id, part.model.id, score)
                confirmed.append((part, candidate))
    return confirmed


def _merged(found: list[tuple[_Search, Candidate]], limit: int) -> tuple[Candidate, ...]:
    """Best first, one entry a person.

    Order is by FMR under the own model's calibration; below what the counts support all are equal,
    so then the model searched first leads, and only within one model does the score decide.
    """
    models = list(dict.fromkeys(part.model.id for part, _ in found))

    def order(entry: tuple[_Search, Candidate]) -> tuple[float, int, float, str]:
        part, candidate = entry
        fmr = part.model.calibration.fmr_at(candidate.score)
        return fmr, models.index(part.model.id), -candidate.score, candidate.person_id

    best: dict[str, Candidate] = {}
    for _, candidate in sorted(found, key=order):
        best.setdefault(candidate.person_id, candidate)
    top = list(best.values())[:limit]
    return tuple(replace(candidate, rank=rank) for rank, candidate in enumerate(top, start=1))
