"""What leaves a training about wrong labels: nobody's name, whoever it is judged on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from app.core.types import FloatArray, PreparedSample
from app.learning.contest import ChampionInService, PrintModel, gather_site
from app.learning.folders import LabelledSamples
from app.learning.judge import Gallery
from app.learning.known_subjects import NOBODY
from app.learning.recipes import Recipe
from app.matching.calibration import calibrate


@dataclass(frozen=True)
class Seen:
    """Samples as a model sees them that tells all fingers apart."""

    fingers: tuple[str, ...]

    def of(self, rows: NDArray[np.intp]) -> Seen:
        return Seen(tuple(self.fingers[row] for row in rows))

    def beside(self, other: Seen) -> Seen:
        return Seen(self.fingers + other.fingers)

    def scores(self, *_: Any) -> FloatArray:
        same = np.equal.outer(np.array(self.fingers), np.array(self.fingers))
        noise = np.random.default_rng(1).uniform(-0.1, 0.1, same.shape)
        return np.asarray(np.where(same, 0.85, 0.2) + noise, np.float32)


@dataclass(frozen=True)
class Seeing:
    recipe = Recipe("short", "for tests")

    def embedded(self, samples: LabelledSamples, _: Any = None) -> Seen:
        return Seen(samples.fingers)


def champion() -> ChampionInService:
    impostors = np.random.default_rng(2).uniform(0.1, 0.3, 400_000).astype(np.float32)
    model = cast(PrintModel, Seeing())
    return ChampionInService("m", model, calibrate(impostors, 400_000, 400))


def labelled(fingers: Sequence[str], aliases: dict[str, str]) -> LabelledSamples:
    samples = cast(tuple[PreparedSample, ...], tuple(range(len(fingers))))
    return LabelledSamples(samples, tuple(fingers), tuple(fingers), {}, aliases=aliases)


ENROLLED = {"ada 2": "t1", "ada 3": "t2", "bob 2": "t3", "eve 2": "t4"}


@pytest.mark.parametrize("kept_aliases", [{}, {"f0": "t9", "f1": "t8"}, ENROLLED])
def test_findings_name_nobody_beside_a_benchmark(kept_aliases: dict[str, str]) -> None:
    labels = [finger for finger in ENROLLED for _ in range(4)]
    truth = ["ada 2" if finger == "ada 3" else finger for finger in labels]
    truth[-2:] = ["mallory"] * 2
    learned = labelled(labels, ENROLLED)
    kept = labelled([f"f{number}" for number in range(12) for _ in range(4)], kept_aliases)
    seen = cast(Gallery, Seen(tuple(truth)))
    site = gather_site(champion(), kept, NOBODY, (learned, seen))
    assert site.samples is not None
    assert site.labels is not None
    assert site.labels.fingers == 16
    told = {(found.finger, found.why, found.other) for found in site.labels.findings}
    assert told == {("t1", "same_as", "t2"), ("t4", "falls_apart", "")}
