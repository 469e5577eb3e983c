"""Search indexes in memory, one a gallery and active model: caches that follow the store.

A view is brought up to date inside the read transaction it is used in, from the gallery's history
of changes, so it is never staler than that transaction, whichever process wrote. It may be newer,
when another thread went further meanwhile: what a search finds is therefore read again from the
store before anybody is told (see ``search``).

Within a view every template lies under exactly one model: the active one if it has a descriptor
under it and the model may stand in for the others that know it (see ``kinship``), else another.
Scores of different models are never compared.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from threading import Lock

from app.core.params import Matching
from app.core.ports import Store, Transaction
from app.core.records import StoredDescriptor, Stretch
from app.core.types import Probe
from app.matching.block import Row
from app.matching.index import TemplateIndex
from app.matching.search import Hit
from app.services.kinship import enrolled_first

LOAD_BATCH = 1_000
"""Changes that are followed at once, most templates are of two."""
StandsIn = Callable[[Collection[str]], bool]
Report = Callable[[int, int], None]
# A view of a former active model serves requests that began before a promotion, then goes.
IDLE_VIEW_S = 60.0


class GalleryView:
    """All templates of one gallery as they are searched while one model is active."""

    def __init__(self, gallery: str, active: str, stands_in: StandsIn = lambda _: True) -> None:
        self._gallery = gallery
        self._active = active
        self._stands_in = stands_in
        self._seen = 0
        self._indexes: dict[str, TemplateIndex] = {}
        self._model_of: dict[str, str] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._model_of)

    def models(self) -> tuple[str, ...]:
        """Models with templates to search: the active one first, the others by id."""
        with self._lock:
            used = [model_id for model_id, index in self._indexes.items() if len(index)]
        return tuple(sorted(used, key=lambda model_id: (model_id != self._active, model_id)))

    def count(self, model_id: str) -> int:
        """Templates under this model."""
        index = self._indexes.get(model_id)
        return len(index) if index is not None else 0

    def search(self, model_id: str, probe: Probe, limit: int, params: Matching) -> list[Hit]:
        """Best persons among the templates under this model; the probe must be under it too."""
        index = self._indexes.get(model_id)
        return index.search(probe, limit, params) if index is not None else []

    def follow(self, tx: Transaction, report: Report | None = None) -> None:
        """Catch up with the transaction's state; after an error the same steps are taken again.

        Args:
            report: told (templates in memory, templates in the gallery) every now and then.
        """
        newest = tx.templates.last_change()
        of = tx.templates.count(self._gallery) if report and newest > self._seen else 0
        while self._seen < newest:
            if report:
                report(len(self), of)
            with self._lock:  # of a batch, so that who waits for the view can share the work
                if self._seen < newest:
                    self._take(tx.templates.catch_up(self._gallery, self._seen, LOAD_BATCH))

    def _take(self, stretch: Stretch) -> None:
        """Bring the templates that changed to the state in which they were found."""
        for template_id in stretch.changed:
            self._drop(template_id)
        known: dict[str, list[StoredDescriptor]] = defaultdict(list)
        for descriptor in stretch.descriptors:
            known[descriptor.template_id].append(descriptor)
        by_model: dict[str, list[StoredDescriptor]] = defaultdict(list)
        for of_one in known.values():
            chosen = of_one[0] if len(of_one) == 1 else self._chosen(of_one)
            by_model[chosen.model_id].append(chosen)
        for model_id, chosen_ones in by_model.items():
            self._put(model_id, chosen_ones)
        self._seen = stretch.upto

    def _chosen(self, of_one: Sequence[StoredDescriptor]) -> StoredDescriptor:
        others = [one for one in of_one if one.model_id != self._active]
        active = [one for one in of_one if one.model_id == self._active]
        if active and (not others or self._stands_in([one.model_id for one in others])):
            return active[0]
        return enrolled_first(others)[0]

    def _put(self, model_id: str, descriptors: Sequence[StoredDescriptor]) -> None:
        index = self._indexes.setdefault(model_id, TemplateIndex())
        rows = [Row(one.template_id, one.person_id, one.finger) for one in descriptors]
        # Known before they are there: what an error leaves in the index can be dropped again.
        self._model_of.update((one.template_id, model_id) for one in descriptors)
        index.add_stored(rows, [one.data for one in descriptors])

    def _drop(self, template_id: str) -> None:
        model_id = self._model_of.pop(template_id, None)
        if model_id is not None:
            self._indexes[model_id].remove(template_id)


class SearchIndexes:
    """The views of all galleries in use; safe to use from several threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._views: dict[tuple[str, str], GalleryView] = {}
        self._used_s: dict[tuple[str, str], float] = {}
        self._kept: frozenset[str] = frozenset()
        self._lock = Lock()

    def make_ready(self, active: str, stands_in: StandsIn) -> None:
        """Load the galleries in use as they are searched while this model is active.

        Called before the model goes into service, so that no request has to wait for it.
        """
        with self._lock:
            galleries = sorted({gallery for gallery, _ in self._views})
        for gallery in galleries:
            with self._store.read() as tx:
                self.view(tx, gallery, active, stands_in)

    def keep(self, models: Collection[str]) -> None:
        """Name the models whose views stay in memory though nothing is searched under them."""
        self._kept = frozenset(models)

    def view(
        self,
        tx: Transaction,
        gallery: str,
        active: str,
        stands_in: StandsIn = lambda _: True,
        report: Report | None = None,
    ) -> GalleryView:
        """The gallery as it is in this transaction; the first use loads it whole.

        Args:
            stands_in: whether the active model may decide over a template that these others know.
            report: told (templates in memory, templates in the gallery); may raise to stop.
        """
        found = self._held(gallery, active, stands_in)
        found.follow(tx, report)
        return found

    def refresh(self, gallery: str) -> None:
        """Bring what is loaded of a gallery up to date, so that deleted templates leave memory."""
        with self._lock:
            views = [view for (name, _), view in self._views.items() if name == gallery]
        if views:
            with self._store.read() as tx:
                for view in views:
                    view.follow(tx)

    def forget(self, gallery: str) -> None:
        """Drop everything held of a gallery."""
        with self._lock:
            for key in [key for key in self._views if key[0] == gallery]:
                del self._views[key], self._used_s[key]

    def _held(self, gallery: str, active: str, stands_in: StandsIn) -> GalleryView:
        now_s = time.monotonic()
        with self._lock:
            self._used_s[gallery, active] = now_s
            idle = [
                key
                for key, used_s in self._used_s.items()
                if key[0] == gallery and key[1] not in self._kept and now_s - used_s > IDLE_VIEW_S
            ]
            for key in idle:
                self._views.pop(key, None)
                del self._used_s[key]
            if (gallery, active) not in self._views:
                self._views[gallery, active] = GalleryView(gallery, active, stands_in)
            return self._views[gallery, active]
