"""One attempt at recognition: who asks, in which gallery, under which active model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from app.core.ports import LoadedModel
from app.core.records import Gallery
from app.core.stopwatch import Stopwatch
from app.services.context import Actor, Recognition
from app.services.recognise import SampleImage, existing_gallery


@dataclass(frozen=True, slots=True)
class Attempt:
    """What holds for the whole of an attempt; a promotion in its middle changes none of it."""

    ctx: Recognition
    actor: Actor
    model: LoadedModel
    gallery: Gallery
    watch: Stopwatch

    @classmethod
    def begin(cls, ctx: Recognition, actor: Actor, model: LoadedModel, gallery_id: str) -> Self:
        """Start the watch and look the gallery up.

        Raises:
            NotFound: there is no such gallery.
        """
        watch = Stopwatch()
        with watch.stage("store"), ctx.store.read() as tx:
            gallery = existing_gallery(tx, gallery_id)
        return cls(ctx, actor, model, gallery, watch)

    def sample(self, data: bytes, dpi: float | None) -> SampleImage:
        """An image of the request, with what the gallery knows of its resolution."""
        return SampleImage(data, dpi, self.gallery.default_dpi, self.ctx.limits)
