"""At the start: all galleries into memory, so that no request has to wait for its own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from app.core.errors import Cancelled, ModelRefused, WhorlError
from app.core.ports import LiveModels, Store
from app.services.indexes import SearchIndexes
from app.services.kinship import may_stand_in

log = logging.getLogger(__name__)

TELL_S = 5.0


@dataclass(slots=True)
class GalleryLoading:
    """The loading of all galleries, as it stands.

    Attributes:
        done: whether there is nothing left to wait for.
        detail: what is being done, or was.
    """

    store: Store
    models: LiveModels
    indexes: SearchIndexes
    should_stop: Callable[[], bool]
    done: bool = False
    detail: str = "not begun"

    def run(self) -> None:
        """Load them, as they are searched under the model in service.

        What fails is left for the first request that searches there.
        """
        began_s = time.monotonic()
        try:
            loaded, model = 0, ""
            while model != self.models.active().id:  # again where another serves by now
                model = self.models.active().id
                loaded = sum(self._load(gallery) for gallery in self._galleries())
            self.detail = f"{loaded:,} templates loaded at the start"
            log.info("%s, in %.1f s", self.detail, time.monotonic() - began_s)
        except Cancelled:
            return
        except ModelRefused as refused:
            self.detail = f"nothing to search: {refused.detail}"
        except WhorlError as problem:
            self.detail = f"loaded when they are searched: {problem.detail}"
            log.warning("galleries are not in memory yet: %s", problem.detail)
        except Exception as error:
            self.detail = f"loaded when they are searched: {error!r}"
            log.exception("galleries could not be loaded; each is when it is searched")
        self.done = True

    def _galleries(self) -> list[str]:
        with self.store.read() as tx:
            return [gallery.id for gallery in tx.galleries.list()]

    def _load(self, gallery: str) -> int:
        model = self.models.active()
        told_s = began_s = time.monotonic()

        def report(done: int, of: int) -> None:
            nonlocal told_s
            if self.should_stop():
                raise Cancelled("the service is being stopped")
            self.detail = f"gallery {gallery}: {done:,} of {of:,} templates in memory"
            now_s = time.monotonic()
            if now_s - told_s >= TELL_S:
                told_s = now_s
                left = f", {(now_s - began_s) * (of - done) / done:.0f} s left" if done else ""
                log.info("%s%s", self.detail, left)

        stands_in = partial(may_stand_in, self.models, model)
        with self.store.read() as tx:
            return len(self.indexes.view(tx, gallery, model.id, stands_in, report))
