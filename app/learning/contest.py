"""Challenger and champion of prints on the same comparisons, and what the gate needs besides."""

from __future__ import annotations

from dataclasses import dataclass

import keras

from app.core.types import PreparedSample
from app.evaluation.paired import compare_paired
from app.evaluation.paired_figures import NotJudged, PairedFigures, ScoredSet
from app.learning.exported import Embed, embedding, measure_latency
from app.learning.folders import LabelledSamples
from app.learning.gate import POLICY_FMR, GateFigures, Golden, decide
from app.learning.gate_report import GateReport
from app.learning.judge import SYNTHETIC, Gallery, Judged, embed_gallery, score_synthetic
from app.learning.known_subjects import KnownSubjects
from app.learning.prints import Fingers, Report, counting, sample_of
from app.learning.progress import Phases, part_of
from app.learning.recipes import Recipe
from app.learning.site_data import SITE, SiteData, check_site_labels, strangers_only
from app.matching.calibration import Calibration
from app.networks.forward import inference_function

GOLDEN_SAMPLES = 4


@dataclass(frozen=True, slots=True)
class PrintModel:
    """A model of prints as it is judged.

    Attributes:
        recipe: says how samples are prepared and compared; its population, how many there are.
    """

    encoder: keras.Model
    pose: keras.Model | None
    recipe: Recipe

    def embedded(self, samples: LabelledSamples, report: Report | None = None) -> Gallery:
        """A site's samples; tells (done, of) of them."""
        find = None if self.pose is None else inference_function(self.pose)
        run = inference_function(self.encoder)
        told = counting(report, len(samples.samples))
        return embed_gallery(run, samples.samples, self.recipe.matching, told, find)

    def embedding(self) -> Embed:
        """Embedding one sample as a probe."""
        return embedding(self.encoder, self.recipe.matching, self.pose)

    def judged(
        self,
        held_out: Fingers,
        site: LabelledSamples | None,
        report: Report | None = None,
        gallery: Gallery | None = None,
    ) -> Judged:
        """On the benchmark's fingers, and on a site's where there are some.

        Args:
            gallery: the site's samples as this model sees them, where they are embedded already.
        """
        found = [score_synthetic(self.encoder, self.recipe, held_out, report, self.pose)]
        if site is not None:
            seen = gallery or self.embedded(site, report)
            scores = seen.scores(self.recipe.matching, report)
            groups = {kind: of_each for kind, of_each in site.groups.items() if any(of_each)}
            found.append(ScoredSet(SITE, site.fingers, site.subjects, scores, groups))
        return Judged.by(tuple(found))


@dataclass(frozen=True, slots=True)
class Challenger:
    """What was trained, and what it was measured to be."""

    model: PrintModel
    judged: Judged
    calibration: Calibration
    golden: Golden


@dataclass(frozen=True, slots=True)
class ChampionInService:
    """The model in service as it is judged."""

    id: str
    model: PrintModel
    calibration: Calibration


def hold_contest(
    challenger: Challenger,
    champion: ChampionInService,
    held_out: Fingers,
    site: SiteData | None,
    phases: Phases,
) -> GateReport:
    """Measure the champion on what the challenger was measured on, and decide.

    Args:
        held_out: the benchmark's fingers.
        site: what was held out of a site's captures, if the training was for one.
    """
    report = phases.begin("evaluating the champion")
    samples, gallery = (None, None) if site is None else (site.samples, site.gallery)
    theirs = champion.model.judged(held_out, samples, report, gallery)
    report = phases.begin("measuring the time of a sample")
    models = challenger.model, champion.model
    latency = measure_latency(
        models[0].embedding(),
        models[1].embedding(),
        (golden_samples(held_out, models[0].recipe), golden_samples(held_out, models[1].recipe)),
        report=report,
    )
    report = phases.begin("comparing with the champion")
    figures = GateFigures(
        SYNTHETIC if site is None else SITE,
        compare_sets(challenger.judged, theirs, site, report),
        (challenger.calibration.minimum_fmr, champion.calibration.minimum_fmr),
        challenger.golden,
        latency,
        None if site is None else site.labels,
    )
    return GateReport(challenger.judged, champion.id, theirs, decide(figures), figures)


def gather_site(
    champion: ChampionInService,
    kept: LabelledSamples,
    known: KnownSubjects,
    learned: tuple[LabelledSamples, Gallery],
    report: Report | None = None,
) -> SiteData:
    """What was held out, and what the champion makes of all labels, by their aliases.

    Args:
        kept: what no step of the fit learns from.
        known: from whom the champion may have learned.
        learned: what is learned from, and how the champion sees it.
        report: told (done, of) samples, those to embed and then those to compare; may raise to
            stop.
    """
    samples, not_judged = strangers_only(kept, known)
    (part, seen), gallery, labels, embedded = learned, None, learned[0].fingers, 0
    if samples is not None:
        embedded, labels = len(samples.samples), part.fingers + samples.fingers
        gallery = champion.model.embedded(samples, part_of(report, 0, embedded + len(labels)))
        seen = seen.beside(gallery)
    check = check_site_labels(
        labels,
        seen,
        champion.model.recipe.matching,
        champion.calibration,
        part_of(report, embedded, embedded + len(labels)),
    )
    told = None if check is None else check.renamed({**part.aliases, **kept.aliases})
    return SiteData(samples, gallery, not_judged, told)


def compare_sets(
    challenger: Judged,
    champion: Judged,
    site: SiteData | None = None,
    report: Report | None = None,
) -> tuple[PairedFigures | NotJudged, ...]:
    """Both on every set; the site's may be one that could not be scored.

    Args:
        report: told (done, of) drawings, set by set; may raise to stop.
    """
    pairs = zip(challenger.sets, champion.sets, strict=True)
    found = [compare_paired(new, old, POLICY_FMR, report=report) for new, old in pairs]
    return (*found, *([] if site is None or site.not_judged is None else [site.not_judged]))


def golden_samples(held_out: Fingers, recipe: Recipe) -> list[PreparedSample]:
    """Some of the benchmark's impressions, as a recipe prepares them."""
    count = min(GOLDEN_SAMPLES, len(held_out.masters))
    return [sample_of(held_out, finger, 0, recipe.preparation) for finger in range(count)]
