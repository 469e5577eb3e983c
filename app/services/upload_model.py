"""Upload of a model: unpacked, checked as if it were to serve, and only then published."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from app.core.errors import Conflict, InvalidInput, ModelRefused, Overloaded, WhorlError
from app.core.ports import Store
from app.services import audit
from app.services.context import Actor
from app.services.model_archive import unpack_model
from model_store import BrokenModelError, Manifest, ManifestDraft, Registry

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelIntake:
    """Takes models in, one at a time.

    Attributes:
        check: loads a model by id from the folder of a registry that holds it alone, golden
            vectors and all; raises ``ModelRefused``.
        most_bytes: of an archive, and of the files in it.
    """

    store: Store
    registry: Registry
    check: Callable[[Path, str], None]
    most_bytes: int
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def take(self, actor: Actor, archive: bytes) -> tuple[str, bool]:
        """Publish the model of an archive; it goes into service only when it is promoted.

        Returns:
            Its id, and whether it is new: the same content has the same id and is published once.

        Raises:
            InvalidInput: the bytes are no archive of a model, or too many.
            ModelRefused: the model fails a check; the slug says which.
            Conflict: another model has its id (``model_id_taken``).
            Overloaded: another one is being checked.
        """
        if not self._turn.acquire(blocking=False):
            raise Overloaded("another model is being checked; try again in a minute")
        try:
            return self._taken(actor, archive)
        except (InvalidInput, ModelRefused, Conflict) as problem:
            self._refuse(actor, archive, problem)
            raise
        finally:
            self._turn.release()

    def _taken(self, actor: Actor, archive: bytes) -> tuple[str, bool]:
        manifest, files = unpack_model(archive, self.most_bytes)
        if manifest.id in self.registry.ids():
            _require_same(self.registry, manifest)
            return manifest.id, False
        draft = ManifestDraft(**manifest.model_dump(exclude={"id", "files"}))
        self.registry.publish(draft, files, lambda root: self.check(root, manifest.id))
        with self.store.write() as tx:
            facts = {"bytes": len(archive), "sha256": hashlib.sha256(archive).hexdigest()}
            tx.audit.record(audit.event(actor, audit.UPLOADED, manifest.id, **facts))
        log.info("model %s was uploaded", manifest.id)
        return manifest.id, True

    def _refuse(self, actor: Actor, archive: bytes, problem: WhorlError) -> None:
        """Say so in log and audit; what is refused is known by its hash, an id it has none."""
        digest = hashlib.sha256(archive).hexdigest()
        log.error("an uploaded model is refused (%s): %s", problem.slug, problem.detail)
        details = {"slug": problem.slug, "detail": problem.detail}
        with self.store.write() as tx:
            tx.audit.record(audit.event(actor, "model.refused", f"sha256:{digest}", **details))


def _require_same(registry: Registry, manifest: Manifest) -> None:
    """An id is 64 bits of a hash: whoever makes both models can make two that share one."""
    try:
        held = registry.verify(manifest.id)
    except (KeyError, BrokenModelError) as error:
        raise Conflict(
            f"model {manifest.id} is here already, but damaged ({error}); delete it first",
            slug="model_id_taken",
        ) from error
    if held != manifest:
        raise Conflict(f"another model has the id {manifest.id}", slug="model_id_taken")
