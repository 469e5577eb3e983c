"""What a training learns from and what it is judged on, put together before the fit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from app.learning.batches import PairSource
from app.learning.contest import gather_site
from app.learning.folders import (
    FolderPairs,
    LabelledSamples,
    split_subjects,
    without_subjects,
)
from app.learning.known_subjects import FACT, NOBODY, KnownSubjects
from app.learning.mixed_pairs import MixedPairs, synthetic_count
from app.learning.order import BaseModel, Order, network_of
from app.learning.own_prints import OwnPrints
from app.learning.prints import Fingers, grow_fingers
from app.learning.progress import Phases
from app.learning.recipes import BENCHMARK_SEED, Recipe
from app.learning.site_data import SiteData, told_of_labels
from app.learning.varied_pairs import VariedPairs
from app.learning.views import ViewPool

LEARNED_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class Data:
    """What a training works on.

    Attributes:
        source: what is learned from.
        held_out: the benchmark's fingers.
        facts: what the manifest says of the data.
        fingers: synthetic ones that are learned from, where there are no others.
        site: what was held out of a site's captures, if the training is for one.
    """

    source: PairSource | Fingers
    held_out: Fingers
    facts: dict[str, Any]
    fingers: Fingers | None = None
    site: SiteData | None = None

    def close(self) -> None:
        """Stop what the source still makes."""
        if not isinstance(self.source, Fingers):
            self.source.close()


PURPOSES = ("training", "held_out", "calibration")


def grow(recipe: Recipe, purpose: int, phases: Phases) -> Fingers:
    """Fingers for one of ``PURPOSES``, kept apart by seeds; the benchmark's is always the same."""
    name = PURPOSES[purpose]
    population = recipe.population
    seed = BENCHMARK_SEED if name == "held_out" else population.seed + purpose
    report = phases.begin(f"growing prints ({name.replace('_', '-')})")
    count = int(getattr(population, name))
    return grow_fingers(seed, count, recipe.preparation.dpi, report)


def gather(order: Order, phases: Phases) -> Data:
    """Grow prints, or read and align a site's own.

    Raises:
        InvalidInput: too few prints can be used.
        Cancelled, LeaseLost: raised by the sink to stop the run.
    """
    recipe = order.recipe
    held_out = grow(recipe, 1, phases)
    tuned = None if order.from_scratch else order.base
    known = NOBODY if tuned is None else tuned.known
    facts: dict[str, Any] = {
        "population": recipe.population.to_dict(),
        "benchmark_seed": BENCHMARK_SEED,
        FACT: known.to_dict(),
    }
    if order.own is not None and order.base is not None:
        pairs, site, told = _gather_own(order, order.own, order.base, phases)
        return Data(pairs, held_out, facts | told, site=site)
    fingers = grow(recipe, 0, phases)
    source: PairSource | Fingers = fingers
    if not order.renders_on_device:
        source = _pool(fingers, recipe, phases)
    return Data(source, held_out, {"kind": "synthetic"} | facts, fingers)


def _pool(fingers: Fingers, recipe: Recipe, phases: Phases) -> ViewPool:
    return ViewPool(
        fingers,
        recipe.preparation,
        per_finger=recipe.population.views,
        renewed_share=recipe.population.renewed_share,
        report=phases.begin("making impressions"),
    )


def _gather_own(
    order: Order, own: OwnPrints, base: BaseModel, phases: Phases
) -> tuple[PairSource, SiteData, dict[str, Any]]:
    """What is learned from, the site's fingers that are not, and what the manifest says of both."""
    recipe = order.recipe
    read = own.read(recipe.preparation, phases.begin("reading images"))
    learned, kept, known = _parted(order, read, base.known, phases)
    report, pose = phases.begin("aligning impressions"), network_of(base.pose)
    aligned = FolderPairs(learned, base.encoder, recipe.matching, pose, report)
    report, champion = phases.begin("checking labels"), base.judged_by(recipe)
    site = gather_site(champion, kept, known, (learned, aligned.gallery), report)
    phases.noted(told_of_labels(site.labels))
    pairs: PairSource = VariedPairs(aligned, recipe.variation)
    synthetic = synthetic_count(len(pairs), order.synthetic_share)
    if synthetic:
        population = replace(recipe.population, training=synthetic)
        fingers = grow(replace(recipe, population=population), 0, phases)
        pairs = MixedPairs(pairs, _pool(fingers, recipe, phases))
    begun_with = NOBODY if order.from_scratch else base.known
    spared = [] if order.benchmark is None else order.benchmark.ids
    told = own.facts | {
        "images": len(read.samples),
        "fingers": len(set(read.fingers)),
        "learned_fingers": len(set(learned.fingers)),
        "held_out_fingers": len(set(kept.fingers)),
        "synthetic_fingers": synthetic,
        "skipped": len(read.skipped),
        FACT: begun_with.and_also(KnownSubjects.of_split(learned, spared)).to_dict(),
    }
    return pairs, site, told | ({"benchmark": spared} if spared else {})


def _parted(
    order: Order, read: LabelledSamples, known: KnownSubjects, phases: Phases
) -> tuple[LabelledSamples, LabelledSamples, KnownSubjects]:
    """What is learned from, what is judged on, and of whom of these the champion has learned."""
    if order.benchmark is None:
        return *split_subjects(read, LEARNED_SHARE), known
    report = phases.begin("reading the benchmark")
    kept = order.benchmark.read(order.recipe.preparation, report)
    spared = known.spares(order.benchmark.ids)
    return without_subjects(read, kept), kept, NOBODY if spared else known
