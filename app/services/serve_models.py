"""Bring the models in memory in line with the store's aliases, without dropping a request.

The candidate is loaded beside the champion, checked and warmed by the loader, given descriptors of
all templates whose images were kept, and only then put into service. Whatever fails on that way
leaves the champion serving.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from app.core.errors import Conflict, ModelRefused, NotFound
from app.core.ports import LoadedModel, ModelShelf, Store
from app.core.records import ModelAlias
from app.imaging.decode import ImageLimits
from app.services.promote import complete_promotion, fall_back, refuse_promotion
from app.services.reembed import reembed

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Serving:
    """What the follower of the aliases works with.

    Attributes:
        shipped: the release's own model, for a start with a champion that cannot be loaded.
    """

    store: Store
    shelf: ModelShelf
    limits: ImageLimits
    should_stop: Callable[[], bool]
    shipped: str | None = None


def start_serving(serving: Serving) -> None:
    """Load the champion; where it cannot be, the model that came with the release takes its place.

    Templates that only the old champion knows stay as they are.

    Raises:
        ModelRefused, NotFound: neither can be loaded.
    """
    with serving.store.read() as tx:
        champion = tx.aliases.get(ModelAlias.CHAMPION)
    if champion is None:
        raise NotFound("no model is in service: the store names no champion")
    try:
        model = serving.shelf.get(champion)
    except (ModelRefused, NotFound) as problem:
        if serving.shipped is None or serving.shipped == champion:
            raise
        model = serving.shelf.get(serving.shipped)
        if not fall_back(serving.store, champion, model.id, problem):
            raise
        log.error("%s; the release's model %s serves instead", problem.detail, model.id)
    serving.shelf.activate(model)


def follow_aliases(serving: Serving) -> bool:
    """One look at the aliases; whether the model in service changed."""
    with serving.store.read() as tx:
        candidate = tx.aliases.get(ModelAlias.CANDIDATE)
        champion = tx.aliases.get(ModelAlias.CHAMPION)
    if candidate is not None:
        return _promote(serving, candidate)
    if champion is not None and champion != _active(serving):
        serving.shelf.activate(serving.shelf.get(champion))  # another process promoted it
        return True
    return False


def catch_up(serving: Serving) -> None:
    """Re-embed under the model in service what is not yet.

    A request that began before a promotion may store its template after it.
    """
    active = _active(serving)
    if active is not None:
        _reembed(serving, serving.shelf.get(active))


def release_unused(serving: Serving) -> None:
    """Keep in memory what serves, what served before, and what templates still hang on."""
    active = _active(serving)
    if active is None:
        return
    with serving.store.read() as tx:
        needed = {active, *tx.templates.models_in_use(active)}
        needed |= {tx.aliases.get(alias) or active for alias in ModelAlias}
    serving.shelf.release(needed)


def _promote(serving: Serving, candidate: str) -> bool:
    try:
        model = serving.shelf.get(candidate)
    except (ModelRefused, NotFound) as problem:
        log.error("model %s refused: %s", candidate, problem.detail)
        refuse_promotion(serving.store, candidate, problem)
        return False

    _reembed(serving, model)
    if serving.should_stop():
        return False  # the candidate stays one, the next start goes on
    try:
        complete_promotion(serving.store, candidate)
    except Conflict as superseded:
        log.warning("%s", superseded.detail)
        return False
    serving.shelf.activate(model)
    log.info("model %s is in service", candidate)
    catch_up(serving)
    return True


def _reembed(serving: Serving, model: LoadedModel) -> None:
    def told(done: int) -> None:
        log.info("re-embedded %d templates under model %s", done, model.id)

    reembed(
        serving.store,
        model,
        serving.limits,
        told,
        serving.should_stop,
        models=serving.shelf,
    )


def _active(serving: Serving) -> str | None:
    try:
        return serving.shelf.active().id
    except ModelRefused:
        return None
