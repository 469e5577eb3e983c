"""Prints for a service under load, and what each model alone makes of every two of them.

A score that the service answers must be one that a single model gives to the probe and one of the
claimed references. One across two models would be another: turned models have nothing in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from app.core.ports import LoadedModel
from app.core.types import Descriptor, FloatArray, Probe
from app.imaging.decode import ImageLimits
from app.inference.loading import Loader
from app.matching.score import compare_all, stack_references
from app.networks.device import find_device
from app.services.recognise import SampleImage, embed_probe, embed_references, prepare_capture
from app.synth import impress, population
from model_store import Registry
from tests.fakes.prints import png

SEED, DPI = 97, 250.0
MOST_FINGERS, TRIED = 100, 6
"""Fingers, and impressions of each, that are made; those are taken that the model is sure of."""
SURE = 0.03
"""By so much a score is clear of the threshold it must reach, or must not."""
STRICT_FMR, LAX_FMR = 1e-5, 1e-4
"""Vouching for an upgrade and searching are decided at the one, a verification at the other."""


@dataclass(frozen=True, slots=True)
class Print:
    """An impression of a finger; number 0 is enrolled, the others are probes."""

    finger: int
    number: int
    image: bytes


@dataclass(frozen=True, slots=True)
class Embedded:
    """Prints as one model sees them: as probes, and as they are stored."""

    probes: list[Probe]
    references: list[Descriptor]

    def against(self, other: Embedded, model: LoadedModel) -> FloatArray:
        """float32 [probe, reference]: these probes against another's references."""
        return compare_all(self.probes, *stack_references(other.references), model.matching)


@dataclass(frozen=True, slots=True)
class ScoredPrints:
    """Prints with all scores within each model.

    Attributes:
        scores: by model id, float32 [searches, print, print]: probe (row) against reference in
            every search that a match may end with, the whole one at the end.
        strange: the same across two models: probes of one, references of the other.
    """

    prints: tuple[Print, ...]
    scores: dict[str, FloatArray]
    strange: FloatArray

    @property
    def fingers(self) -> list[int]:
        """All fingers."""
        return sorted({made.finger for made in self.prints})

    def enrolled(self, finger: int) -> int:
        """Place of the print that is enrolled of a finger."""
        return self.of(finger)[0]

    def probes(self, finger: int) -> list[int]:
        """Places of the prints that are shown of a finger."""
        return self.of(finger)[1:]

    def of(self, finger: int) -> list[int]:
        """Places of all prints of a finger."""
        return [k for k, made in enumerate(self.prints) if made.finger == finger]

    def nearest(self, score: float, model_id: str, probe: int, references: Sequence[int]) -> float:
        """How far a score is from the nearest that the model gives to the probe and one of these
        references."""
        return float(np.abs(self.scores[model_id][:, probe, list(references)] - score).min())


def score_prints(
    registry: Registry, base: str, others: Sequence[str], fingers: int, shown: int
) -> ScoredPrints:
    """Make prints that the base model is sure of, and score them under every model.

    Args:
        shown: probes of a finger.
    """
    loader = Loader(registry, find_device("cpu"), warm=False)
    model = loader.load(base)
    prints = tuple(islice(_sure_prints(model, shown), fingers * (shown + 1)))
    assert len(prints) == fingers * (shown + 1)
    images = [made.image for made in prints]
    seen = {base: _embedded(model, images)}
    scores = {base: _widening(seen[base], model)}
    for other in others:
        model = loader.load(other)
        seen[other] = _embedded(model, images)
        scores[other] = _widening(seen[other], model)
    strange = seen[base].against(seen[others[-1]], model)
    made = ScoredPrints(prints, scores, strange)
    _check(made, model)
    return made


def _widening(seen: Embedded, model: LoadedModel) -> FloatArray:
    """float32 [searches, probe, reference]: all against all, in every search of the model's."""
    views = model.matching.views_deg_px
    references = stack_references(seen.references)
    scores = []
    for search in model.matching.widening:
        rows = [views.index(view) for view in search.views_deg_px]
        probes = [Probe(probe.cells[rows], probe.mask[rows]) for probe in seen.probes]
        scores.append(compare_all(probes, *references, search))
    return np.stack(scores)


def _check(made: ScoredPrints, model: LoadedModel) -> None:
    """Every model must be sure of what the base model was, and none of a score across models."""
    strict, lax = (model.calibration.threshold(fmr) for fmr in (STRICT_FMR, LAX_FMR))
    fingers = np.array([one.finger for one in made.prints])
    genuine = fingers[:, None] == fingers
    for *_, whole in made.scores.values():
        assert whole[genuine].min() >= strict
        assert whole[~genuine].max() < lax
    assert made.strange.max() < lax - SURE


def _sure_prints(model: LoadedModel, shown: int) -> Iterator[Print]:
    """Finger after finger: one print to enrol, and probes that match it and each other surely.

    Each other, because a probe that was matched may become the reference. Fingers that come near
    one before them are left out.
    """
    lax = model.calibration.threshold(LAX_FMR)
    seen = Embedded([], [])
    for finger, master in enumerate(population(SEED, MOST_FINGERS)):
        rngs = [np.random.default_rng([SEED, finger, number]) for number in range(TRIED)]
        images = [png(impress(master, rng).image, master.dpi) for rng in rngs]
        tried = _embedded(model, images)
        good = _sure(tried.against(tried, model), model)[: shown + 1]
        mine = Embedded([tried.probes[k] for k in good], [tried.references[k] for k in good])
        if len(good) == shown + 1 and _nearest(mine, seen, model) < lax - SURE:
            seen = Embedded(seen.probes + mine.probes, seen.references + mine.references)
            yield from (Print(finger, number, images[k]) for number, k in enumerate(good))


def _sure(scores: FloatArray, model: LoadedModel) -> list[int]:
    """The first impression, and others that match it and each other."""
    bar = model.calibration.threshold(STRICT_FMR) + SURE
    good = [0]
    for k in range(1, len(scores)):
        if min(scores[k, good].min(), scores[good, k].min()) >= bar:
            good.append(k)
    return good


def _nearest(one: Embedded, other: Embedded, model: LoadedModel) -> float:
    """The greatest score of any of one with any of the other, either way round."""
    if not (one.probes and other.probes):
        return -1.0
    either_way = one.against(other, model), other.against(one, model)
    return max(float(scores.max()) for scores in either_way)


def _embedded(model: LoadedModel, images: Iterable[bytes]) -> Embedded:
    samples = (SampleImage(image, DPI, None, ImageLimits()) for image in images)
    prepared = [prepare_capture(sample, model.preparation).prepared for sample in samples]
    stored = [Descriptor.from_bytes(d.to_bytes()) for d in embed_references(model, prepared)]
    return Embedded([embed_probe(model, sample) for sample in prepared], stored)
