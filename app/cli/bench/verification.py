"""A whole verification in a loop, without HTTP, beside others' matchers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from app.cli.bench.others import Other
from app.cli.bench.prints import Captures
from app.cli.bench.timing import Call, Section, Times, in_turns
from app.core.params import Matching
from app.core.ports import LoadedModel
from app.core.types import Descriptor
from app.imaging.decode import ImageLimits
from app.matching.calibration import DEFAULT_FMR
from app.matching.score import compare, compare_many, stack_references
from app.services.recognise import ProbeImage, SampleImage, embed_reference, prepare_capture

STORED = 500
"""References of one product, to tell what a single comparison takes."""


@dataclass(slots=True)
class Loop:
    """Verifications one after the other: prepare, embed, match until it matches.

    Attributes:
        turns: how many pairs there were, by how many fingers on from the probe's is claimed.
    """

    model: LoadedModel
    shown: Captures
    references: list[Descriptor]
    turns: Counter[int] = field(default_factory=Counter)

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
        self.turns[off] += 1
        data, claimed = self.shown.claim(self.turns[off], off)
        probe = ProbeImage(_image(data, self.shown))
        reference = self.references[claimed]
        threshold = self.model.calibration.threshold(DEFAULT_FMR)
        return any(
            compare(probe.seen(self.model, search), reference, search) >= threshold
            for search in self.model.matching.widening
        )


def verification_section(
    loop: Loop,
    others: Sequence[Other],
    absent: Sequence[str],
    seconds: float,
    by_openvino: Loop | None = None,
) -> Section:
    """A verification, and a single comparison, here and by others, each in turns with ours.

    Args:
        absent: what to do for those that are not there.
        by_openvino: the same verifications with the encoder run by it, where it is there.
    """
    groups = {
        other.name: in_turns(_calls(loop) | other.calls(loop.shown), seconds) for other in others
    }
    taken = next(iter(groups.values()), {}) or in_turns(_calls(loop), seconds)
    for group in groups.values():
        taken = taken | {name: times for name, times in group.items() if name not in taken}
    if by_openvino is not None:
        beside = in_turns(_matches(loop) | _matches(by_openvino, ", by OpenVINO"), seconds)
        taken |= {name: times for name, times in beside.items() if name not in taken}
    rows = [[name, f"{times.p50_ms:.2f}", f"{times.p99_ms:.2f}"] for name, times in taken.items()]
    says = [
        _own_ratio(taken),
        *(_ratios(name, group) for name, group in groups.items()),
        *(f"Not measured here: {what}." for what in absent),
        *([_gain(*beside.values())] if by_openvino is not None else []),
        _within(loop),
    ]
    return Section("A verification", ["What", "p50 ms", "p99 ms"], rows, " ".join(says))


def _calls(loop: Loop) -> dict[str, Call]:
    """Ours, from the first pair on."""
    one = ProbeImage(_image(loop.shown.files[0][1], loop.shown)).under(loop.model)
    many = [loop.references[k % len(loop.references)] for k in range(STORED)]
    cells, mask = stack_references(many)
    return _matches(loop) | {
        f"{STORED} comparisons of a probe in all views": lambda: compare_many(
            one, cells, mask, loop.model.matching
        ),
    }


def _matches(loop: Loop, how: str = "") -> dict[str, Call]:
    """A match and a refusal, from the first pair on."""
    afresh = replace(loop, turns=Counter())
    return {
        f"a match: prepare, embed, compare{how}": afresh.genuine,
        f"a refusal: prepare, embed, compare{how}": afresh.impostor,
    }


def _image(data: bytes, shown: Captures) -> SampleImage:
    return SampleImage(data, shown.dpi, None, ImageLimits())


def _own_ratio(taken: Mapping[str, Times]) -> str:
    match, refusal, comparisons, *_ = taken.values()
    return (
        f"A refusal takes {refusal.p50_ms / match.p50_ms:.1f} times as long as a match; a "
        f"comparison in all views {comparisons.p50_ms / STORED * 1e3:.0f} us."
    )


def _ratios(name: str, group: Mapping[str, Times]) -> str:
    """Ours against another's, of one group that was timed in turns."""
    match, refusal, comparisons, genuine, impostor, comparison = group.values()
    each_ms = comparisons.p50_ms / STORED
    return (
        f"Beside {name} a match is {genuine.p50_ms / match.p50_ms:.1f} times as fast, a refusal "
        f"{impostor.p50_ms / refusal.p50_ms:.2f} times, a comparison in all views "
        f"{comparison.p50_ms / each_ms:,.0f} times."
    )


def _gain(match: Times, refusal: Times, other_match: Times, other_refusal: Times) -> str:
    """What another runtime gains, of four that were timed in turns."""
    return (
        f"With `WHORL_RUNTIME=openvino` a match is {match.p50_ms / other_match.p50_ms:.2f} times "
        f"as fast, a refusal {refusal.p50_ms / other_refusal.p50_ms:.2f} times."
    )


def _within(loop: Loop) -> str:
    *matched, compared = loop.widths()
    views = [len(search.views_deg_px) for search in loop.model.matching.widening]
    within = ", ".join(f"{n} in {v} views" for n, v in zip(matched, views, strict=True))
    return f"Of {compared} genuine comparisons match: {within}."
