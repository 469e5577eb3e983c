"""A whole verification in a loop, without HTTP, beside others' matchers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from app.cli.bench.prints import Captures
from app.cli.bench.timing import Section, Times, in_turns
from app.core.params import Matching
from app.core.ports import LoadedModel
from app.core.types import Descriptor
from app.evaluation.nbis import NbisBaseline
from app.imaging.decode import ImageLimits, decode, inspect
from app.matching.calibration import DEFAULT_FMR
from app.matching.score import compare, compare_many, stack_references
from app.services.recognise import ProbeImage, SampleImage, embed_reference, prepare_capture

STORED = 500
"""References of one product, to tell what a single comparison takes."""


@dataclass(slots=True)
class Loop:
    """Verifications one after the other: prepare, embed, match until it matches."""

    model: LoadedModel
    shown: Captures
    references: list[Descriptor]
    turn: int = 0

    @classmethod
    def of(cls, model: LoadedModel, shown: Captures) -> Loop:
        """Enrol the first capture of every finger."""
        firsts = [_image(of_one[0], shown) for of_one in shown.files]
        prepared = [prepare_capture(image, model.preparation).prepared for image in firsts]
        return cls(model, shown, [embed_reference(model, one) for one in prepared])

    def genuine(self) -> bool:
        """Another capture of an enrolled finger."""
        return self._verify(0)

    def impostor(self) -> bool:
        """A capture of the finger next to it."""
        return self._verify(1)

    def widths(self) -> list[int]:
        """Of all genuine comparisons with the enrolled capture, how many match within each of the
        searches, the narrowest first; and how many there are.
        """
        threshold = self.model.calibration.threshold(DEFAULT_FMR)
        searches: tuple[Matching, ...] = self.model.matching.widening
        matched = [0] * len(searches)
        compared = 0
        for reference, of_one in zip(self.references, self.shown.files, strict=True):
            for data in of_one[1:]:
                compared += 1
                probe = ProbeImage(_image(data, self.shown))
                for place, search in enumerate(searches):
                    seen = probe.seen(self.model, search)
                    matched[place] += compare(seen, reference, search) >= threshold
        return [*matched, compared]

    def _verify(self, off: int) -> bool:
        self.turn += 1
        finger, data = self.shown.probe(self.turn)
        probe = ProbeImage(_image(data, self.shown))
        reference = self.references[(finger + off) % len(self.references)]
        threshold = self.model.calibration.threshold(DEFAULT_FMR)
        return any(
            compare(probe.seen(self.model, search), reference, search) >= threshold
            for search in self.model.matching.widening
        )


def verification_section(loop: Loop, seconds: float) -> Section:
    """A verification, and a single comparison, here and by NBIS."""
    one = ProbeImage(_image(loop.shown.files[0][1], loop.shown)).under(loop.model)
    many = [loop.references[k % len(loop.references)] for k in range(STORED)]
    cells, mask = stack_references(many)
    calls: dict[str, Callable[[], object]] = {
        "a match: prepare, embed, compare": loop.genuine,
        "a refusal: prepare, embed, compare": loop.impostor,
        f"{STORED} comparisons of a probe in all views": lambda: compare_many(
            one, cells, mask, loop.model.matching
        ),
        **_nbis(loop.shown),
    }
    taken = in_turns(calls, seconds)
    rows = [[name, f"{times.p50_ms:.2f}", f"{times.p99_ms:.2f}"] for name, times in taken.items()]
    *matched, compared = loop.widths()
    views = [len(search.views_deg_px) for search in loop.model.matching.widening]
    within = ", ".join(f"{n} in {v} views" for n, v in zip(matched, views, strict=True))
    says = f"{_ratios(taken)} Of {compared} genuine comparisons match: {within}."
    return Section("A verification", ["What", "p50 ms", "p99 ms"], rows, says)


def _image(data: bytes, shown: Captures) -> SampleImage:
    return SampleImage(data, shown.dpi, None, ImageLimits())


def _nbis(shown: Captures) -> dict[str, Callable[[], object]]:
    """The same by mindtct and bozorth3, from the same bytes; nothing where it is not installed."""
    matcher = NbisBaseline()
    firsts = [decode(of_one[0], inspect(of_one[0], ImageLimits())) for of_one in shown.files]
    try:
        stored = [matcher.extract(image) for image in firsts]
    except ImportError:
        return {}
    turn = 0

    def verified() -> object:
        nonlocal turn
        turn += 1
        finger, data = shown.probe(turn)
        probe = matcher.extract(decode(data, inspect(data, ImageLimits())))
        return _compared(matcher, probe, stored[finger])

    probe = matcher.extract(firsts[0])
    return {
        "NBIS: mindtct of the probe, bozorth3": verified,
        "NBIS: bozorth3 alone": lambda: _compared(matcher, probe, stored[0]),
    }


def _compared(matcher: NbisBaseline, probe: object, reference: object) -> float:
    both = isinstance(probe, bytes) and isinstance(reference, bytes)
    return matcher.compare(probe, reference) if both else np.nan  # type: ignore[arg-type]


def _ratios(taken: dict[str, Times]) -> str:
    match, refusal, comparisons, *nbis = taken.values()
    says = f"A refusal takes {refusal.p50_ms / match.p50_ms:.1f} times as long as a match."
    if not nbis:
        return says + " NBIS is not installed here."
    verified, bozorth = nbis
    each = comparisons.p50_ms / STORED
    return (
        f"{says} A match is {verified.p50_ms / match.p50_ms:.1f} times, a refusal "
        f"{verified.p50_ms / refusal.p50_ms:.2f} times as fast as NBIS, a comparison in all views "
        f"{bozorth.p50_ms / each:,.0f} times as fast as bozorth3 ({each * 1e3:.0f} us)."
    )
