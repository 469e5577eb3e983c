"""Search among many templates: how time and memory grow, and what the start takes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from app.cli.bench.timing import Section, Times, in_turns
from app.cli.machine import resident_mib
from app.core.clock import now_ms
from app.core.params import Matching, VectorMatching
from app.core.ports import LoadedModel, Store
from app.core.processors import usable_processors
from app.core.records import Gallery, ImagePolicy, Person, Template
from app.core.types import Descriptor, DpiSource, FloatArray, Probe
from app.matching.index import TemplateIndex
from app.services.indexes import LOAD_BATCH, GalleryView
from app.storage import load_or_create_master_key, open_store
from app.storage.ahead import WORTH_FROM

PRINTS, VECTORS = (1_000, 10_000, 100_000), (10_000, 100_000, 1_000_000)
CHANNELS, LIMIT, STORED, BATCH, LOADS = 256, 5, 40_000, 500, 3
GALLERY, MODEL = "bench", "bench"


def identification_section(
    model: LoadedModel, probe: Probe, references: list[Descriptor], seconds: float
) -> Section:
    """Milliseconds of a search, by the number of templates.

    Args:
        references: descriptors of prints; the others are drawn at random with their masks.
    """
    rng = np.random.default_rng(6)
    grid, masks = references[0].cells.shape, [one.mask for one in references]
    vector = _unit(rng.standard_normal((1, 1, 1, CHANNELS), dtype=np.float32))
    one = np.ones((1, 1), np.float32)
    prints = _grown("prints", PRINTS, grid, masks, rng)
    rows = list(_searches(prints, probe, model.matching, seconds))
    vectors = _grown("single vectors", VECTORS, (1, 1, CHANNELS), [one], rng)
    rows += _searches(vectors, Probe(vector, one[None]), VectorMatching(), seconds)
    of_prints, of_vectors = _loads(references), _loads([Descriptor(vector[0], one)])
    says = (
        f"Templates are drawn at random, those of prints in grids of {' x '.join(map(str, grid))} "
        f"with the masks of prints, every one compared in every view at every shift; single "
        f"vectors have {CHANNELS} numbers. Searches at once: one a processor. From an encrypted "
        f"store of {STORED:,} persons {of_prints.alone:,.0f} templates of prints are loaded a "
        f"second by one process, {of_vectors.alone:,.0f} single vectors. With a process a "
        f"processor beside, as at the start for {WORTH_FROM:,} and more, {of_prints.helped:,.0f} "
        f"and {of_vectors.helped:,.0f}, once they run, which takes {of_prints.start_s:.1f} s."
    )
    head = ["Of", "Templates", "p50 ms", "p99 ms", "p50 ms at once", "MiB more"]
    return Section("Identification", head, rows, says)


def _searches(
    grown: Iterator[tuple[str, TemplateIndex, float]],
    probe: Probe,
    params: Matching,
    seconds: float,
) -> Iterator[list[str]]:
    processors = usable_processors()
    with ThreadPoolExecutor(processors) as pool:
        for name, index, more_mib in grown:

            def search(_: int = 0, index: TemplateIndex = index) -> object:
                return index.search(probe, LIMIT, params)

            def at_once(search: Callable[[int], object] = search) -> object:
                return list(pool.map(search, range(processors)))

            taken: dict[str, Times] = in_turns({"one": search, "at once": at_once}, seconds)
            one, together = taken.values()
            times = [f"{t:,.1f}" for t in (one.p50_ms, one.p99_ms, together.p50_ms)]
            yield [name, f"{len(index):,}", *times, f"{more_mib:,.0f}"]


def _grown(
    name: str,
    sizes: tuple[int, ...],
    shape: tuple[int, ...],
    masks: list[FloatArray],
    rng: np.random.Generator,
) -> Iterator[tuple[str, TemplateIndex, float]]:
    """An index that has each of the sizes in turn, and the memory that this took."""
    index, before_mib = TemplateIndex(), resident_mib()
    for size in sizes:
        for number in range(len(index), size):
            cells = _unit(rng.standard_normal(shape, dtype=np.float32))
            descriptor = Descriptor(cells, masks[number % len(masks)])
            index.add(str(number), f"p{number}", 0, descriptor)
        yield name, index, resident_mib() - before_mib


def _unit(cells: FloatArray) -> FloatArray:
    return np.asarray(cells / np.linalg.norm(cells, axis=-1, keepdims=True), np.float32)


class _Loads(NamedTuple):
    """Templates a second from the store into memory, by one process and with others beside, and
    the seconds until those run."""

    alone: float
    helped: float
    start_s: float


def _loads(references: list[Descriptor]) -> _Loads:
    with tempfile.TemporaryDirectory() as folder:
        key = load_or_create_master_key(Path(folder) / "master.key")
        store = open_store(Path(folder) / "bench.sqlite3", key)
        try:
            for start in range(0, STORED, BATCH):
                _store(store, range(start, start + BATCH), references)
            alone = median(_load(store, STORED + 1)[1] for _ in range(LOADS))
            helped = [_load(store, 1) for _ in range(LOADS)]
        finally:
            store.close()
    start_s = median(start for start, _ in helped)
    return _Loads(alone, median(pace for _, pace in helped), start_s)


def _load(store: Store, worth_from: int) -> tuple[float, float]:
    """Seconds until the first templates are there, and how many more a second then."""
    view, times = GalleryView(GALLERY, MODEL), [(time.perf_counter(), 0)]
    with store.read_ahead(GALLERY, LOAD_BATCH, worth_from) as ahead, store.read() as tx:
        view.follow(tx, lambda done, _: times.append((time.perf_counter(), done)), ahead)
    began_s, first = next((taken for taken in times if taken[1]), times[0])
    return began_s - times[0][0], (len(view) - first) / (time.perf_counter() - began_s)


def _store(store: Store, numbers: range, references: list[Descriptor]) -> None:
    with store.write() as tx:
        tx.galleries.put(Gallery(GALLERY, ImagePolicy.NONE, None, now_ms()))
        for number in numbers:
            name = f"{number:06d}"
            tx.persons.add(Person(GALLERY, name, now_ms()))
            template = Template(
                name, GALLERY, name, 1, 50, (), "png", 300, 300, 500.0, DpiSource.FILE, False, 0
            )
            tx.templates.add(template, None)
            descriptor = references[number % len(references)]
            tx.templates.add_descriptor(name, MODEL, descriptor)
