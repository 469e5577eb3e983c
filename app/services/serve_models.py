"""Bring the models in memory in line with the store's aliases, without dropping a request.

The candidate is loaded beside the champion, checked and warmed by the loader. A job gives it
descriptors of all templates whose images were kept, see ``reembedding_watch``; then it gets an
index of them, and only then it is put into service. Whatever fails on that way leaves the champion
serving. The model before stays as it is: going back to it loads and embeds nothing, what was
enrolled meanwhile is caught up with afterwards.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial

from app.core.errors import Conflict, ModelRefused, NotFound, Overloaded, WhorlError
from app.core.ports import LoadedModel, ModelShelf, Store
from app.core.records import Job, ModelAlias
from app.imaging.decode import ImageLimits
from app.services.indexes import SearchIndexes
from app.services.kinship import may_stand_in
from app.services.promote import (
    complete_promotion,
    fall_back,
    order_missing,
    refuse_promotion,
)
from app.services.reembed import reembed
from app.services.reembedding import OwnHands, Reembedding
from app.services.reembedding_watch import Patience, is_reembedded, look_after

log = logging.getLogger(__name__)

FEW = 64
"""Templates that are caught up with at once; of more a job is made."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What the follower of the aliases works with.

    Attributes:
        shipped: the release's own model, for a start with a champion that cannot be loaded.
        indexes: made ready for a model before it serves; None where nothing is searched.
        rest: told how many seconds a batch of re-embedding took; waits as long where requests
            should have their turn.
        name: of this process in the job table.
        patience: with jobs of re-embedding that nobody takes up; then they are carried out here.
        job_log: keeps, with a job, what is logged while it is carried out here.
    """

    store: Store
    shelf: ModelShelf
    limits: ImageLimits
    should_stop: Callable[[], bool]
    shipped: str | None = None
    indexes: SearchIndexes | None = None
    rest: Callable[[float], object] = lambda _: None
    name: str = "api"
    patience: Patience = field(default_factory=Patience)
    job_log: Callable[[Job], AbstractContextManager[None]] = lambda _: nullcontext()

    @property
    def own_hands(self) -> OwnHands:
        """This process as one that carries jobs of re-embedding out."""
        tools = Reembedding(self.store, self.shelf, self.limits, self.rest)
        return OwnHands(tools, self.name, self.should_stop, self.job_log)


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


def stand_by(serving: Serving) -> None:
    """Load the previous model too, so that going back to it is a matter of a moment."""
    with serving.store.read() as tx:
        previous = tx.aliases.get(ModelAlias.PREVIOUS)
    if previous is None or _active(serving) is None:
        return
    try:
        serving.shelf.get(previous)
    except (ModelRefused, NotFound) as problem:
        log.warning("there is no way back to the previous model: %s", problem.detail)


def follow_aliases(serving: Serving) -> bool:
    """One look at the aliases; whether the model in service changed.

    A candidate whose re-embedding is under way elsewhere is left for the next look.
    """
    with serving.store.read() as tx:
        candidate = tx.aliases.get(ModelAlias.CANDIDATE)
        champion = tx.aliases.get(ModelAlias.CHAMPION)
    if candidate is not None:
        return _promote(serving, candidate)
    if champion is not None and champion != _active(serving):
        serving.shelf.activate(serving.shelf.get(champion))  # another process promoted it
        return True
    look_after(serving.own_hands, serving.patience)
    return False


def catch_up(serving: Serving) -> None:
    """Re-embed under the model in service what is not yet, until another is asked for.

    A request that began before a promotion may store its template after it, and a model that
    serves again lacks what was enrolled since it did. Where that is much, or requests leave no
    room for it, a job is made of it.
    """
    active = _active(serving)
    if active is None:
        return
    try:
        more = _reembed_few(serving, serving.shelf.get(active))
    except Overloaded as busy:
        log.warning("model %s has not caught up yet: %s", active, busy.detail)
        more = True
    if not more:
        return
    if (job := order_missing(serving.store, active)) is not None:
        log.info("job %s gives model %s what it lacks", job, active)


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
        ready = _served_before(serving, candidate) or is_reembedded(
            serving.own_hands, serving.patience, candidate
        )
    except (Conflict, ModelRefused, NotFound) as problem:
        _give_up(serving, candidate, problem)
        return False
    except (MemoryError, OSError) as error:  # tried every second it would take all there is
        detail = f"model {candidate} cannot be loaded: {type(error).__name__}: {error}"
        _give_up(serving, candidate, ModelRefused(detail, slug="model_check_failed"))
        return False
    if not ready or serving.should_stop():
        return False  # the candidate stays one, the next look or the next start goes on
    _index(serving, model)
    try:
        complete_promotion(serving.store, candidate)
    except Conflict as superseded:
        log.warning("%s", superseded.detail)
        return False
    serving.shelf.activate(model)
    log.info("model %s is in service", candidate)
    try:
        catch_up(serving)
    except WhorlError as problem:  # it is tried again when things have settled
        log.warning("model %s has not caught up yet: %s", candidate, problem.detail)
    return True


def _give_up(serving: Serving, candidate: str, problem: WhorlError) -> None:
    log.error("model %s refused (%s): %s", candidate, problem.slug, problem.detail)
    refuse_promotion(serving.store, candidate, problem)
    release_unused(serving)
    catch_up(serving)  # it had to wait for the candidate


def _index(serving: Serving, model: LoadedModel) -> None:
    """Build what is searched under the model beside what is searched now, which stays for a
    rollback."""
    if serving.indexes is None:
        return
    serving.indexes.keep({model.id, _active(serving) or model.id})
    serving.indexes.make_ready(model.id, partial(may_stand_in, serving.shelf, model))


def _reembed_few(serving: Serving, model: LoadedModel) -> bool:
    """Embed some of what the model lacks; whether there may be more than that."""
    given, began_s = 0, time.monotonic()

    def told(done: int, _: int) -> None:
        nonlocal given, began_s
        given = done
        log.info("model %s has caught up with %d kept images", model.id, done)
        serving.rest(time.monotonic() - began_s)
        began_s = time.monotonic()

    def should_stop() -> bool:
        wanted = _candidate(serving) in (None, model.id)
        return given >= FEW or serving.should_stop() or not wanted

    reembed(serving.store, model, serving.limits, told, should_stop, models=serving.shelf)
    return given >= FEW


def _candidate(serving: Serving) -> str | None:
    with serving.store.read() as tx:
        return tx.aliases.get(ModelAlias.CANDIDATE)


def _served_before(serving: Serving, model_id: str) -> bool:
    with serving.store.read() as tx:
        return tx.aliases.get(ModelAlias.PREVIOUS) == model_id


def _active(serving: Serving) -> str | None:
    try:
        return serving.shelf.active().id
    except ModelRefused:
        return None
