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
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from threading import Lock

from app.core.params import Matching
from app.core.ports import Store, Transaction
from app.core.records import Change, ReferenceTemplate
from app.core.types import Probe
from app.matching.index import TemplateIndex
from app.matching.search import Hit
from app.services.kinship import enrolled_first

LOAD_BATCH = 500
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

    def follow(self, tx: Transaction, report: Report = lambda _done, _of: None) -> None:
        """Catch up with the transaction's state; after an error the same steps are taken again."""
        newest = tx.templates.last_change()
        if newest <= self._seen:
            return
        changes = tx.templates.changes(self._gallery, self._seen)
        of, done = len({change.template_id for change in changes}), set[str]()
        for batch in _batches(changes, LOAD_BATCH):
            report(len(done), of)
            with self._lock:  # of a batch, so that who waits for the view can share the work
                self._take(tx, [change for change in batch if change.seq > self._seen])
            done.update(change.template_id for change in batch)
        with self._lock:
            self._seen = max(self._seen, newest)

    def _take(self, tx: Transaction, changes: Sequence[Change]) -> None:
        """Bring the templates of changes after those seen to this transaction's state, each change
        by itself: a later one is only known to whoever looks later.
        """
        if not changes:
            return
        removed = {change.template_id: change.removed for change in changes}
        self._apply(tx, [template_id for template_id, gone in removed.items() if not gone])
        for template_id in (template_id for template_id, gone in removed.items() if gone):
            self._drop(template_id)
        self._seen = changes[-1].seq

    def _apply(self, tx: Transaction, template_ids: Sequence[str]) -> None:
        known: dict[str, dict[str, ReferenceTemplate]] = defaultdict(dict)
        for reference in tx.templates.references(template_ids):
            known[reference.template.id][reference.model_id] = reference
        for template_id in template_ids:
            self._drop(template_id)
            if template_id in known:
                self._put(self._chosen(known[template_id]))

    def _chosen(self, descriptors: dict[str, ReferenceTemplate]) -> ReferenceTemplate:
        active = descriptors.pop(self._active, None)
        if active is not None and (not descriptors or self._stands_in(descriptors)):
            return active
        return enrolled_first(descriptors.values())[0]

    def _put(self, reference: ReferenceTemplate) -> None:
        template = reference.template
        index = self._indexes.setdefault(reference.model_id, TemplateIndex())
        index.add(template.id, template.person_id, template.finger, reference.descriptor)
        self._model_of[template.id] = reference.model_id

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
        report: Report = lambda _done, _of: None,
    ) -> GalleryView:
        """The gallery as it is in this transaction; the first use loads it whole.

        Args:
            stands_in: whether the active model may decide over a template that these others know.
            report: told (done, of) templates that changed; may raise to stop.
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


def _batches(items: Iterable[Change], size: int) -> Iterator[list[Change]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
