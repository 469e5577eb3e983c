"""A site's prints: the generator's fingers under two readers, one of them poor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from app.core.params import PreparationParams
from app.imaging.pipeline import prepare_impression
from app.learning.folders import DEVICE, LabelledSamples
from app.learning.prints import Report, impression_rng
from app.synth.conditions import Conditions, Sensor, draw_skin, draw_touch
from app.synth.impression import impress
from tests.fakes.training import grow_here

WHITE = Sensor(
    window_mm=(17.0, 21.0),
    valley_level=245.0,
    slope=3.5,
    fading=0.2,
    texture=1.0,
    noise=2.0,
    blur_mm=0.03,
)
GREY = Sensor(
    window_mm=(13.0, 17.0),
    ridge_level=70.0,
    valley_level=150.0,
    background_level=165.0,
    fading=0.6,
    gradient=10.0,
    vignetting=12.0,
    texture=9.0,
    noise=14.0,
    blur_mm=0.07,
)
READERS = {"white": WHITE, "grey": GREY}


def site_prints(
    seed: int,
    persons: int,
    fingers_each: int,
    readers: Sequence[str],
    params: PreparationParams,
) -> LabelledSamples:
    """Whole touches of every finger, one at each of the readers."""
    grown = grow_here(seed, persons * fingers_each, params.dpi)
    keys = [(k, n) for k in range(len(grown)) for n in range(len(readers))]
    samples = []
    for finger, touch in keys:
        rng = impression_rng(seed, finger, touch)
        drawn = Conditions(draw_touch(rng, partial=False), draw_skin(rng), READERS[readers[touch]])
        made = impress(grown.masters[finger], rng, drawn)
        samples.append(prepare_impression(made.image, made.dpi, params))
    people = tuple(f"visitor {finger // fingers_each}" for finger, _ in keys)
    fingers = tuple(
        f"{person}, finger {finger % fingers_each}"
        for person, (finger, _) in zip(people, keys, strict=True)
    )
    devices = {DEVICE: tuple(readers[touch] for _, touch in keys)}
    return LabelledSamples(tuple(samples), fingers, people, {}, devices)


@dataclass(frozen=True)
class SitePrints:
    """Implements ``learning.own_prints.OwnPrints``: prints that were read already.

    Attributes:
        aliases: see ``LabelledSamples``.
    """

    part: LabelledSamples
    aliases: dict[str, str] = field(default_factory=dict)
    may_be_shown: bool = False

    @property
    def facts(self) -> dict[str, Any]:
        return {"kind": "drawn"}

    def read(self, params: PreparationParams, report: Report | None) -> LabelledSamples:
        return replace(self.part, aliases=self.aliases)
