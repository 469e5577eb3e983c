"""From the bytes of an image to descriptors under a model: what all recognition begins with."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from app.core.errors import InvalidInput, NotFound
from app.core.params import AS_IT_IS, Matching, Preparation
from app.core.ports import LoadedModel, Transaction
from app.core.pose import Pose
from app.core.processors import usable_processors
from app.core.records import Gallery
from app.core.stopwatch import turn_at
from app.core.types import Capture, Descriptor, PreparedSample, Probe, Quality, QualityReason
from app.imaging.decode import ImageLimits
from app.imaging.normalise import search_views, views_at
from app.imaging.pipeline import prepare, require_quality
from app.services.identifiers import is_gallery_id

View = tuple[float, float, float]
"""Rotation and shift (right, down) of a probe, see ``MatchingParams.views_deg_px``."""

_USELESS = frozenset({QualityReason.NOT_A_FINGERPRINT, QualityReason.BLANK})
# A large image takes hundreds of megabytes while it is decoded: more at once than there are
# processors would gain no speed, and let a burst of requests take all memory.
_PREPARING = threading.BoundedSemaphore(max(2, usable_processors()))


@dataclass(frozen=True, slots=True)
class SampleImage:
    """An image as it arrived, and what is known to settle its resolution."""

    data: bytes
    requested_dpi: float | None
    default_dpi: float | None
    limits: ImageLimits


@dataclass(slots=True)
class ProbeImage:
    """One image as a probe under whichever models its references need.

    It is prepared once for each set of parameters and embedded once for each model and view.
    """

    image: SampleImage
    _captures: dict[Preparation, Capture] = field(default_factory=dict)
    _views: dict[str, dict[View, Descriptor]] = field(default_factory=dict)
    _poses: dict[str, Pose] = field(default_factory=dict)
    _probes: dict[tuple[str, int], Probe] = field(default_factory=dict)

    @classmethod
    def embedded(
        cls, image: SampleImage, model: LoadedModel, capture: Capture, probe: Probe
    ) -> ProbeImage:
        """A probe that is known in all views under one model already."""
        views = model.matching.views_deg_px
        seen = map(Descriptor, probe.cells, probe.mask)
        known = {model.id: dict(zip(views, seen, strict=True))}
        return cls(
            image, {model.preparation: capture}, known, _probes={(model.id, len(views)): probe}
        )

    def capture(self, model: LoadedModel) -> Capture:
        """The capture as this model wants it prepared."""
        if model.preparation not in self._captures:
            self._captures[model.preparation] = prepare_capture(self.image, model.preparation)
        return self._captures[model.preparation]

    def fits(self, model: LoadedModel, active: LoadedModel) -> bool:
        """Whether templates under a model may be compared with what the active one was shown.

        To a model that is not its kin the image may be nothing at all: a face has no resolution
        and no ridges for one of prints.
        """
        if model.is_kin(active):
            return True
        try:
            require_quality(self.capture(model).quality, 1)
        except InvalidInput:
            return False
        return True

    def under(self, model: LoadedModel) -> Probe:
        """The probe in all views that this model's matching searches."""
        return self.seen(model, model.matching)

    def seen(self, model: LoadedModel, search: Matching) -> Probe:
        """The probe in the views of a search, one of ``model.matching.widening``; only those are
        embedded that are new.
        """
        key = model.id, len(search.views_deg_px)
        if key not in self._probes:
            known = self._views.setdefault(model.id, {})
            new = [view for view in search.views_deg_px if view not in known]
            sample = self.capture(model).prepared
            if model.id not in self._poses:
                (self._poses[model.id],) = model.poses([sample])
            views = views_at(sample, self._poses[model.id], new)
            known.update(zip(new, model.embedder.embed(views), strict=True))
            self._probes[key] = stack([known[view] for view in search.views_deg_px])
        return self._probes[key]


def existing_gallery(tx: Transaction, gallery_id: str) -> Gallery:
    """The gallery.

    Raises:
        NotFound: there is none of that id.
    """
    gallery = tx.galleries.get(gallery_id) if is_gallery_id(gallery_id) else None
    if gallery is None:
        raise NotFound(
            f"there is no gallery {gallery_id!r}; create it first or name another",
            slug="gallery_not_found",
        )
    return gallery


def prepare_capture(image: SampleImage, params: Preparation) -> Capture:
    """Decode, assess and prepare an image; poor quality is no error here.

    Raises:
        InvalidInput: the image cannot be decoded, exceeds a limit or has no known resolution
            where the model needs one.
    """
    with turn_at(_PREPARING):
        return prepare(
            image.data,
            params,
            requested_dpi=image.requested_dpi,
            default_dpi=image.default_dpi,
            limits=image.limits,
        )


def require_usable(quality: Quality, minimum: int) -> None:
    """Refuse what shows no ridges, or as a picture nothing at all; a poor print may still match,
    and that it may try.

    Raises:
        QualityTooLow: the image is not of a finger, or the picture is blank.
    """
    if not _USELESS.isdisjoint(quality.reasons):
        require_quality(quality, minimum)


def embed_reference(model: LoadedModel, prepared: PreparedSample) -> Descriptor:
    """The descriptor to store: of the sample upright, as far as the model can tell."""
    return embed_references(model, [prepared])[0]


def embed_references(model: LoadedModel, prepared: Sequence[PreparedSample]) -> list[Descriptor]:
    """Descriptors to store, of several samples in one go."""
    return model.embedder.embed([view for (view,) in _views(model, prepared, AS_IT_IS)])


def embed_references_and_probes(
    model: LoadedModel, prepared: Sequence[PreparedSample]
) -> tuple[list[Descriptor], list[Probe]]:
    """Each sample as a descriptor to store and as a probe, all views of all in one go."""
    views = _views(model, prepared, model.matching)
    seen = model.embedder.embed([view for of_one in views for view in of_one])
    step, upright = len(model.matching.views_deg_px), model.matching.upright_view
    groups = [seen[start : start + step] for start in range(0, len(seen), step)]
    return [group[upright] for group in groups], [stack(group) for group in groups]


def embed_probe(model: LoadedModel, prepared: PreparedSample) -> Probe:
    """The probe in all views that the model's matching searches."""
    (views,) = _views(model, [prepared], model.matching)
    return stack(model.embedder.embed(views))


def _views(
    model: LoadedModel, prepared: Sequence[PreparedSample], search: Matching
) -> list[list[PreparedSample]]:
    """Each sample in the views of a search, counted from upright."""
    poses = model.poses(prepared)
    return [search_views(s, pose, search) for s, pose in zip(prepared, poses, strict=True)]


def stack(descriptors: Sequence[Descriptor]) -> Probe:
    """Descriptors of one sample at several rotations as a probe."""
    cells = np.stack([descriptor.cells for descriptor in descriptors])
    mask = np.stack([descriptor.mask for descriptor in descriptors])
    return Probe(cells, mask)
