"""Search among many templates: time and memory of the index."""

from __future__ import annotations

import gc
import re
import time
from pathlib import Path

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
    """Milliseconds of a search and bytes of a template, by the number of templates.

    Args:
        references: descriptors of prints; the others are drawn at random with their masks.
    """
    rows, took = [], []
    index, rng, before = TemplateIndex(), np.random.default_rng(6), _resident_bytes()
    for size in SIZES:
        began_s = time.perf_counter()
        for number in range(len(index), size):
            index.add(str(number), f"p{number}", 0, _template(references, number, rng))
        filled_s = time.perf_counter() - began_s
        gc.collect()
        found = in_turns({"search": lambda: index.search(probe, LIMIT, model.matching)}, seconds)[
            "search"
        ]
        took.append(found.p50_ms)
        each = (_resident_bytes() - before) / size
        rows.append([f"{size:,}", f"{found.p50_ms:,.0f}", f"{each:,.0f}", f"{filled_s:.1f}"])
    says = (
        f"Ten times as many templates take {took[-1] / took[-2]:.1f} times as long. Templates of "
        "prints and others drawn at random; every one is compared in every view at every shift."
    )
    head = ["Templates", "p50 ms", "bytes a template", "filled in s"]
    return Section("Identification", head, rows, says)


def _template(references: list[Descriptor], number: int, rng: np.random.Generator) -> Descriptor:
    like = references[number % len(references)]
    if number < len(references):
        return like
    cells = rng.standard_normal(like.cells.shape, dtype=np.float32)
    cells /= np.linalg.norm(cells, axis=-1, keepdims=True)
    return Descriptor(cells, like.mask)


def _resident_bytes() -> int:
    status = Path("/proc/self/status").read_text("utf-8")
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
