"""Search among many templates: how time and memory grow, and what the start takes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np

from app.cli.bench.timing import Call, Section, in_turns, once
from app.cli.machine import resident_mib
from app.core.clock import now_ms
from app.core.params import Matching, VectorMatching
from app.core.ports import LoadedModel, Store
from app.core.processors import usable_processors
from app.core.records import Gallery, ImagePolicy, Person, Template
from app.core.types import Descriptor, DpiSource, FloatArray, Probe
from app.matching.index import TemplateIndex
from app.services.indexes import GalleryView
from app.storage import load_or_create_master_key, open_store

PRINTS, VECTORS = (1_000, 10_000, 100_000, 1_000_000), (10_000, 100_000, 1_000_000)
LONG_MS = 1_000.0
"""Where a search takes longer, those of the next size are timed once."""
CHANNELS, LIMIT, STORED, BATCH, LOADS = 256, 5, 10_000, 500, 5
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
    of_prints = list(_searches(prints, probe, model.matching, seconds))
    vectors = _grown("single vectors", VECTORS, (1, 1, CHANNELS), [one], rng)
    of_vectors = list(_searches(vectors, Probe(vector, one[None]), VectorMatching(), seconds))
    loaded = [_loaded_a_second(some) for some in (references, [Descriptor(vector[0], one)])]
    says = (
        f"Templates are drawn at random, those of prints in grids of {' x '.join(map(str, grid))} "
        f"with the masks of prints, every one compared in every view at every shift; single "
        f"vectors have {CHANNELS} numbers. Searches at once: one a processor; those of "
        f"the size after one of more than {LONG_MS / 1e3:g} s were timed once. "
        f"{_growth(of_prints)} {_growth(of_vectors)} From an encrypted store "
        f"of {STORED:,} persons {loaded[0]:,.0f} templates of prints are loaded a second at the "
        f"start, or {loaded[1]:,.0f} single vectors."
    )
    head = ["Of", "Templates", "p50 ms", "p99 ms", "p50 ms at once", "MiB more"]
    return Section("Identification", head, of_prints + of_vectors, says)


def _growth(rows: Sequence[Sequence[str]]) -> str:
    (_, few, before_ms, *_), (name, many, ms, *_) = rows[-2:]
    times = float(ms.replace(",", "")) / float(before_ms.replace(",", ""))
    return f"Among {many} {name} a search takes {times:.1f} times as long as among {few}."


def _searches(
    grown: Iterator[tuple[str, TemplateIndex, float]],
    probe: Probe,
    params: Matching,
    seconds: float,
) -> Iterator[list[str]]:
    processors, last_ms = usable_processors(), 0.0
    with ThreadPoolExecutor(processors) as pool:
        for name, index, more_mib in grown:

            def search(_: int = 0, index: TemplateIndex = index) -> object:
                return index.search(probe, LIMIT, params)

            def at_once(search: Callable[[int], object] = search) -> object:
                return list(pool.map(search, range(processors)))

            calls: dict[str, Call] = {"one": search, "at once": at_once}
            taken = once(calls) if last_ms > LONG_MS else in_turns(calls, seconds)
            one, together = taken.values()
            last_ms = one.p50_ms
            p99 = f"{one.p99_ms:,.1f}" if len(one.all_ms) > 1 else "-"
            times = [f"{one.p50_ms:,.1f}", p99, f"{together.p50_ms:,.1f}"]
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


def _loaded_a_second(references: list[Descriptor]) -> float:
    """Templates from the store into memory."""
    with tempfile.TemporaryDirectory() as folder:
        key = load_or_create_master_key(Path(folder) / "master.key")
        store = open_store(Path(folder) / "bench.sqlite3", key)
        try:
            for start in range(0, STORED, BATCH):
                _store(store, range(start, start + BATCH), references)
            return STORED / median(_seconds_to_load(store) for _ in range(LOADS))
        finally:
            store.close()


def _seconds_to_load(store: Store) -> float:
    view, began_s = GalleryView(GALLERY, MODEL), time.perf_counter()
    with store.read() as tx:
        view.follow(tx)
    return time.perf_counter() - began_s


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
