"""Search among many templates: how the time grows."""

from __future__ import annotations

import time

import numpy as np

from app.cli.bench.timing import Section, in_turns
from app.core.ports import LoadedModel
from app.core.types import Descriptor, Probe
from app.matching.index import TemplateIndex

SIZES = (1_000, 10_000, 100_000)
LIMIT = 5


def identification_section(
    model: LoadedModel, probe: Probe, references: list[Descriptor], seconds: float
) -> Section:
    """Milliseconds of a search, by the number of templates.

    Args:
        references: descriptors of prints; the others are drawn at random with their masks.
    """
    rows, took = [], []
    index, rng = TemplateIndex(), np.random.default_rng(6)
    each = len(references[0].to_bytes())
    for size in SIZES:
        began_s = time.perf_counter()
        for number in range(len(index), size):
            index.add(str(number), f"p{number}", 0, _template(references, number, rng))
        filled_s = time.perf_counter() - began_s
        found = in_turns({"search": lambda: index.search(probe, LIMIT, model.matching)}, seconds)[
            "search"
        ]
        took.append(found.p50_ms)
        rows.append([f"{size:,}", f"{found.p50_ms:,.0f}", f"{filled_s:.1f}"])
    says = (
        f"Ten times as many templates take {took[-1] / took[-2]:.1f} times as long. Templates of "
        f"prints and others drawn at random, {each:,} bytes each as they are stored; every one is "
        "compared in every view at every shift."
    )
    head = ["Templates", "p50 ms", "filled in s"]
    return Section("Identification", head, rows, says)


def _template(references: list[Descriptor], number: int, rng: np.random.Generator) -> Descriptor:
    like = references[number % len(references)]
    if number < len(references):
        return like
    cells = rng.standard_normal(like.cells.shape, dtype=np.float32)
    cells /= np.linalg.norm(cells, axis=-1, keepdims=True)
    return Descriptor(cells, like.mask)
