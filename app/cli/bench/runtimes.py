"""The encoder run by other libraries, behind the port and beside what serves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np

from app.cli.bench.embedding import Encoders
from app.cli.bench.prints import PrintParams
from app.cli.bench.timing import Section, Times, in_turns
from app.core.types import FloatArray, PreparedSample
from app.inference.embedder import CompiledEmbedder
from app.inference.runtimes import RUNTIMES, Run, installed
from app.learning.judge import embed_gallery
from app.networks.folded import folded
from app.networks.forward import inference_function, run_all, serving_function
from app.networks.golden import GOLDEN_TOLERANCE

BATCHES = (1, 7, 28, 32)
"""A view, the rotations of a search, all of its views, and the most that go in together."""
COMPARED = 4
"""One sample in so many is compared with the others like it: all of them, in all views and by every
runtime, would take longer than the rest."""
CLEARLY = 1.3
"""So many times the pace that serves a runtime must reach to be worth a choice."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One way to run the encoder.

    Attributes:
        times: of a batch of so many samples.
        cells_apart, scores_apart: how far a component of a descriptor, and a comparison score, lie
            from the encoder's as it was trained, at most.
    """

    name: str
    times: Mapping[int, Times]
    cells_apart: float
    scores_apart: float

    def row(self) -> list[str]:
        """Of every batch milliseconds and images a second, then what it costs in precision."""
        paces = [f"{t.p50_ms:.1f} ({t.per_second(n):,.0f})" for n, t in self.times.items()]
        return [self.name, *paces, f"{self.cells_apart:.4f}", f"{self.scores_apart:.4f}"]

    def gains(self, served: Measured) -> dict[int, float]:
        """How many times as fast as what is served, by the size of the batch."""
        return {n: served.times[n].p50_ms / self.times[n].p50_ms for n in BATCHES}

    def wins(self, served: Measured) -> bool:
        """Whether it is clearly faster at some batch, and as precise as a model must be served."""
        quick = max(self.gains(served).values()) >= CLEARLY
        return quick and self.cells_apart <= GOLDEN_TOLERANCE


def runtimes_section(
    forms: Encoders,
    pose: keras.Model | None,
    params: PrintParams,
    samples: Sequence[PreparedSample],
    seconds: float,
) -> Section:
    """By runtime: its pace at some batches, and how far it is from the encoder in float32.

    Args:
        pose: brings the samples upright before they are compared.
        params: how they are compared.
        samples: what is embedded, and compared with each other.
    """
    versions = installed(p for runtime in RUNTIMES.values() for p in runtime.packages)
    here = {name: one for name, one in RUNTIMES.items() if all(map(versions.get, one.packages))}
    backend, network = keras.backend.backend(), folded(forms.plain)
    served, trained = f"{backend}, {forms.dtype}, as served", f"{backend}, float32, as trained"
    runs = {served: serving_function(forms.served), trained: inference_function(forms.plain)}
    runs |= {name: runtime.function(network) for name, runtime in here.items()}
    paces = _paces(runs, forms.shape_px, samples, seconds)
    find = None if pose is None else inference_function(pose)
    outputs = {name: _outputs(run, samples, params, find) for name, run in runs.items()}
    found = [Measured(k, paces[k], *_apart(outputs[k], outputs[trained])) for k in runs]
    head = ["Runtime", *(f"{n}: ms (images/s)" for n in BATCHES), "cells apart", "scores apart"]
    rows = [measured.row() for measured in found]
    return Section("Runtimes", head, rows, f"{_versions_text(versions)} {verdict(found)}")


def verdict(found: Sequence[Measured]) -> str:
    """How all others stand to the first, which serves."""
    served, *others = found
    gains = "; ".join(
        f"{one.name} " + ", ".join(f"{gain:.2f}" for gain in one.gains(served).values())
        for one in others
    )
    winners = [one.name for one in others if one.wins(served)] or ["none"]
    return (
        f"Times as fast as {served.name}, in batches of {', '.join(map(str, BATCHES))}: "
        f"{gains or 'nothing'}. At least {CLEARLY:g} times as fast in one of them, and no cell "
        f"apart by more than {GOLDEN_TOLERANCE:g}: {', '.join(winners)}."
    )


def _versions_text(versions: Mapping[str, str | None]) -> str:
    here = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    missing = ", ".join(name for name, version in versions.items() if not version)
    lacks = f" Not installed: {missing}; `make runtimes` installs what it measures."
    return f"With {here or 'no other runtime'}.{lacks if missing else ''}"


def _paces(
    runs: Mapping[str, Run],
    shape_px: tuple[int, int],
    samples: Sequence[PreparedSample],
    seconds: float,
) -> dict[str, dict[int, Times]]:
    """Times behind the port, by runtime and batch."""
    ports = {name: CompiledEmbedder(run, shape_px) for name, run in runs.items()}
    taken: dict[str, dict[int, Times]] = {name: {} for name in runs}
    for batch in BATCHES:
        some = [samples[k % len(samples)] for k in range(batch)]
        calls: dict[str, Callable[[], object]] = {
            name: partial(port.embed, some) for name, port in ports.items()
        }
        for name, times in in_turns(calls, seconds).items():
            taken[name][batch] = times
    return taken


def _outputs(
    run: Run, samples: Sequence[PreparedSample], params: PrintParams, find: Run | None
) -> tuple[FloatArray, FloatArray]:
    """Cells of the samples as they lie, and the scores of all pairs of some."""
    cells = np.concatenate([of_some for _, _, of_some in run_all(run, samples, BATCHES[-1])])
    some = samples[::COMPARED]
    scores = embed_gallery(run, some, params.matching, None, find).scores(params.matching)
    return cells, scores[np.triu_indices(len(some), 1)]


def _apart(
    one: tuple[FloatArray, FloatArray], other: tuple[FloatArray, FloatArray]
) -> tuple[float, float]:
    cells, scores = (float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))
    return cells, scores
